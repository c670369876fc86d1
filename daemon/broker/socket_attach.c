#include "broker/socket_attach.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker/relay.h"
#include "broker/socket_internal.h"
#include "broker/socket_keep.h"
#include "broker/socket_move.h"
#include "util/log.h"

/* What an attached socket has beside. */
struct attached {
    struct socket *socket;
    struct relay *relay; /* NULL: it has ended */
    struct socket_close close;
    struct timer told;
};

void socket_relay_ready(struct socket *socket, unsigned ready)
{
    relay_on_ready(socket->attached->relay, ready);
}

void socket_detach(struct socket *socket)
{
    struct attached *attached = socket->attached;

    if (!attached)
        return;
    relay_free(attached->relay);
    timers_stop(&socket->room->loop->timers, &attached->told);
    free(attached);
    socket->attached = NULL;
}

void session_socket_forget(struct socket *socket)
{
    struct session *session = socket->session;

    session_socket_free(session, socket, true);
    if (session->lingering && !session_has_attached(session))
        session->room->on_lingered(session);
}

static void on_told(struct timer *timer)
{
    session_socket_forget(container_of(timer, struct attached, told)->socket);
}

static void on_closed(struct socket_close *close, enum socket_outcome outcome)
{
    (void)outcome; /* whatever is left of it goes */
    session_socket_forget(container_of(close, struct attached, close)->socket);
}

static void on_failed(struct socket *socket)
{
    struct attached *attached = socket->attached;
    bool alone = relay_is_alone(attached->relay);

    attached->relay = relay_free(attached->relay);
    (void)socket_fail(socket, stream_error(socket->stream));
    if (alone || socket->session->lingering ||
        timers_start(&socket->room->loop->timers, &attached->told, ATTACH_TOLD_MS, on_told) != 0)
        session_socket_forget(socket);
}

static void on_relay_end(void *context, enum relay_end end)
{
    struct socket *socket = context;
    struct attached *attached = socket->attached;

    switch (end) {
    case RELAY_DONE:
        record_ends(socket, relay_peer_first(attached->relay) ? RECORD_END_PEER_CLOSED
                                                              : RECORD_END_CLIENT_CLOSED);
        session_socket_forget(socket);
        return;
    case RELAY_FAILED:
        on_failed(socket);
        return;
    case RELAY_STUCK:
        log_debug("socket %u: close_timeout passed, cut", socket->number);
        record_ends(socket, RECORD_END_TIMED_OUT);
        attached->close.option = SOCKET_CLOSE_ABORT;
        break;
    case RELAY_CUT:
        log_info("socket %u: the local side was cut off, so the peer is", socket->number);
        attached->close.option = SOCKET_CLOSE_ABORT;
        break;
    case RELAY_LOCAL_GONE:
        /* sending has ended; the peer's end is waited for, so that what it was sent is not lost */
        attached->close.option = SOCKET_CLOSE_COMPLETE;
        break;
    }
    attached->relay = relay_free(attached->relay);
    attached->close.on_done = on_closed;
    if (socket_close_attached(socket, &attached->close) != SOCKET_E_PARKED)
        session_socket_forget(socket);
}

enum socket_outcome socket_force_attached(struct socket *socket, enum socket_close_option option)
{
    struct attached *attached = socket->attached;

    if (socket->state == SOCKET_CLOSING && option != SOCKET_CLOSE_ABORT)
        return SOCKET_E_PARKED; /* the local side has gone before */
    if (option == SOCKET_CLOSE_ABORT)
        relay_reset(attached->relay);
    attached->relay = relay_free(attached->relay);
    if (socket->state == SOCKET_ATTACHED) {
        attached->close = (struct socket_close){.option = option, .on_done = on_closed};
        if (socket_close_attached(socket, &attached->close) == SOCKET_E_PARKED)
            return SOCKET_E_PARKED;
    } else if (socket->stream && option == SOCKET_CLOSE_ABORT) {
        record_close(socket, socket->room->events); /* it has an address still */
        socket->stream = stream_abort(socket->stream);
        socket->error = NULL; /* the stream's */
    }
    session_socket_forget(socket);
    return SOCKET_OK;
}

static enum socket_outcome check(const struct socket *socket)
{
    if (socket_is_attached(socket))
        return SOCKET_E_ATTACHED;
    switch (socket->state) {
    case SOCKET_OPEN:
        break;
    case SOCKET_FAILED:
        return SOCKET_E_FAILED;
    case SOCKET_CLOSING:
    case SOCKET_SECURING:
        return SOCKET_E_BUSY;
    default:
        return SOCKET_E_NOT_CONNECTED;
    }
    return socket_idle(socket) != SOCKET_OK || socket->carry || socket->sending == SENDING_FINISHING
               ? SOCKET_E_BUSY
               : SOCKET_OK;
}

