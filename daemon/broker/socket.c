#include "broker/socket.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/session.h"
#include "broker/shelf.h"
#include "broker/socket_internal.h"
#include "broker/socket_keep.h"
#include "broker/socket_listen.h"
#include "broker/socket_move.h"
#include "net/acceptor.h"
#include "util/log.h"

static const char *const state_names[] = {
    [SOCKET_UNBOUND] = "unbound",     [SOCKET_BOUND] = "bound",
    [SOCKET_LISTENING] = "listening", [SOCKET_CONNECTING] = "connecting",
    [SOCKET_OPEN] = "open",           [SOCKET_SECURING] = "securing",
    [SOCKET_ATTACHED] = "attached",   [SOCKET_CLOSING] = "closing",
    [SOCKET_FAILED] = "failed",
};

void socket_set_state(struct socket *socket, enum socket_state state)
{
    static const unsigned allowed[] = {
        [SOCKET_UNBOUND] = 1U << SOCKET_BOUND,
        [SOCKET_BOUND] = 1U << SOCKET_LISTENING,
        [SOCKET_LISTENING] = 0,
        [SOCKET_CONNECTING] = 1U << SOCKET_OPEN,
        [SOCKET_OPEN] = 1U << SOCKET_SECURING | 1U << SOCKET_ATTACHED | 1U << SOCKET_CLOSING |
                        1U << SOCKET_FAILED,
        [SOCKET_SECURING] = 1U << SOCKET_OPEN | 1U << SOCKET_FAILED,
        [SOCKET_ATTACHED] = 1U << SOCKET_CLOSING | 1U << SOCKET_FAILED,
        [SOCKET_CLOSING] = 1U << SOCKET_FAILED,
        [SOCKET_FAILED] = 0,
    };
    ASSERT(allowed[socket->state] & 1U << state);
    log_debug("socket %u: %s -> %s", socket->number, state_names[socket->state],
              state_names[state]);
    socket->state = state;
    socket_keep_change(socket);
}

void socket_set_sending(struct socket *socket, enum socket_sending sending)
{
    /* FINISHING -> OPEN: the half close turned out to be impossible (TLS 1.2);
     * to FINISHING again: a complete close, which ends what a half close has left (TLS: the FIN) */
    ASSERT(sending > socket->sending || socket->state == SOCKET_CLOSING ||
           (sending == SENDING_OPEN && socket->sending == SENDING_FINISHING));
    log_debug("socket %u: sending %d -> %d", socket->number, (int)socket->sending, (int)sending);
    socket->sending = sending;
    socket_keep_change(socket);
}

void socket_set_receiving(struct socket *socket, enum socket_receiving receiving)
{
    ASSERT(receiving > socket->receiving);
    log_debug("socket %u: the peer ended sending", socket->number);
    socket->receiving = receiving;
    socket->notes.peer_first = socket->sending == SENDING_OPEN;
    socket_keep_change(socket);
}

const char *socket_state_text(const struct socket *socket)
{
    if (socket->state != SOCKET_OPEN)
        return state_names[socket->state];
    if (socket->sending == SENDING_OPEN)
        return socket->receiving == RECEIVING_OPEN ? "connected" : "peer_closed";
    return socket->receiving == RECEIVING_OPEN ? "half_closed" : "ended";
}

const struct address *socket_local(const struct socket *socket)
{
    if (socket->stream)
        return stream_local(socket->stream);
    if (socket->acceptor)
        return acceptor_local(socket->acceptor);
    if (socket->connection)
        return &socket->connection->local;
    return socket->secure ? &socket->secure->local : NULL;
}

const struct address *socket_remote(const struct socket *socket)
{
    if (socket->stream)
        return stream_remote(socket->stream);
    if (socket->connection)
        return &socket->connection->remote;
    return socket->secure ? &socket->secure->remote : NULL;
}

const struct tls_facts *socket_tls(const struct socket *socket)
{
    if (socket->stream)
        return stream_tls(socket->stream);
    return socket->connection ? socket->connection->facts : NULL;
}

int socket_new(struct socket **ret_socket, struct session *session, uint32_t number,
               enum socket_state state, const struct label *owner, const char *hostname)
{
    ASSERT_OWNER(session->room->loop);
    ASSERT(state == SOCKET_UNBOUND || state == SOCKET_CONNECTING);
    struct socket *socket = calloc(1, sizeof(*socket));
    if (!socket)
        return -ENOMEM;
    socket->number = number;
    socket->state = state;
    socket->session = session;
    socket->room = session->room;
    socket->owner = *owner;
    socket->born_us = loop_clock_us();
    socket->hostname = hostname ? strdup(hostname) : NULL;
    if (hostname && !socket->hostname) {
        free(socket);
        return -ENOMEM;
    }
    list_init(&socket->sends);
    *ret_socket = socket;
    return 0;
}

