#include "broker/socket_keep.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "broker/session.h"
#include "broker/shelf.h"
#include "broker/socket_internal.h"
#include "broker/stats.h"
#include "net/acceptor.h"
#include "util/log.h"

/* ---- what is known of it ---- */

static void describe_lost(const struct socket *socket, struct kept_socket *kept)
{
    const struct net_error *error = socket_error(socket);

    kept->kind = KEPT_LOST;
    kept->lost_errno = ECONNABORTED;
    if (socket->state == SOCKET_FAILED) {
        if (error->sys_errno > 0)
            kept->lost_errno = error->sys_errno;
        snprintf(kept->why, sizeof(kept->why), "%.*s", KEPT_WHY_MAX,
                 error->library[0] ? error->library
                                   : "the connection had failed before the restart");
    } else if (socket_tls(socket)) {
        snprintf(kept->why, sizeof(kept->why),
                 "the broker was restarted, and a TLS connection ends with the process that has "
                 "its keys");
    } else {
        snprintf(kept->why, sizeof(kept->why), "the broker was restarted while it was %s",
                 socket_state_text(socket));
    }
}

static int fd_of(const struct socket *socket)
{
    if (socket->stream)
        return stream_fd(socket->stream);
    return socket->acceptor ? acceptor_fd(socket->acceptor) : -1;
}

static void describe(const struct socket *socket, struct kept_socket *ret_kept)
{
    const struct address *local = socket_local(socket), *remote = socket_remote(socket);
    struct kept_socket kept = {
        .number = socket->number,
        .session = socket->session->id,
        .family = socket->family,
        .shut = socket->sending == SENDING_SHUT,
        .ended = socket->receiving == RECEIVING_ENDED,
        .non_blocking = socket->non_blocking,
        .owner = socket->owner,
        .hostname = socket->hostname,
        .bytes_in = socket->bytes_in,
        .bytes_out = socket->bytes_out,
        .born_us = socket->born_us,
        .ahead = socket->buffer ? socket->buffer + socket->start : NULL,
        .n_ahead = socket->end - socket->start,
        .fd = -1,
    };

    if (local)
        kept.local = *local;
    if (remote)
        kept.remote = *remote;
    if (socket->state == SOCKET_OPEN && !socket_tls(socket))
        kept.kind = KEPT_OPEN;
    else if (socket->state == SOCKET_LISTENING)
        kept.kind = KEPT_LISTENING;
    else if (socket->state == SOCKET_BOUND)
        kept.kind = KEPT_BOUND;
    else if (socket->state == SOCKET_UNBOUND)
        kept.kind = KEPT_UNBOUND;
    else
        describe_lost(socket, &kept);
    *ret_kept = kept;
}

void session_describe(const struct session *session, struct kept_session *ret_kept)
{
    *ret_kept = (struct kept_session){
        .id = session->id,
        .uid = session->uid,
        .gid = session->gid,
        .pid = session->pid,
        .lease_ms = session->lease_ms,
        .deadlines = session->deadlines,
        .token = session->token,
    };
    list_init(&ret_kept->sockets);
}

/* ---- while the daemon runs ---- */

static bool is_kept(const struct session *session)
{
    return session->room->keep && session->durable && !session->lingering;
}

static void write_item(struct socket *socket)
{
    struct kept_socket kept;

    describe(socket, &kept);
    keep_item_write(socket->keep, socket->room->index, &kept);
    socket->live = keep_item_live(socket->keep);
}

void socket_keep(struct socket *socket)
{
    struct session *session = socket->session;

    ASSERT_OWNER(socket->room->loop);
    if (!is_kept(session) || socket->state == SOCKET_CONNECTING)
        return;
    if (!socket->keep && keep_item_new(session->room->keep, socket->number, false, &socket->keep))
        return;
    int fd = fd_of(socket);
    if (fd >= 0 && !socket_tls(socket))
        keep_item_store(socket->keep, fd);
    write_item(socket);
    /* a session that becomes durable has sockets whose bytes have moved already */
    if (socket->bytes_in + socket->bytes_out > 0)
        socket_note_move(socket);
    socket_note(socket);
}

void socket_keep_change(struct socket *socket)
{
    if (socket->keep)
        socket_keep(socket);
}

