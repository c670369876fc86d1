#include "broker/session.h"

#include <errno.h>
#include <stdlib.h>

#include "broker/socket_keep.h"
#include "broker/socket_move.h"
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
    session->slot = LEDGER_NONE;
    session->deadlines = SESSION_DEADLINES_NONE;
    list_init(&session->members);
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
    timers_stop(&session->room->loop->timers, &session->lease);
    account_discharge(&session->token_charge);
    account_discharge(&session->passage_charge);
    ASSERT(session->n_held == 0 && list_empty(&session->members) && session->n_guests == 0);
    free(session);
    return NULL;
}

/* n: how many of its places are there already for what shall come. */
static bool is_full(const struct session *session, size_t n)
{
    return session->sockets.n_used + session->n_offered - n >= session->max_sockets;
}

int session_socket_new(struct session *session, enum socket_state state, const struct label *owner,
                       const char *hostname, struct socket **ret_socket)
{
    struct account_charge charge = {0};
    uint32_t number;
    struct socket *socket;

    ASSERT_OWNER(session->room->loop);
    if (is_full(session, 0))
        return SESSION_E_FULL;
    if (session->share &&
        account_charge(session->share->account, ACCOUNT_SOCKETS, session->room->limits, &charge))
        return SESSION_E_USER_FULL;
    int r = table_reserve(session->room->table, session->id, &number);
    if (r) {
        account_discharge(&charge);
        return r == TABLE_E_FULL ? SESSION_E_ALL_FULL : r;
    }
    r = socket_new(&socket, session, number, state, owner, hostname);
    if (r) {
        table_release(session->room->table, number);
        account_discharge(&charge);
        return r;
    }
    account_charge_move(&socket->charge, &charge);
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

enum socket_outcome session_yield(struct session *session, struct socket **moved)
{
    struct socket *socket = *moved;

    ASSERT_OWNER(session->room->loop);
    enum socket_outcome outcome = socket_export(socket);
    if (outcome != SOCKET_OK)
        return outcome;
    void *removed = map_remove(&session->sockets, socket->number);
    ASSERT(removed == socket);
    table_move(session->room->table, socket->number, TABLE_NOBODY);
    session->n_offered++;
    socket->offered_by = session->id;
    socket->notes.offered_uid = session->uid;
    socket->notes.offered_pid = session->pid;
    return SOCKET_OK;
}

void session_offer_ended(struct session *session)
{
    ASSERT_OWNER(session->room->loop);
    ASSERT(session->n_offered > 0);
    session->n_offered--;
}

int session_adopt(struct session *session, struct socket **moved, const struct label *owner)
{
    struct socket *socket = *moved;

    ASSERT_OWNER(session->room->loop);
    /* its own offer has its place until session_offer_ended() */
    if (is_full(session, socket->offered_by == session->id))
        return SESSION_E_FULL;
    int r = map_put(&session->sockets, socket->number, socket);
    if (r)
        return r;
    r = socket_import(socket, session);
    if (r) {
        (void)map_remove(&session->sockets, socket->number);
        return r;
    }
    table_move(session->room->table, socket->number, session->id);
    socket->owner = *owner;
    socket_keep(socket);
    *moved = NULL;
    return 0;
}

/* The user's part of it. */
static int share_hold(struct session *session, int64_t n, bool may_wait)
{
    struct account_share *share = session->share;
    const struct account_limits *limits = session->room->limits;

    if (!share)
        return 0;
    if (!may_wait && n <= SESSION_HOLD_FREE)
        account_share_force(share, ACCOUNT_BYTES, n);
    else if (account_share_take(share, ACCOUNT_BYTES, n, limits))
        return SESSION_E_USER_HELD;
    if (!may_wait) {
        account_share_force(share, ACCOUNT_REQUESTS, 1);
    } else if (account_share_take(share, ACCOUNT_REQUESTS, 1, limits)) {
        account_share_give(share, ACCOUNT_BYTES, n);
        return SESSION_E_USER_BUSY;
    }
    return 0;
}

int session_hold(struct session *session, size_t n, bool may_wait)
{
    ASSERT(n > 0);
    bool is_free = !may_wait && n <= SESSION_HOLD_FREE;
    /* a reload may have lowered the limit below what is held */
    if (!is_free &&
        (session->n_held > session->max_held || n > session->max_held - session->n_held))
        return SESSION_E_HELD;
    int r = share_hold(session, (int64_t)n, may_wait);
    if (r == 0)
        session->n_held += n;
    return r;
}

void session_unhold(struct session *session, size_t n)
{
    ASSERT(n <= session->n_held);
    if (n == 0) /* it has been done already */
        return;
    session->n_held -= n;
    if (!session->share)
        return;
    account_share_give(session->share, ACCOUNT_BYTES, (int64_t)n);
    account_share_give(session->share, ACCOUNT_REQUESTS, 1);
}
