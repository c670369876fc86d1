#include "broker/socket_listen.h"

#include <errno.h>

#include "broker/session.h"
#include "broker/socket_internal.h"
#include "broker/socket_keep.h"
#include "broker/stats.h"
#include "net/acceptor.h"
#include "util/log.h"

void socket_hold(struct socket *socket, struct socket_hold *hold)
{
    ASSERT_OWNER(socket->room->loop);
    ASSERT(socket->state == SOCKET_UNBOUND && !socket->hold);
    socket->hold = hold;
}

void socket_unhold(struct socket *socket, struct socket_hold *hold)
{
    ASSERT_OWNER(socket->room->loop);
    ASSERT(socket->hold == hold);
    socket->hold = NULL;
}

int socket_bind(struct socket *socket, const struct address *address, uint16_t port)
{
    ASSERT_OWNER(socket->room->loop);
    if (socket->state != SOCKET_UNBOUND)
        return SOCKET_E_STATE;
    if (socket->hold)
        return SOCKET_E_BUSY;
    struct address local;
    int r = acceptor_new(&socket->acceptor, socket->family, address, port, &local);
    if (r)
        return r;
    r = acceptor_attach(socket->acceptor, socket->room->loop, socket_on_acceptable, socket);
    if (r) {
        socket->acceptor = acceptor_free(socket->acceptor);
        return r;
    }
    socket_set_state(socket, SOCKET_BOUND);
    socket_keep(socket);
    return 0;
}

int socket_listen(struct socket *socket, int backlog)
{
    char address[ADDRESS_TEXT_MAX];

    ASSERT_OWNER(socket->room->loop);
    if (socket->state != SOCKET_BOUND && socket->state != SOCKET_LISTENING)
        return SOCKET_E_STATE;
    int r = acceptor_listen(socket->acceptor, backlog);
    if (r || socket->state == SOCKET_LISTENING)
        return r;
    socket_set_state(socket, SOCKET_LISTENING);
    const struct address *local = acceptor_local(socket->acceptor);
    record_listen(socket);
    log_info("socket %u serves: session %llu uid %u pid %d address %s port %u", socket->number,
             (unsigned long long)socket->session->id, (unsigned)socket->session->uid,
             (int)socket->session->pid, address_text(local, address, sizeof(address)),
             (unsigned)address_port(local));
    return 0;
}

/* Take the connection that waits longest. The number comes first: a connection for which there is
 * none stays where it is. */
static int take(struct socket *listening, struct socket_accept *accept)
{
    struct session *session = listening->session;
    struct connection *connection = NULL;
    struct socket *socket;

    int r = session_socket_new(session, SOCKET_CONNECTING, &accept->owner, NULL, &socket);
    if (r == SESSION_E_FULL || r == SESSION_E_USER_FULL || r == SESSION_E_ALL_FULL) {
        accept->limit = r;
        return SOCKET_E_LIMIT;
    }
    if (r)
        return r;
    r = acceptor_accept(listening->acceptor, listening->room->tcp, &connection);
    if (r == 0)
        r = socket_connect(socket, &connection);
    if (r) {
        connection_free(connection);
        session_socket_free(session, socket, false);
        (void)stats_sub(sockets_total, 1); /* there never was one */
        return r == ACCEPTOR_E_AGAIN ? SOCKET_E_AGAIN : r;
    }
    socket->non_blocking = listening->non_blocking;
    socket_keep(socket);
    accept->accepted = socket;
    stats_count(accepts);
    return 0;
}

void socket_end_accept(struct socket *socket, int r)
{
    struct socket_accept *accept = socket->accept;

    if (!accept)
        return;
    socket->accept = NULL;
    acceptor_interest(socket->acceptor, false);
    accept->on_done(accept, r);
}

void socket_on_acceptable(void *context)
{
    struct socket *socket = context;
    int r = take(socket, socket->accept);

    if (r != SOCKET_E_AGAIN)
        socket_end_accept(socket, r);
}

int socket_accept(struct socket *socket, struct socket_accept *accept)
{
    ASSERT_OWNER(socket->room->loop);
    if (socket->state != SOCKET_LISTENING)
        return SOCKET_E_STATE;
    if (socket->accept)
        return SOCKET_E_BUSY;
    /* asked first, so that who only looks uses up no numbers */
    int r = acceptor_has_waiting(socket->acceptor) ? take(socket, accept) : SOCKET_E_AGAIN;
    if (r != SOCKET_E_AGAIN || socket->non_blocking)
        return r;
    socket_accept_later(socket, accept);
    return SOCKET_E_PARKED;
}

void socket_accept_later(struct socket *socket, struct socket_accept *accept)
{
    ASSERT_OWNER(socket->room->loop);
    ASSERT(socket->state == SOCKET_LISTENING && !socket->accept);
    socket->accept = accept;
    acceptor_interest(socket->acceptor, true);
}

void socket_withdraw_accept(struct socket *socket, struct socket_accept *accept)
{
    ASSERT_OWNER(socket->room->loop);
    ASSERT(socket->accept == accept);
    socket->accept = NULL;
    acceptor_interest(socket->acceptor, false);
}
