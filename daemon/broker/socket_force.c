#include "broker/socket_force.h"

#include <stdlib.h>
#include <sys/socket.h>

#include "broker/record.h"
#include "broker/socket_attach.h"
#include "broker/socket_internal.h"
#include "broker/socket_move.h"

/* What a socket has beside while it closes for nobody. */
struct forced {
    struct socket *socket;
    struct socket_close close;
};

void socket_unforce(struct socket *socket)
{
    free(socket->forced);
    socket->forced = NULL;
}

static void on_closed(struct socket_close *close, enum socket_outcome outcome)
{
    struct socket *socket = container_of(close, struct forced, close)->socket;

    if (outcome == SOCKET_OK) /* else an abort has overtaken it, and sees to the rest */
        session_socket_forget(socket);
}

static enum socket_outcome abort_now(struct socket *socket)
{
    struct socket_close close = {.option = SOCKET_CLOSE_ABORT};
    enum socket_outcome outcome = socket_close(socket, &close);

    if (outcome == SOCKET_OK)
        session_socket_forget(socket);
    return outcome;
}

static enum socket_outcome complete(struct socket *socket)
{
    if (socket->forced) /* once more */
        return SOCKET_E_PARKED;
    socket->forced = calloc(1, sizeof(*socket->forced));
    if (!socket->forced)
        return abort_now(socket);
    socket->forced->socket = socket;
    socket->forced->close =
        (struct socket_close){.option = SOCKET_CLOSE_COMPLETE, .on_done = on_closed};
    enum socket_outcome outcome = socket_close(socket, &socket->forced->close);
    if (outcome == SOCKET_OK)
        session_socket_forget(socket);
    else if (outcome != SOCKET_E_PARKED)
        socket_unforce(socket);
    return outcome;
}

enum socket_outcome session_socket_force(struct session *session, struct socket *socket,
                                         enum socket_close_option option)
{
    ASSERT_OWNER(session->room->loop);
    ASSERT(socket->session == session && option != SOCKET_CLOSE_PARTIAL);
    record_ends(socket, RECORD_END_ADMINISTRATOR);
    if (socket->attached)
        return socket_force_attached(socket, option);
    return option == SOCKET_CLOSE_ABORT ? abort_now(socket) : complete(socket);
}

struct socket *socket_force_resting(struct socket *socket, enum socket_close_option option)
{
    static const struct linger at_once = {.l_onoff = 1, .l_linger = 0};

    if (option == SOCKET_CLOSE_ABORT && socket->connection)
        (void)setsockopt(socket->connection->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    return socket_discard(socket);
}
