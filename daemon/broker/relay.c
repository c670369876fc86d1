#include "broker/relay.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker/stats.h"
#include "net/watch.h"

/* How often one side is read before others get their turn. */
enum { TURNS_MAX = 8 };

/* What one side would not take at once. */
struct rest {
    char *data; /* NULL: nothing */
    size_t start, end;
};

enum flow {
    FLOW_OPEN,
    FLOW_ENDING, /* the end was read; the rest, and the end, are still to be passed on */
    FLOW_ENDED,
};

struct relay {
    struct relay_setup at; /* without what was first */
    struct watch *watch;
    enum flow up, down; /* from the local side to the stream, and back */
    struct rest to_stream, to_local;
    bool deaf;       /* the local side does not take anything any more: what comes is thrown away */
    bool gone;       /* it does not send anything more either */
    bool failed;     /* the stream */
    bool peer_first; /* the peer ended before the local side did */
    bool cut;        /* the local side has failed, which is not its end */
    bool finishing;  /* the half close did not work: TLS 1.2 */
    struct timer stuck;  /* runs when it is gone, until all that it had sent was passed on */
    uint64_t stuck_mark; /* progress() when that was started */
};

static bool has_rest(const struct rest *rest)
{
    return rest->data != NULL;
}

static void drop_rest(struct rest *rest)
{
    free(rest->data);
    *rest = (struct rest){0};
}

/* Returns 0 or -ENOMEM. */
static int keep_rest(struct rest *rest, const char *data, size_t n)
{
    if (n == 0)
        return 0;
    rest->data = malloc(n);
    if (!rest->data)
        return -ENOMEM;
    memcpy(rest->data, data, n);
    rest->start = 0;
    rest->end = n;
    return 0;
}

/* Functions that return bool: false when the relay has ended; it must not be used any more then. */

static bool check_end(struct relay *relay)
{
    enum relay_end how;

    if (relay->cut) {
        how = RELAY_CUT;
    } else if (relay->failed) {
        if (has_rest(&relay->to_local))
            return true;
        how = RELAY_FAILED;
    } else {
        if (relay->up != FLOW_ENDED || (relay->down != FLOW_ENDED && !relay->deaf))
            return true;
        how = relay->down == FLOW_ENDED ? RELAY_DONE : RELAY_LOCAL_GONE;
    }
    relay->at.on_end(relay->at.context, how);
    return false;
}

/* What the local side sends from now on is left unread, so that it sees a reset. */
static bool fail(struct relay *relay)
{
    relay->failed = true;
    drop_rest(&relay->to_stream);
    return check_end(relay);
}

static void turn_deaf(struct relay *relay)
{
    relay->deaf = true;
    drop_rest(&relay->to_local);
    if (relay->down == FLOW_ENDING)
        relay->down = FLOW_ENDED;
}

static bool start_stuck(struct relay *relay);

/* Grows with every byte that the peer's system takes. What the kernel takes from us says little: it
 * comes in pieces of megabytes. */
static uint64_t progress(const struct relay *relay)
{
    return *relay->at.n_out - stream_unacknowledged(relay->at.stream);
}

static void on_stuck(struct timer *timer)
{
    struct relay *relay = container_of(timer, struct relay, stuck);

    if (progress(relay) == relay->stuck_mark || !start_stuck(relay))
        relay->at.on_end(relay->at.context, RELAY_STUCK);
}

/* As a complete close waits for queued sends: only a standstill is cut. */
static bool start_stuck(struct relay *relay)
{
    const struct socket_room *room = relay->at.room;

    relay->stuck_mark = progress(relay);
    return timers_start(&room->loop->timers, &relay->stuck, (uint64_t)room->close_timeout_ms,
                        on_stuck) == 0;
}

/* Nobody has the other end any more; what was sent by it is still there. */
static bool local_gone(struct relay *relay)
{
    turn_deaf(relay);
    relay->gone = true;
    if (relay->up != FLOW_ENDED && !relay->failed && !start_stuck(relay)) {
        relay->at.on_end(relay->at.context, RELAY_STUCK);
        return false;
    }
    return check_end(relay);
}

/* ---- to the local side ---- */

/* A Unix socket gives all that it was sent before it says that its other end was closed with bytes
 * unread (unix_stream_read_generic()); a TCP connection that was reset may have lost some. */
static bool is_end(int local, int sys_errno)
{
    int domain = 0;
    socklen_t n = sizeof(domain);

    return sys_errno == ECONNRESET && getsockopt(local, SOL_SOCKET, SO_DOMAIN, &domain, &n) == 0 &&
           domain == AF_UNIX;
}