void session_keep(struct session *session)
{
    struct socket *socket;
    struct kept_session kept;

    ASSERT_OWNER(session->room->loop);
    if (!is_kept(session))
        return;
    session_describe(session, &kept);
    keep_write_session(session->room->keep, &session->slot, session->room->index, &kept);
    for (size_t i = 0; (socket = map_next(&session->sockets, &i, NULL));)
        if (!socket->keep && !socket_is_attached(socket))
            socket_keep(socket);
}

/* tcp(7): a connection that is dissolved sends RST, whoever else has its descriptor. */
static void end_connection(int fd, bool reset)
{
    const struct sockaddr none = {.sa_family = AF_UNSPEC};

    if (reset)
        (void)connect(fd, &none, sizeof(none));
    else
        (void)shutdown(fd, SHUT_RDWR);
}

void socket_unkeep(struct socket *socket, enum unkeep how)
{
    if (!socket->keep)
        return;
    ASSERT_OWNER(socket->room->loop);
    if (how != UNKEEP_LEAVES && socket->keep->stored && fd_of(socket) >= 0)
        end_connection(fd_of(socket), how == UNKEEP_RESET && socket->stream);
    socket->live = NULL;
    socket->keep = keep_item_drop(socket->keep);
}

void session_unkeep(struct session *session)
{
    struct socket *socket;

    ASSERT_OWNER(session->room->loop);
    if (!session->room->keep)
        return;
    keep_drop_session(session->room->keep, &session->slot);
    for (size_t i = 0; (socket = map_next(&session->sockets, &i, NULL));)
        socket_unkeep(socket, UNKEEP_LEAVES);
}

/* ---- the end of the process ---- */

/* Its descriptor, taken out of it; -1: it has none. */
static int take_fd(struct socket *socket)
{
    int fd = -1;

    if (socket->stream) {
        int r = stream_export(&socket->stream, &socket->connection);
        ASSERT(r == 0);
        fd = socket->connection->fd;
        socket->connection->fd = -1;
    } else if (socket->acceptor) {
        fd = acceptor_release(&socket->acceptor);
    }
    return fd;
}

static void take_bytes(struct socket *socket, struct kept_socket *kept)
{
    if (kept->n_ahead == 0) {
        kept->ahead = NULL;
        return;
    }
    memmove(socket->buffer, kept->ahead, kept->n_ahead);
    kept->ahead = socket->buffer;
    socket->buffer = NULL;
    socket->start = socket->end = socket->capacity = 0;
}

/* Nothing is closed, and its name has gone on. */
static void forget(struct session *session, struct socket *socket)
{
    void *removed = map_remove(&session->sockets, socket->number);

    ASSERT(removed == socket);
    table_release(session->room->table, socket->number);
    (void)stats_sub(sockets, 1);
    timers_stop(&session->room->loop->timers, &socket->close_timer);
    connection_free(socket->connection);
    shelf_unref(socket->shelf);
    account_discharge(&socket->charge);
    free(socket->carry);
    free(socket);
}

int socket_leave(struct session *session, struct socket *socket, struct kept_socket **ret_kept)
{
    ASSERT_OWNER(session->room->loop);
    *ret_kept = NULL;
    if (socket_is_attached(socket)) { /* its time was stop.drain_timeout */
        session_socket_free(session, socket, false);
        return 0;
    }
    ASSERT(list_empty(&socket->sends) && !socket->receive && !socket->accept && !socket->close);
    struct kept_socket *kept = malloc(sizeof(*kept));
    if (!kept)
        return -ENOMEM;
    describe(socket, kept);
    kept->stored = keep_item_leave(socket->keep);
    socket->keep = NULL;
    socket->live = NULL;
    take_bytes(socket, kept);
    if (kept->kind == KEPT_LOST) { /* closed as ever, with its line in the log */
        kept->hostname = kept->hostname ? strdup(kept->hostname) : NULL;
        session_socket_free(session, socket, false);
    } else {
        socket->notes.told = true; /* it goes on: its end is told by who comes after */
        kept->fd = take_fd(socket);
        forget(session, socket);
    }
    *ret_kept = kept;
    return 0;
}