/* End whatever is parked but a close, which is the caller's business. */
static void end_parked(struct socket *socket)
{
    socket_end_sends(socket, SOCKET_E_CLOSING);
    socket_end_receive(socket, SOCKET_E_CLOSING);
    socket_end_accept(socket, SOCKET_E_CLOSING);
    if (socket->hold) {
        struct socket_hold *hold = socket->hold;
        socket->hold = NULL;
        hold->on_done(hold, SOCKET_E_CLOSING);
    }
    if (socket->secure) {
        struct socket_secure *secure = socket->secure;
        socket->secure = NULL;
        secure->on_done(secure, SOCKET_E_CLOSING);
    }
}

struct socket *socket_free(struct socket *socket, bool tell)
{
    if (!socket)
        return NULL;
    if (socket->room) {
        ASSERT_OWNER(socket->room->loop);
        timers_stop(&socket->room->loop->timers, &socket->close_timer);
    }
    record_close(socket, socket->room ? socket->room->events : NULL);
    if (tell)
        end_parked(socket);
    socket_detach(socket);
    socket_unforce(socket);
    socket_unkeep(socket, UNKEEP_ENDS);
    socket->stream = stream_free(socket->stream,
                                 socket->state == SOCKET_OPEN || socket->state == SOCKET_ATTACHED);
    socket->acceptor = acceptor_free(socket->acceptor);
    socket->connection = connection_free(socket->connection);
    socket_drop_buffer(socket);
    shelf_unref(socket->shelf);
    free(socket->own_error);
    free(socket->carry);
    free(socket->hostname);
    account_discharge(&socket->charge);
    free(socket);
    return NULL;
}

void socket_on_ready(void *context, unsigned ready)
{
    struct socket *socket = context;

    if (socket->state == SOCKET_ATTACHED) {
        socket_relay_ready(socket, ready);
        return;
    }
    if ((ready & STREAM_WRITABLE) && socket_pump_sends(socket))
        return;
    if ((ready & STREAM_READABLE) && socket->state != SOCKET_FAILED && socket_pump_reads(socket))
        return;
    socket_update_interest(socket);
}

int socket_connect(struct socket *socket, struct connection **connection)
{
    ASSERT_OWNER(socket->room->loop);
    ASSERT(socket->state == SOCKET_CONNECTING);
    int r = stream_import(&socket->stream, connection, socket->room->loop, socket_on_ready, socket);
    if (r)
        return r;
    socket_set_state(socket, SOCKET_OPEN);
    socket_update_interest(socket);
    socket_keep(socket);
    return 0;
}

void socket_update_interest(struct socket *socket)
{
    unsigned ready = 0;

    socket_note(socket);
    if (!socket->stream || socket->state == SOCKET_ATTACHED)
        return;
    if (socket_wants_read(socket))
        ready |= STREAM_READABLE;
    if (socket->state != SOCKET_FAILED &&
        (!list_empty(&socket->sends) || socket->carry || socket->sending == SENDING_FINISHING))
        ready |= STREAM_WRITABLE;
    /* libuv only notes the wish here; what epoll has to say comes later, and never as an error */
    int r = stream_interest(socket->stream, ready);
    ASSERT(r == 0);
}

bool socket_fail(struct socket *socket, const struct net_error *error)
{
    ASSERT(socket->state != SOCKET_FAILED);
    socket->error = error;
    bool closing = socket->state == SOCKET_CLOSING;
    socket_set_state(socket, SOCKET_FAILED);
    socket_update_interest(socket);
    socket_end_sends(socket, SOCKET_E_FAILED);
    if (closing)
        return socket_finish_close(socket, SOCKET_OK);
    if (socket->close)
        (void)socket_finish_close(socket, SOCKET_E_FAILED);
    /* a receive that what is left can satisfy gets it */
    socket_poke(socket);
    return false;
}

bool socket_fail_memory(struct socket *socket)
{
    static const struct net_error no_memory = {
        .stage = NET_STAGE_IO, .cause = NET_SYSTEM, .sys_errno = ENOMEM};
    return socket_fail(socket, &no_memory);
}

const struct net_error *socket_error(const struct socket *socket)
{
    static const struct net_error no_error;
    return socket->error ? socket->error : &no_error;
}