/* Returns how many bytes were taken; all of them when nobody takes any. */
static size_t send_local(struct relay *relay, const char *data, size_t n)
{
    ssize_t sent;

    if (relay->deaf)
        return n;
    do
        sent = send(relay->at.local, data, n, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (sent < 0 && errno == EINTR);
    if (sent >= 0)
        return (size_t)sent;
    if (errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS || errno == ENOMEM)
        return 0;
    /* EPIPE: it takes nothing any more, but may still send. ECONNRESET is told by recv(2), too. */
    relay->cut = errno != EPIPE && errno != ECONNRESET;
    turn_deaf(relay);
    return n;
}

static bool pass_down_end(struct relay *relay)
{
    if (relay->down == FLOW_ENDING && !has_rest(&relay->to_local)) {
        relay->down = FLOW_ENDED;
        (void)shutdown(relay->at.local, SHUT_WR); /* it may be gone */
    }
    return check_end(relay);
}

static bool write_local(struct relay *relay)
{
    struct rest *rest = &relay->to_local;

    if (!has_rest(rest))
        return true;
    size_t n = send_local(relay, rest->data + rest->start, rest->end - rest->start);
    if (has_rest(rest)) {
        rest->start += n;
        if (rest->start < rest->end)
            return true;
        drop_rest(rest);
    }
    return pass_down_end(relay);
}

static bool read_stream(struct relay *relay)
{
    const struct socket_room *room = relay->at.room;
    size_t n;

    for (unsigned turn = 0; turn < TURNS_MAX; turn++) {
        if (relay->failed || relay->down != FLOW_OPEN || has_rest(&relay->to_local))
            return true;
        int r = stream_read(relay->at.stream, room->scratch, room->n_scratch, &n);
        if (r == STREAM_E_AGAIN)
            return true;
        if (r == STREAM_E_END) {
            relay->down = FLOW_ENDING;
            relay->peer_first = relay->up == FLOW_OPEN;
            return pass_down_end(relay);
        }
        if (r)
            return fail(relay);
        *relay->at.n_in += n;
        (void)stats_add(bytes_in, (int64_t)n);
        size_t sent = send_local(relay, room->scratch, n);
        if (keep_rest(&relay->to_local, room->scratch + sent, n - sent))
            return fail(relay);
        if ((relay->deaf || relay->cut) && !check_end(relay))
            return false;
        if (n < room->n_scratch && !stream_pending(relay->at.stream))
            return true;
    }
    return true;
}

/* ---- to the stream ---- */

static bool pass_up_end(struct relay *relay)
{
    if (relay->up != FLOW_ENDING || has_rest(&relay->to_stream))
        return true;
    int r = relay->finishing ? STREAM_E_NO_HALF_CLOSE : stream_shutdown(relay->at.stream);
    if (r == STREAM_E_NO_HALF_CLOSE) {
        relay->finishing = true;
        r = stream_finish(relay->at.stream);
    }
    if (r == STREAM_E_AGAIN)
        return true;
    if (r)
        return fail(relay);
    relay->up = FLOW_ENDED;
    return check_end(relay);
}

/* Returns 0 with all taken; STREAM_E_AGAIN or STREAM_E_FAILED. */
static int write_some(struct relay *relay, const char *data, size_t n, size_t *ret_taken)
{
    size_t taken;
    int r = 0;

    for (*ret_taken = 0; *ret_taken < n; *ret_taken += taken) {
        r = stream_write(relay->at.stream, data + *ret_taken, n - *ret_taken, &taken);
        if (r)
            break;
    }
    *relay->at.n_out += *ret_taken;
    (void)stats_add(bytes_out, (int64_t)*ret_taken);
    return r;
}

static bool write_stream(struct relay *relay)
{
    struct rest *rest = &relay->to_stream;
    size_t taken;

    if (relay->failed)
        return true;
    if (has_rest(rest)) {
        int r = write_some(relay, rest->data + rest->start, rest->end - rest->start, &taken);
        rest->start += taken;
        if (r == STREAM_E_AGAIN)
            return true;
        if (r)
            return fail(relay);
        drop_rest(rest);
    }
    return pass_up_end(relay);
}

/* Returns the bytes read into the scratch; 0: nothing now, or the end (up is ENDING). */
static size_t recv_local(struct relay *relay)
{
    const struct socket_room *room = relay->at.room;
    ssize_t n;

    do
        n = recv(relay->at.local, room->scratch, room->n_scratch, MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    if (n > 0)
        return (size_t)n;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return 0;
    if (n < 0) {
        relay->cut = !is_end(relay->at.local, errno);
        turn_deaf(relay);
    }
    relay->up = FLOW_ENDING;
    return 0;
}

static bool read_local(struct relay *relay)
{
    const struct socket_room *room = relay->at.room;

    for (unsigned turn = 0; turn < TURNS_MAX; turn++) {
        if (relay->failed || relay->up != FLOW_OPEN || has_rest(&relay->to_stream))
            return true;
        size_t taken, n = recv_local(relay);
        if (relay->cut)
            return check_end(relay);
        if (n == 0)
            return pass_up_end(relay);
        int r = write_some(relay, room->scratch, n, &taken);
        if (r == STREAM_E_AGAIN)
            r = keep_rest(&relay->to_stream, room->scratch + taken, n - taken);
        if (r)
            return fail(relay);
        if (n < room->n_scratch)
            return true;
    }
    return true;
}

/* ---- waiting ---- */

static void update(struct relay *relay)
{
    unsigned local = 0, stream = 0;

    if (has_rest(&relay->to_local))
        local |= WATCH_WRITABLE;
    if (!relay->failed) {
        if (relay->up == FLOW_OPEN && !has_rest(&relay->to_stream))
            local |= WATCH_READABLE;
        /* without reading only this tells that it is gone altogether */
        if (!(local & WATCH_READABLE) && !relay->gone)
            local |= WATCH_HANGUP;
        if (relay->down == FLOW_OPEN && !has_rest(&relay->to_local))
            stream |= STREAM_READABLE;
        if (has_rest(&relay->to_stream) || relay->up == FLOW_ENDING)
            stream |= STREAM_WRITABLE;
    }
    /* libuv only notes the wish here */
    int r = watch_set(relay->watch, local);
    ASSERT(r == 0);
    r = stream_interest(relay->at.stream, stream);
    ASSERT(r == 0);
}

static void on_local(void *context, unsigned events)
{
    struct relay *relay = context;

    ASSERT_OWNER(relay->at.room->loop);
    if ((events & WATCH_HANGUP) && !local_gone(relay))
        return;
    if ((events & WATCH_WRITABLE) && !write_local(relay))
        return;
    if ((events & WATCH_READABLE) && !read_local(relay))
        return;
    update(relay);
}

void relay_on_ready(struct relay *relay, unsigned ready)
{
    ASSERT_OWNER(relay->at.room->loop);
    /* reading first: a peer that has reset the connection may have said why before */
    if ((ready & STREAM_READABLE) && !read_stream(relay))
        return;
    if ((ready & STREAM_WRITABLE) && !write_stream(relay))
        return;
    update(relay);
}

bool relay_peer_first(const struct relay *relay)
{
    return relay->peer_first;
}

bool relay_is_alone(const struct relay *relay)
{
    /* unix(7) sockets: POLLHUP when the other end was closed, not when it has only ended sending */
    struct pollfd item = {.fd = relay->at.local};
    return poll(&item, 1, 0) > 0 && item.revents & POLLHUP;
}

/* ---- beginning and end ---- */

int relay_new(struct relay **ret_relay, const struct relay_setup *setup)
{
    ASSERT_OWNER(setup->room->loop);
    struct relay *relay = calloc(1, sizeof(*relay));
    if (!relay)
        return -ENOMEM;
    relay->at = *setup;
    relay->at.local = -1; /* the caller's until it has worked */
    relay->up = setup->up_ended ? FLOW_ENDED : FLOW_OPEN;
    relay->down = setup->down_ended ? FLOW_ENDING : FLOW_OPEN;
    relay->peer_first = setup->down_ended && !setup->up_ended;
    int r = keep_rest(&relay->to_local, setup->first, setup->n_first);
    if (r == 0)
        r = watch_new(&relay->watch, setup->room->loop, setup->local, on_local, relay);
    if (r) {
        relay_free(relay);
        return r;
    }
    relay->at.local = setup->local;
    stream_expect_much(setup->stream);
    if (relay->up == FLOW_ENDED)
        (void)shutdown(setup->local, SHUT_RD); /* who sends all the same gets EPIPE */
    if (relay->down == FLOW_ENDING && !has_rest(&relay->to_local)) {
        relay->down = FLOW_ENDED;
        (void)shutdown(setup->local, SHUT_WR);
    }
    update(relay);
    *ret_relay = relay;
    return 0;
}

void relay_reset(struct relay *relay)
{
    static const struct linger at_once = {.l_onoff = 1, .l_linger = 0};

    if (relay && relay->at.local >= 0) /* Unix sockets take no notice */
        (void)setsockopt(relay->at.local, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
}

struct relay *relay_free(struct relay *relay)
{
    if (!relay)
        return NULL;
    ASSERT_OWNER(relay->at.room->loop);
    watch_free(relay->watch);
    timers_stop(&relay->at.room->loop->timers, &relay->stuck);
    if (relay->at.local >= 0)
        close(relay->at.local);
    drop_rest(&relay->to_stream);
    drop_rest(&relay->to_local);
    free(relay);
    return NULL;
}