/* ---- the next start ---- */

static int return_open(struct socket *socket, struct kept_socket *kept)
{
    struct connection *connection = calloc(1, sizeof(*connection));
    if (!connection)
        return -ENOMEM;
    connection->fd = kept->fd;
    connection->local = kept->local;
    connection->remote = kept->remote;
    int r = socket_connect(socket, &connection);
    if (r) {
        connection->fd = -1;
        connection_free(connection);
        return r;
    }
    kept->fd = -1;
    if (kept->shut)
        socket_set_sending(socket, SENDING_SHUT);
    if (kept->ended)
        socket_set_receiving(socket, RECEIVING_ENDED);
    return 0;
}

static int return_serving(struct socket *socket, struct kept_socket *kept)
{
    bool listening = kept->kind == KEPT_LISTENING;
    int r = acceptor_adopt(&socket->acceptor, kept->fd, listening);
    if (r)
        return r;
    kept->fd = -1;
    r = acceptor_attach(socket->acceptor, socket->room->loop, socket_on_acceptable, socket);
    if (r)
        return r;
    socket_set_state(socket, SOCKET_BOUND);
    if (listening)
        socket_set_state(socket, SOCKET_LISTENING);
    return 0;
}

static int return_lost(struct socket *socket, const struct kept_socket *kept)
{
    socket->own_error = calloc(1, sizeof(*socket->own_error));
    if (!socket->own_error)
        return -ENOMEM;
    *socket->own_error = (struct net_error){
        .stage = NET_STAGE_IO, .cause = NET_SYSTEM, .sys_errno = kept->lost_errno};
    snprintf(socket->own_error->library, sizeof(socket->own_error->library), "%s", kept->why);
    socket_set_state(socket, SOCKET_OPEN);
    (void)socket_fail(socket, socket->own_error);
    return 0;
}

static int go_on(struct socket *socket, struct kept_socket *kept)
{
    switch (kept->kind) {
    case KEPT_OPEN:
        return return_open(socket, kept);
    case KEPT_BOUND:
    case KEPT_LISTENING:
        return return_serving(socket, kept);
    case KEPT_LOST:
        return return_lost(socket, kept);
    default:
        return 0;
    }
}

static void give_back(struct socket *socket, struct kept_socket *kept)
{
    socket->family = kept->family;
    socket->non_blocking = kept->non_blocking;
    socket->bytes_in = kept->bytes_in;
    socket->bytes_out = kept->bytes_out;
    socket->born_us = kept->born_us;
    if (kept->n_ahead > 0) {
        socket->buffer = kept->ahead;
        socket->end = socket->capacity = kept->n_ahead;
        kept->ahead = NULL;
        kept->n_ahead = 0;
    }
}

int socket_return(struct session *session, struct kept_socket **moved)
{
    struct kept_socket *kept = *moved;
    bool serves = kept->kind <= KEPT_LISTENING;
    struct table *table = session->room->table;
    struct socket *socket;

    ASSERT_OWNER(session->room->loop);
    int r = table_reserve_number(table, kept->number, session->id);
    if (r)
        return r;
    r = socket_new(&socket, session, kept->number, serves ? SOCKET_UNBOUND : SOCKET_CONNECTING,
                   &kept->owner, kept->hostname);
    if (r) {
        table_release(table, kept->number);
        return r;
    }
    r = map_put(&session->sockets, kept->number, socket);
    socket->keep = kept->item;
    kept->item = NULL;
    if (r == 0)
        r = go_on(socket, kept);
    if (r) {
        kept->item = socket->keep;
        socket->keep = NULL;
        socket->live = NULL;
        (void)map_remove(&session->sockets, kept->number);
        table_release(table, kept->number);
        socket_free(socket, false);
        return r;
    }
    give_back(socket, kept);
    /* it is there, also when the limits were lowered meanwhile: then it is not counted */
    if (session->share && account_charge(session->share->account, ACCOUNT_SOCKETS,
                                         session->room->limits, &socket->charge))
        log_debug("socket %u returns above limits.sockets_per_user", socket->number);
    stats_count(sockets);
    socket_update_interest(socket);
    socket_keep(socket);
    *moved = kept_socket_free(kept);
    return 0;
}