/* ---- closing
 * --------------------------------------------------------------------------------------------------
 */

bool socket_finish_close(struct socket *socket, enum socket_outcome outcome)
{
    struct socket_close *close = socket->close;

    ASSERT(close);
    socket->close = NULL;
    timers_stop(&socket->room->loop->timers, &socket->close_timer);
    bool gone = outcome == SOCKET_OK && close->option != SOCKET_CLOSE_PARTIAL;
    close->on_done(close, outcome);
    return gone;
}

/* Grows with every byte that the peer's system takes. */
static uint64_t sent_so_far(const struct socket *socket)
{
    return socket->bytes_out - stream_unacknowledged(socket->stream);
}

static void on_close_timer(struct timer *timer)
{
    struct socket *socket = container_of(timer, struct socket, close_timer);

    if (!list_empty(&socket->sends) && sent_so_far(socket) != socket->close_mark) {
        /* the peer still takes bytes: only a standstill is cut */
        socket->close_mark = sent_so_far(socket);
        if (timers_start(&socket->room->loop->timers, timer,
                         (uint64_t)socket->room->close_timeout_ms, on_close_timer) == 0)
            return;
    }
    log_debug("socket %u: close_timeout passed, cut", socket->number);
    socket->notes.end = RECORD_END_TIMED_OUT;
    socket_end_sends(socket, SOCKET_E_CUT);
    (void)socket_finish_close(socket, SOCKET_OK);
}

/* It has its place among the timers since the close began, so starting it anew cannot fail. */
static void start_close_timer(struct socket *socket)
{
    int r = timers_start(&socket->room->loop->timers, &socket->close_timer,
                         (uint64_t)socket->room->close_timeout_ms, on_close_timer);
    ASSERT(r == 0);
}

/* What the stream says to the end of sending, as an outcome; SOCKET_E_PARKED: it would block. */
static enum socket_outcome end_sending(struct socket *socket)
{
    int r = socket->close->option == SOCKET_CLOSE_PARTIAL ? stream_shutdown(socket->stream)
                                                          : stream_finish(socket->stream);
    switch (r) {
    case 0:
        socket_set_sending(socket, SENDING_SHUT);
        return SOCKET_OK;
    case STREAM_E_AGAIN:
        return SOCKET_E_PARKED;
    case STREAM_E_NO_HALF_CLOSE:
        socket_set_sending(socket, SENDING_OPEN);
        return SOCKET_E_NO_HALF_CLOSE;
    default:
        return SOCKET_E_FAILED;
    }
}

/* One step of the parked close: SOCKET_E_PARKED: it goes on later; else its outcome. */
static enum socket_outcome step_close(struct socket *socket)
{
    bool partial = socket->close->option == SOCKET_CLOSE_PARTIAL;
    enum socket_outcome outcome = SOCKET_OK;

    if (!list_empty(&socket->sends) || socket->carry)
        return SOCKET_E_PARKED;
    if (socket->sending == SENDING_FINISHING)
        outcome = end_sending(socket);
    if (outcome != SOCKET_OK || partial)
        return outcome;
    return socket->receiving == RECEIVING_ENDED ? SOCKET_OK : SOCKET_E_PARKED;
}

bool socket_proceed_close(struct socket *socket)
{
    if (!socket->close)
        return false;
    bool finishing = socket->sending == SENDING_FINISHING;
    enum socket_outcome outcome = step_close(socket);
    if (outcome == SOCKET_E_PARKED) {
        /* all is sent: from now on the peer's end is waited for, for a whole close_timeout */
        if (finishing && socket->sending == SENDING_SHUT)
            start_close_timer(socket);
        return false;
    }
    if (outcome == SOCKET_E_FAILED)
        return socket_fail(socket, stream_error(socket->stream));
    return socket_finish_close(socket, outcome);
}

static enum socket_outcome close_abort(struct socket *socket)
{
    if (socket->close) /* the complete one that it overtakes */
        socket->notes.end = RECORD_END_CLIENT_ABORTED;
    record_ends(socket, RECORD_END_CLIENT_ABORTED);
    record_close(socket, socket->room->events);
    end_parked(socket);
    if (socket->close) {
        /* the close that is overtaken must not free what this one frees */
        struct socket_close *overtaken = socket->close;
        socket->close = NULL;
        overtaken->on_done(overtaken, SOCKET_E_CLOSING);
    }
    socket_unkeep(socket, UNKEEP_RESET);
    socket->stream = stream_abort(socket->stream);
    free(socket->own_error); /* told: socket_free() has no more to say */
    socket->own_error = NULL;
    socket->error = NULL;
    return SOCKET_OK;
}

