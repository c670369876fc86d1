#include "broker/socket_move.h"

#include <errno.h>
#include <stdlib.h>

#include "broker/session.h"
#include "broker/socket_internal.h"
#include "broker/socket_keep.h"
#include "net/acceptor.h"

enum socket_outcome socket_idle(const struct socket *socket)
{
    bool idle = list_empty(&socket->sends) && !socket->receive && !socket->accept &&
                !socket->close && !socket->secure && !socket->hold &&
                socket->state != SOCKET_SECURING;
    return idle ? SOCKET_OK : SOCKET_E_BUSY;
}

enum socket_outcome socket_export(struct socket *socket)
{
    ASSERT_OWNER(socket->room->loop);
    if (socket_is_attached(socket))
        return SOCKET_E_ATTACHED;
    switch (socket->state) {
    case SOCKET_CONNECTING:
        return SOCKET_E_NOT_CONNECTED;
    case SOCKET_CLOSING: /* a TCPClose runs */
        return SOCKET_E_BUSY;
    case SOCKET_FAILED:
        return SOCKET_E_FAILED;
    default:
        break;
    }
    if (socket_idle(socket) != SOCKET_OK || socket->carry)
        return SOCKET_E_BUSY;
    socket_unkeep(socket, UNKEEP_LEAVES);
    if (socket->stream) {
        int r = stream_export(&socket->stream, &socket->connection);
        ASSERT(r == 0);
    }
    if (socket->acceptor)
        acceptor_detach(socket->acceptor);
    socket->room = NULL;
    socket->session = NULL;
    return SOCKET_OK;
}

int socket_import(struct socket *socket, struct session *session)
{
    struct socket_room *room = session->room;
    int r = 0;

    ASSERT(!socket->room && !socket->session);
    ASSERT_OWNER(room->loop);
    if (socket->connection)
        r = stream_import(&socket->stream, &socket->connection, room->loop, socket_on_ready,
                          socket);
    else if (socket->acceptor)
        r = acceptor_attach(socket->acceptor, room->loop, socket_on_acceptable, socket);
    if (r)
        return r;
    socket->session = session;
    socket->room = room;
    socket_update_interest(socket);
    return 0;
}

struct socket *socket_discard(struct socket *socket)
{
    if (!socket)
        return NULL;
    ASSERT(!socket->room);
    return socket_free(socket, false);
}

/* ---- starting TLS
 * ---------------------------------------------------------------------------------------------
 */

/* RFC 8446 section 5.1: a handshake begins with a record of this type. */
enum { TLS_HANDSHAKE_RECORD = 22 };

/* Has the peer said something that is not for TLS and that nobody has read? */
static enum socket_outcome peek(const struct socket *socket, enum socket_secure_role role)
{
    bool server = role == SOCKET_SECURE_SERVER;

    if (socket->end > socket->start &&
        !(server && socket->buffer[socket->start] == TLS_HANDSHAKE_RECORD))
        return SOCKET_E_UNREAD;
    if (socket->receiving == RECEIVING_ENDED)
        return SOCKET_E_PEER_ENDED;
    switch (stream_peek(socket->stream)) {
    case 0:
        return server ? SOCKET_OK : SOCKET_E_UNREAD;
    case STREAM_E_END:
        return SOCKET_E_PEER_ENDED;
    default:
        return SOCKET_OK; /* an error of the connection shows in the handshake, with its errno */
    }
}

/* What was read ahead is the handshake's, not the user's. */
static void hand_over_ahead(struct socket *socket, struct connection *connection)
{
    size_t n = socket->end - socket->start;

    if (n == 0)
        return;
    memmove(socket->buffer, socket->buffer + socket->start, n);
    connection->ahead = socket->buffer;
    connection->n_ahead = n;
    socket->bytes_in -= n;
    socket->buffer = NULL;
    socket->start = socket->end = socket->capacity = 0;
}

enum socket_outcome socket_secure(struct socket *socket, enum socket_secure_role role,
                                  struct socket_secure *secure, struct connection **ret_connection)
{
    ASSERT_OWNER(socket->room->loop);
    if (socket_is_attached(socket))
        return SOCKET_E_ATTACHED;
    switch (socket->state) {
    case SOCKET_FAILED:
        return SOCKET_E_FAILED;
    case SOCKET_CLOSING:
    case SOCKET_SECURING:
        return SOCKET_E_BUSY;
    case SOCKET_OPEN:
        break;
    default:
        return SOCKET_E_NOT_CONNECTED;
    }
    if (stream_tls(socket->stream))
        return SOCKET_E_SECURE;
    if (socket_idle(socket) != SOCKET_OK)
        return SOCKET_E_BUSY;
    if (socket->sending != SENDING_OPEN)
        return SOCKET_E_SHUT_DOWN;
    secure->local = *stream_local(socket->stream);
    secure->remote = *stream_remote(socket->stream);
    enum socket_outcome outcome = peek(socket, role);
    if (outcome != SOCKET_OK)
        return outcome;
    socket_unkeep(socket, UNKEEP_LEAVES);
    int r = stream_export(&socket->stream, ret_connection);
    ASSERT(r == 0);
    hand_over_ahead(socket, *ret_connection);
    socket->secure = secure;
    socket_set_state(socket, SOCKET_SECURING);
    return SOCKET_OK;
}

int socket_secured(struct socket *socket, struct connection **connection)
{
    ASSERT_OWNER(socket->room->loop);
    ASSERT(socket->state == SOCKET_SECURING && socket->secure);
    int r = stream_import(&socket->stream, connection, socket->room->loop, socket_on_ready, socket);
    if (r)
        return r;
    socket->secure = NULL;
    socket_set_state(socket, SOCKET_OPEN);
    socket_update_interest(socket);
    socket_keep(socket);
    return 0;
}

void socket_secure_failed(struct socket *socket, const struct net_error *error)
{
    static const struct net_error no_memory = {
        .stage = NET_STAGE_TLS, .cause = NET_SYSTEM, .sys_errno = ENOMEM};

    ASSERT_OWNER(socket->room->loop);
    ASSERT(socket->state == SOCKET_SECURING);
    socket->secure = NULL;
    socket->own_error = malloc(sizeof(*socket->own_error));
    if (socket->own_error)
        *socket->own_error = *error;
    (void)socket_fail(socket, socket->own_error ? socket->own_error : &no_memory);
}
