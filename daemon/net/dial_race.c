#include "net/dial_race.h"

#include <errno.h>
#include <unistd.h>

static int64_t now_ms(void)
{
    return loop_clock_us() / 1000;
}

static void close_attempt(struct attempt *attempt)
{
    attempt->watch = watch_free(attempt->watch);
    if (attempt->fd >= 0)
        close(attempt->fd);
    attempt->fd = -1;
}

static void record(struct attempt *attempt, int sys_errno)
{
    struct net_attempt *recorded = &attempt->race->error->attempts[attempt->number];
    recorded->sys_errno = sys_errno;
    recorded->ms = now_ms() - attempt->started_ms;
}

void race_deinit(struct race *race)
{
    timers_stop(&race->loop->timers, &race->stagger);
    race->ended = true;
    for (unsigned i = 0; i < race->error->n_attempts; i++) {
        if (race->attempts[i].fd < 0)
            continue;
        record(&race->attempts[i], 0);
        close_attempt(&race->attempts[i]);
    }
}

static void end(struct race *race, int fd, int sys_errno)
{
    race_deinit(race);
    race->on_end(race, fd, sys_errno);
}

static void win(struct attempt *attempt)
{
    int fd = attempt->fd;
    record(attempt, NET_ATTEMPT_CONNECTED);
    attempt->watch = watch_free(attempt->watch);
    attempt->fd = -1;
    end(attempt->race, fd, 0);
}

static void lose(struct attempt *attempt, int sys_errno)
{
    struct race *race = attempt->race;
    record(attempt, sys_errno);
    close_attempt(attempt);
    if (race->worst == 0 || dial_plan_better(race->worst, sys_errno))
        race->worst = sys_errno;
    dial_plan_failed(&race->plan, now_ms());
}

/* A connect to a port of this host that nobody listens on may be given that port itself as its
 * source and then meet itself (RFC 9293 section 3.5, simultaneous open). */
static bool met_itself(int fd)
{
    struct address local, remote;
    return address_of_socket(fd, &local, &remote) == 0 && address_equal(&local, &remote);
}

static void advance(struct race *race);

static void on_event(void *context, unsigned events)
{
    struct attempt *attempt = context;
    struct race *race = attempt->race;
    int error = 0;
    socklen_t n = sizeof(error);

    (void)events;
    if (getsockopt(attempt->fd, SOL_SOCKET, SO_ERROR, &error, &n) < 0)
        error = errno;
    if (error == 0 && met_itself(attempt->fd))
        error = ECONNREFUSED;
    if (error == 0) {
        win(attempt);
        return;
    }
    lose(attempt, error);
    advance(race);
}

/* Returns 0: connected, -EINPROGRESS or why not. */
static int try_connect(struct attempt *attempt, const struct address *address)
{
    const struct race *race = attempt->race;
    const struct address *local = &race->dial->local;

    attempt->fd =
        socket(address_family(address), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);
    if (attempt->fd < 0)
        return -errno;
    int r = tcp_options_set(attempt->fd, &race->settings->tcp);
    if (r)
        return r;
    if (local->n_bytes) {
        /* the port is chosen at connect(2), so that one port serves many destinations */
        const int on = 1;
        (void)setsockopt(attempt->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
        if (address_family(local) != address_family(address))
            return -EAFNOSUPPORT;
        if (bind(attempt->fd, &local->any, local->n_bytes) < 0)
            return -errno;
    }
    if (connect(attempt->fd, &address->any, address->n_bytes) == 0)
        return met_itself(attempt->fd) ? -ECONNREFUSED : 0;
    if (errno != EINPROGRESS && errno != EINTR)
        return -errno;
    r = watch_new(&attempt->watch, race->loop, attempt->fd, on_event, attempt);
    if (r == 0)
        r = watch_set(attempt->watch, WATCH_WRITABLE);
    return r ? r : -EINPROGRESS;
}

/* Returns true when that has won and the race may be gone. */
static bool start_attempt(struct race *race, size_t index)
{
    const struct address *address = &race->dial->addresses[index];
    unsigned number = race->error->n_attempts++;
    struct attempt *attempt = &race->attempts[number];

    *attempt = (struct attempt){.race = race, .fd = -1, .number = number, .started_ms = now_ms()};
    race->error->attempts[number] = (struct net_attempt){.address = *address};
    dial_plan_started(&race->plan, attempt->started_ms);
    int r = try_connect(attempt, address);
    if (r == 0)
        win(attempt);
    else if (r != -EINPROGRESS)
        lose(attempt, -r);
    return r == 0;
}

static void on_stagger(struct timer *timer)
{
    advance(container_of(timer, struct race, stagger));
}

static void advance(struct race *race)
{
    size_t index;
    int64_t wait_ms;

    /* the race may be gone after it has ended */
    for (;;) {
        switch (dial_plan_next(&race->plan, now_ms(), &index, &wait_ms)) {
        case DIAL_LOST:
            end(race, -1, race->worst ? race->worst : EAFNOSUPPORT);
            return;
        case DIAL_WAIT:
            timers_stop(&race->loop->timers, &race->stagger);
            if (wait_ms >= 0 && timers_start(&race->loop->timers, &race->stagger,
                                             (uint64_t)wait_ms + 1, on_stagger) < 0)
                end(race, -1, ENOMEM);
            return;
        case DIAL_START:
            break;
        }
        if (start_attempt(race, index))
            return;
    }
}

void race_start(struct race *race, struct loop *loop, const struct dial_settings *settings,
                const struct dial *dial, struct net_error *error,
                void (*on_end)(struct race *race, int fd, int sys_errno))
{
    *race = (struct race){
        .loop = loop, .settings = settings, .dial = dial, .error = error, .on_end = on_end};
    int family = dial->family;
    if (family == AF_UNSPEC)
        family = address_family(&dial->local); /* only these can be reached from there */
    dial_plan_init(&race->plan, dial->addresses, dial->n_addresses, family, settings->stagger_ms);
    advance(race);
}
