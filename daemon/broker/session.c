#include "broker/session.h"

#include <errno.h>
#include <stdlib.h>

#include "broker/stats.h"

int session_new(struct session **ret_session, uint64_t id, struct socket_room *room)
{
    ASSERT(id != 0);
    ASSERT_OWNER(room->loop);
    struct session *session = calloc(1, sizeof(*session));
    if (!session)
        return -ENOMEM;
    session->id = id;
    session->room = room;
    session->sockets = MAP_INIT;
    *ret_session = session;
    return 0;
}

struct session *session_end(struct session *session)
{
    if (!session)
        return NULL;
    ASSERT_OWNER(session->room->loop);
    for (;;) {
        size_t position = 0;
        struct socket *socket = map_next(&session->sockets, &position, NULL);
        if (!socket)
            break;
        session_socket_free(session, socket, false);
    }
    map_deinit(&session->sockets);
    ASSERT(session->n_held == 0);
    free(session);
    return NULL;
}

int session_socket_new(struct session *session, const struct label *owner, const char *hostname,
                       struct socket **ret_socket)
{
    uint32_t number;
    struct socket *socket;

    ASSERT_OWNER(session->room->loop);
    if (session->sockets.n_used >= session->max_sockets)
        return SESSION_E_FULL;
    int r = table_reserve(session->room->table, session->id, &number);
    if (r)
        return r == TABLE_E_FULL ? SESSION_E_ALL_FULL : r;
    r = socket_new(&socket, session, session->room, number, owner, hostname);
    if (r) {
        table_release(session->room->table, number);
        return r;
    }
    r = map_put(&session->sockets, number, socket);
    if (r) {
        table_release(session->room->table, number);
        socket_free(socket, false);
        return r;
    }
    stats_count(sockets);
    stats_count(sockets_total);
    *ret_socket = socket;
    return 0;
}

void session_socket_free(struct session *session, struct socket *socket, bool tell)
{
    ASSERT_OWNER(session->room->loop);
    uint32_t number = socket->number;
    void *removed = map_remove(&session->sockets, number);
    ASSERT(removed == socket);
    socket_free(socket, tell);
    table_release(session->room->table, number);
    (void)stats_sub(sockets, 1);
}

int session_socket(struct session *session, uint32_t number, const struct label *thread,
                   struct socket **ret_socket)
{
    uint64_t owner;

    ASSERT_OWNER(session->room->loop);
    struct socket *socket = map_get(&session->sockets, number);
    if (socket) {
        *ret_socket = socket;
        return label_equal(&socket->owner, thread) ? 0 : SESSION_E_NOT_OWNER;
    }
    return table_session(session->room->table, number, &owner) ? SESSION_E_NONE : SESSION_E_FOREIGN;
}

int session_hold(struct session *session, size_t n)
{
    if (n > session->max_held - session->n_held)
        return SESSION_E_HELD;
    session->n_held += n;
    return 0;
}

void session_unhold(struct session *session, size_t n)
{
    ASSERT(n <= session->n_held);
    session->n_held -= n;
}

void session_pause(struct session *session, bool paused)
{
    ASSERT_OWNER(session->room->loop);
    if (session->paused == paused)
        return;
    session->paused = paused;
    if (paused)
        return;
    /* serving a receive may close nothing and free nothing here: on_done only writes answers */
    struct socket *socket;
    size_t position = 0;
    while ((socket = map_next(&session->sockets, &position, NULL)))
        socket_poke(socket);
}
