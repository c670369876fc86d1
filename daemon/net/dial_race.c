#include "net/dial_race.h"

#include <errno.h>
#include <poll.h>
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
    recorded->ms = (loop_clock_us() - attempt->started_us) / 1000;
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

static void sooner(struct backoff_pause *pause, const struct backoff_pause *other)
{
    if (pause->until_us == 0 || other->until_us < pause->until_us)
        *pause = *other;
}

/* All that is known of them is that they refuse: when is the next time that one may be tried? */
static void tell_pause(struct race *race)
{
    struct net_error *error = race->error;
    struct backoff_pause first = {0}, each;
    int64_t now_us = loop_clock_us();

    error->backed_off = race->plan.n == 0;
    if (error->backed_off)
        first = race->pause;
    for (unsigned i = 0; i < error->n_attempts && !error->backed_off; i++) {
        if (!backoff_pausing(race->backoff, &error->attempts[i].address, &race->settings->backoff,
                             now_us, &each))
            return; /* at once */
        sooner(&first, &each);
    }
    error->retry_at_us = first.until_us;
    error->n_refused = first.n_refused;
}

static void end(struct race *race, int fd, int sys_errno)
{
    race_deinit(race);
    if (fd < 0 && sys_errno == ECONNREFUSED && race->backoff)
        tell_pause(race);
    race->on_end(race, fd, sys_errno);
}

static void win(struct attempt *attempt)
{
    int fd = attempt->fd;
    record(attempt, NET_ATTEMPT_CONNECTED);
    if (attempt->race->backoff)
        backoff_connected(attempt->race->backoff,
                          &attempt->race->error->attempts[attempt->number].address);
    attempt->watch = watch_free(attempt->watch);
    attempt->fd = -1;
    end(attempt->race, fd, 0);
}

static void lose(struct attempt *attempt, int sys_errno)
{
    struct race *race = attempt->race;
    record(attempt, sys_errno);
    close_attempt(attempt);
    if (sys_errno == ECONNREFUSED && race->backoff)
        backoff_refused(race->backoff, &race->error->attempts[attempt->number].address,
                        &race->settings->backoff, attempt->started_us, loop_clock_us());
    if (race->worst == 0 || dial_plan_better(race->worst, sys_errno))
        race->worst = sys_errno;
    dial_plan_failed(&race->plan, now_ms());
}

/* Its addresses become the race's, as it is the last to ask for them when it wins. A connect to a
 * port of this host that nobody listens on may be given that port itself as its source and then
 * meet itself (RFC 9293 section 3.5, simultaneous open). Returns 0 or -ECONNREFUSED. */
static int look_where(struct attempt *attempt)
{
    struct race *race = attempt->race;

    race->nowhere = address_of_socket(attempt->fd, &race->from, &race->to);
    return race->nowhere == 0 && address_equal(&race->from, &race->to) ? -ECONNREFUSED : 0;
}

/* It is decided. Returns 0 or -errno. */
static int outcome(struct attempt *attempt)
{
    int error = 0;
    socklen_t n = sizeof(error);

    if (getsockopt(attempt->fd, SOL_SOCKET, SO_ERROR, &error, &n) < 0)
        error = errno;
    return error ? -error : look_where(attempt);
}

/* Connections within this host are when connect(2) returns: this is cheaper than to watch them. */
static bool is_decided(int fd)
{
    struct pollfd item = {.fd = fd, .events = POLLOUT};
    return poll(&item, 1, 0) > 0;
}

static void advance(struct race *race);

static void on_event(void *context, unsigned events)
{
    struct attempt *attempt = context;
    struct race *race = attempt->race;

    (void)events;
    int r = outcome(attempt);
    if (r == 0) {
        win(attempt);
        return;
    }
    lose(attempt, -r);
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
        return look_where(attempt);
    if (errno != EINPROGRESS && errno != EINTR)
        return -errno;
    if (is_decided(attempt->fd))
        return outcome(attempt);
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

    *attempt =
        (struct attempt){.race = race, .fd = -1, .number = number, .started_us = loop_clock_us()};
    race->error->attempts[number] = (struct net_attempt){.address = *address};
    dial_plan_started(&race->plan, attempt->started_us / 1000);
    int r = try_connect(attempt, address);
    if (r == 0)
        win(attempt);
    else if (r != -EINPROGRESS)
        lose(attempt, -r);
    return r == 0;
}

/* What was tried tells more than what was not, unless it could not be tried from here at all. */
static int verdict(const struct race *race)
{
    if (race->n_left_out && (race->worst == 0 || dial_plan_better(race->worst, ECONNREFUSED)))
        return ECONNREFUSED;
    return race->worst ? race->worst : EAFNOSUPPORT;
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
            end(race, -1, verdict(race));
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

/* Is it in its pause? (dial_plan's leave_out) */
static bool leave_out(void *context, const struct address *address)
{
    struct race *race = context;
    struct backoff_pause pause;

    if (!backoff_pausing(race->backoff, address, &race->settings->backoff, loop_clock_us(), &pause))
        return false;
    if (race->n_left_out < NET_ATTEMPTS_MAX)
        race->left_out[race->n_left_out++] = *address;
    sooner(&race->pause, &pause);
    return true;
}

/* As many of those that are left out as there is room for beside those that may be tried. */
static void record_left_out(struct race *race)
{
    struct net_error *error = race->error;

    for (unsigned i = 0; i < race->n_left_out && race->plan.n + i < NET_ATTEMPTS_MAX; i++) {
        race->attempts[error->n_attempts].fd = -1;
        error->attempts[error->n_attempts++] = (struct net_attempt){
            .address = race->left_out[i], .sys_errno = ECONNREFUSED, .untried = true};
    }
}

void race_start(struct race *race, struct loop *loop, const struct dial_settings *settings,
                struct backoff *backoff, const struct dial *dial, struct net_error *error,
                void (*on_end)(struct race *race, int fd, int sys_errno))
{
    *race = (struct race){
        .loop = loop, .settings = settings, .dial = dial, .error = error, .on_end = on_end};
    if (dial->local.n_bytes == 0)
        race->backoff = backoff;
    int family = dial->family;
    if (family == AF_UNSPEC)
        family = address_family(&dial->local); /* only these can be reached from there */
    dial_plan_init(&race->plan, dial->addresses, dial->n_addresses, family, settings->stagger_ms,
                   race->backoff ? leave_out : NULL, race);
    record_left_out(race);
    advance(race);
}