static enum socket_outcome close_partial(struct socket *socket, struct socket_close *close)
{
    if (socket->state == SOCKET_FAILED)
        return SOCKET_E_FAILED;
    if (socket->sending != SENDING_OPEN)
        return SOCKET_E_SHUT_DOWN;
    socket->close = close;
    socket_set_sending(socket, SENDING_FINISHING);
    enum socket_outcome outcome = step_close(socket);
    if (outcome == SOCKET_E_PARKED) {
        socket_update_interest(socket);
        return outcome;
    }
    socket->close = NULL;
    if (outcome == SOCKET_E_FAILED)
        (void)socket_fail(socket, stream_error(socket->stream));
    else
        socket_update_interest(socket);
    return outcome;
}

static enum socket_outcome close_complete(struct socket *socket, struct socket_close *close)
{
    close->n_discarded += socket->end - socket->start;
    record_ends(socket,
                socket->notes.peer_first ? RECORD_END_PEER_CLOSED : RECORD_END_CLIENT_CLOSED);
    socket_drop_buffer(socket);
    if (socket->state == SOCKET_FAILED)
        return SOCKET_OK;
    socket->close = close;
    socket_set_state(socket, SOCKET_CLOSING);
    socket_end_receive(socket, SOCKET_E_CLOSING);
    /* after a half close there is still the FIN of TLS to send; on a plain socket it is harmless to
     * end sending twice */
    socket_set_sending(socket, SENDING_FINISHING);
    enum socket_outcome outcome = step_close(socket);
    if (outcome == SOCKET_E_PARKED) {
        socket->close_mark = sent_so_far(socket);
        if (timers_start(&socket->room->loop->timers, &socket->close_timer,
                         (uint64_t)socket->room->close_timeout_ms, on_close_timer) == 0) {
            socket_update_interest(socket);
            return outcome;
        }
        /* without a timer nobody would ever end it: cut now */
        socket_end_sends(socket, SOCKET_E_CUT);
    }
    socket->close = NULL;
    return SOCKET_OK; /* also when ending it failed: the number is released either way */
}

enum socket_outcome socket_close_attached(struct socket *socket, struct socket_close *close)
{
    ASSERT(socket->state == SOCKET_ATTACHED);
    return close->option == SOCKET_CLOSE_ABORT ? close_abort(socket)
                                               : close_complete(socket, close);
}

bool socket_is_attached(const struct socket *socket)
{
    return socket->state == SOCKET_ATTACHED ||
           (socket->state == SOCKET_CLOSING && socket->attached);
}

enum socket_outcome socket_close(struct socket *socket, struct socket_close *close)
{
    ASSERT_OWNER(socket->room->loop);
    close->n_discarded = 0;
    if (socket->state == SOCKET_CONNECTING)
        return SOCKET_E_NOT_CONNECTED;
    if (socket->state <= SOCKET_LISTENING) { /* nothing is under way: it just goes */
        if (close->option == SOCKET_CLOSE_PARTIAL)
            return SOCKET_E_NOT_CONNECTED;
        record_ends(socket, RECORD_END_CLIENT_CLOSED);
        return SOCKET_OK;
    }
    if (socket_is_attached(socket))
        return SOCKET_E_ATTACHED;
    if (close->option == SOCKET_CLOSE_ABORT)
        return close_abort(socket);
    if (socket->close || socket->state == SOCKET_SECURING)
        return SOCKET_E_BUSY;
    return close->option == SOCKET_CLOSE_PARTIAL ? close_partial(socket, close)
                                                 : close_complete(socket, close);
}

void socket_withdraw_close(struct socket *socket, struct socket_close *close)
{
    ASSERT_OWNER(socket->room->loop);
    ASSERT(socket->close == close);
    socket->close = NULL;
    timers_stop(&socket->room->loop->timers, &socket->close_timer);
    if (close->option == SOCKET_CLOSE_PARTIAL) {
        /* nothing was sent yet that says so: the socket goes on as it was */
        if (socket->sending == SENDING_FINISHING)
            socket_set_sending(socket, SENDING_OPEN);
        socket_update_interest(socket);
        return;
    }
    socket_end_sends(socket, SOCKET_E_CLOSING);
    socket->notes.end = RECORD_END_CLIENT_ABORTED;
    record_close(socket, socket->room->events);
    socket_unkeep(socket, UNKEEP_RESET);
    socket->stream = stream_abort(socket->stream);
}