static int start_relay(struct socket *socket, int local)
{
    struct relay_setup setup = {
        .room = socket->room,
        .stream = socket->stream,
        .local = local,
        .first = socket->buffer + socket->start,
        .n_first = socket->end - socket->start,
        .down_ended = socket->receiving == RECEIVING_ENDED,
        .up_ended = socket->sending == SENDING_SHUT,
        .n_in = &socket->bytes_in,
        .n_out = &socket->bytes_out,
        .on_end = on_relay_end,
        .context = socket,
    };
    struct attached *attached = calloc(1, sizeof(*attached));
    if (!attached)
        return -ENOMEM;
    attached->socket = socket;
    int r = relay_new(&attached->relay, &setup);
    if (r) {
        free(attached);
        return r;
    }
    socket_unkeep(socket, UNKEEP_LEAVES); /* a relay ends with the process */
    socket->attached = attached;
    socket_drop_buffer(socket);
    socket_set_state(socket, SOCKET_ATTACHED);
    return 0;
}

int socket_attach_to(struct socket *socket, int local)
{
    ASSERT_OWNER(socket->room->loop);
    enum socket_outcome outcome = check(socket);
    return outcome != SOCKET_OK ? (int)outcome : start_relay(socket, local);
}

static int attach_pair(struct socket *socket, int *ret_fd)
{
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return -errno;
    /* the other end is the client's and blocks, as it expects; this one the watch makes
     * non-blocking
     */
    int r = start_relay(socket, pair[0]);
    if (r) {
        close(pair[0]);
        close(pair[1]);
        return r;
    }
    *ret_fd = pair[1];
    return 0;
}

static int attach_direct(struct socket *socket, int *ret_fd, struct tls_facts **ret_facts)
{
    int off = 0;

    socket_unkeep(socket, UNKEEP_LEAVES);
    if (socket->stream) {
        int r = stream_export(&socket->stream, &socket->connection);
        ASSERT(r == 0);
    }
    socket_set_state(socket, SOCKET_ATTACHED);
    record_ends(socket, RECORD_END_HANDED_OUT);
    record_close(socket, socket->room->events);
    int fd = socket->connection->fd;
    /* from now on it is the client's, who expects that it blocks */
    (void)ioctl(fd, FIONBIO, &off);
    socket->connection->fd = -1;
    *ret_facts = socket->connection->facts;
    socket->connection->facts = NULL;
    session_socket_free(socket->session, socket, false);
    *ret_fd = fd;
    return 0;
}

int socket_connect_attached(struct socket *socket, struct connection **connection)
{
    ASSERT_OWNER(socket->room->loop);
    ASSERT(socket->state == SOCKET_CONNECTING);
    if ((*connection)->facts)
        return socket_connect(socket, connection);
    socket->connection = *connection;
    *connection = NULL;
    socket_set_state(socket, SOCKET_OPEN);
    return 0;
}

int socket_attach(struct socket *socket, int *ret_fd, bool *ret_direct,
                  struct tls_facts **ret_facts)
{
    ASSERT_OWNER(socket->room->loop);
    enum socket_outcome outcome = check(socket);
    if (outcome != SOCKET_OK)
        return (int)outcome;
    *ret_facts = NULL;
    *ret_direct = (!socket->stream || stream_bare(socket->stream)) &&
                  socket->end == socket->start && socket->receiving == RECEIVING_OPEN;
    return *ret_direct ? attach_direct(socket, ret_fd, ret_facts) : attach_pair(socket, ret_fd);
}

static struct socket *next_unattached(struct session *session)
{
    struct socket *socket;

    for (size_t i = 0; (socket = map_next(&session->sockets, &i, NULL));)
        if (!socket_is_attached(socket))
            return socket;
    return NULL;
}

bool session_has_attached(const struct session *session)
{
    const struct socket *socket;

    for (size_t i = 0; (socket = map_next(&session->sockets, &i, NULL));)
        if (socket_is_attached(socket))
            return true;
    return false;
}

bool session_has_unattached(struct session *session)
{
    ASSERT_OWNER(session->room->loop);
    return next_unattached(session) != NULL;
}

void session_close_unattached(struct session *session)
{
    struct socket *socket;

    ASSERT_OWNER(session->room->loop);
    while ((socket = next_unattached(session)))
        session_socket_free(session, socket, false);
}
