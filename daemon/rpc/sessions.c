#include "rpc/sessions.h"

#include "broker/socket_attach.h"
#include "broker/socket_keep.h"
#include "broker/stats.h"
#include "proto/text.h"
#include "rpc/route.h"
#include "rpc/shares.h"
#include "util/log.h"

/* While a durable session has connections its timer only keeps its place among the timers. */
enum { LEASE_PLACE_MS = 86400000 };

static struct io *io_of(const struct session *session)
{
    return container_of(session->room, struct io, room);
}

static void forget(struct session *session)
{
    struct io *io = io_of(session);
    void *removed = map_remove(&io->sessions, session->id);
    struct route *route = session->route;
    struct account_share *share = session->share;

    ASSERT(removed == session);
    session_end(session);
    shares_put(io, share);
    route_leave(route);
}

/* Attached sockets outlive it: who has their descriptors need not be the client. */
static void end(struct session *session)
{
    struct io *io = io_of(session);

    sessions_close(session);
    if (session->ending == RECORD_END_UNKNOWN && io->state != IO_RUNNING)
        session->ending = RECORD_END_STOPPED;
    if (io->state < IO_CLOSING) {
        session_close_unattached(session);
        if (session->sockets.n_used > 0) {
            session->lingering = true;
            io->n_lingering++;
            return;
        }
    }
    forget(session);
}

void sessions_linger(struct session *session, struct route **route)
{
    struct io *io = io_of(session);

    ASSERT_OWNER(io->loop);
    ASSERT(session->sockets.n_used > 0 && list_empty(&session->members));
    session->route = *route;
    *route = NULL;
    session->lingering = true;
    io->n_lingering++;
}

void sessions_lingered(struct session *session)
{
    struct io *io = io_of(session);

    ASSERT_OWNER(io->loop);
    if (session->durable) /* it outlives the process, and was only waited for */
        session->lingering = false;
    else
        forget(session);
    io->n_lingering--;
    io_check_drained(io);
}

void sessions_follow(struct session *session)
{
    const struct rpc_settings *settings = &io_of(session)->snapshot->settings;

    session->max_sockets = settings->sockets_per_session;
    session->max_held = settings->held_bytes;
}

int sessions_begin(struct io *io, uid_t uid, gid_t gid, pid_t pid, struct session **ret_session)
{
    struct session *session;

    ASSERT_OWNER(io->loop);
    int r = session_new(&session, atomic_fetch_add(&io->shared->next_session, 1), &io->room);
    if (r)
        return r;
    r = shares_get(io, uid, &session->share);
    if (r == 0)
        r = map_put(&io->sessions, session->id, session);
    if (r) {
        struct account_share *share = session->share;
        session_end(session);
        shares_put(io, share);
        return r;
    }
    session->uid = uid;
    session->gid = gid;
    session->pid = pid;
    sessions_follow(session);
    *ret_session = session;
    return 0;
}

void sessions_enter(struct session *session, struct client *client)
{
    ASSERT_OWNER(session->room->loop);
    ASSERT(!client->session);
    client->session = session;
    if (client->name[0])
        text_cut(session->client, sizeof(session->client), client->name);
    list_append(&session->members, &client->member);
}

void sessions_leave(struct client *client)
{
    struct session *session = client->session;

    ASSERT_OWNER(session->room->loop);
    account_share_give(session->share, ACCOUNT_BYTES, (int64_t)client->n_counted);
    client->n_counted = 0;
    client->session = NULL;
    list_remove(&client->member);
    sessions_release(session);
}

static void on_lease(struct timer *timer)
{
    struct session *session = container_of(timer, struct session, lease);

    if (!list_empty(&session->members) || session->n_guests > 0 ||
        io_of(session)->state != IO_RUNNING) {
        int r = timers_start(&session->room->loop->timers, timer, LEASE_PLACE_MS, on_lease);
        ASSERT(r == 0); /* it has just left its place */
        return;
    }
    log_info("session %llu: nobody came back within %lld ms; %zu sockets are closed",
             (unsigned long long)session->id, (long long)session->lease_ms,
             session->sockets.n_used);
    stats_count(leases_expired);
    session->ending = RECORD_END_LEASE_EXPIRED;
    end(session);
}

void sessions_release(struct session *session)
{
    ASSERT_OWNER(session->room->loop);
    if (!list_empty(&session->members) || session->n_guests > 0)
        return;
    if (!session->durable || (io_of(session)->state != IO_RUNNING && !session->room->keep)) {
        end(session);
        return;
    }
    if (io_of(session)->state != IO_RUNNING)
        return; /* rpc/keeping.h */
    log_info("session %llu: its last connection has ended, it is kept for %lld ms",
             (unsigned long long)session->id, (long long)session->lease_ms);
    int r = timers_start(&session->room->loop->timers, &session->lease, (uint64_t)session->lease_ms,
                         on_lease);
    ASSERT(r == 0); /* it runs, so it has a place */
}

int sessions_open(struct session *session, int64_t lease_ms)
{
    struct io *io = io_of(session);
    bool is_new = !session->durable || session->lease_ms != lease_ms;

    ASSERT_OWNER(io->loop);
    if (!session->durable) {
        if (account_charge(session->share->account, ACCOUNT_TOKENS, io->room.limits,
                           &session->token_charge))
            return SESSIONS_E_USER_FULL;
        if (stats_add(sessions_durable, 1) >= io->snapshot->settings.durable_sessions) {
            (void)stats_sub(sessions_durable, 1);
            account_discharge(&session->token_charge);
            return SESSIONS_E_FULL;
        }
        int r = token_new(&session->token, TOKEN_SESSION, io->index, session->id);
        if (r == 0)
            r = timers_start(&io->loop->timers, &session->lease, LEASE_PLACE_MS, on_lease);
        if (r) {
            (void)stats_sub(sessions_durable, 1);
            account_discharge(&session->token_charge);
            return r;
        }
        session->durable = true;
    }
    session->lease_ms = lease_ms;
    session_keep(session);
    if (is_new) /* who asks again and again has it in the log once */
        log_info("session %llu is durable: it outlives its connections by %lld ms",
                 (unsigned long long)session->id, (long long)lease_ms);
    return 0;
}

int sessions_return(struct io *io, const struct kept_session *kept, struct session **ret_session)
{
    struct session *session;

    ASSERT_OWNER(io->loop);
    int r = session_new(&session, kept->id, &io->room);
    if (r)
        return r;
    r = shares_get(io, kept->uid, &session->share);
    if (r == 0)
        r = map_put(&io->sessions, session->id, session);
    if (r == 0) {
        r = timers_start(&io->loop->timers, &session->lease, (uint64_t)kept->lease_ms, on_lease);
        if (r)
            (void)map_remove(&io->sessions, session->id);
    }
    if (r) {
        struct account_share *share = session->share;
        session_end(session);
        shares_put(io, share);
        return r;
    }
    /* it is there, also when the limits were lowered meanwhile: then it is not counted */
    if (account_charge(session->share->account, ACCOUNT_TOKENS, io->room.limits,
                       &session->token_charge))
        log_debug("session %llu returns above limits.tokens_per_user",
                  (unsigned long long)session->id);
    session->uid = kept->uid;
    session->gid = kept->gid;
    session->pid = kept->pid;
    session->lease_ms = kept->lease_ms;
    session->deadlines = kept->deadlines;
    session->token = kept->token;
    session->durable = true;
    stats_count(sessions_durable);
    sessions_follow(session);
    session_keep(session);
    *ret_session = session;
    return 0;
}

void sessions_left(struct session *session)
{
    ASSERT_OWNER(session->room->loop);
    ASSERT(session->sockets.n_used == 0 && list_empty(&session->members));
    (void)stats_sub(sessions_durable, 1);
    forget(session);
}

void sessions_close(struct session *session)
{
    if (!session->durable)
        return;
    session_unkeep(session);
    timers_stop(&session->room->loop->timers, &session->lease);
    session->durable = false;
    account_discharge(&session->token_charge);
    session->token = (struct token){0};
    (void)stats_sub(sessions_durable, 1);
}

struct session *sessions_find(const struct io *io, const struct token *token, uid_t uid)
{
    ASSERT_OWNER(io->loop);
    struct session *session = token->id ? map_get(&io->sessions, token->id) : NULL;
    if (!session || !session->durable || session->uid != uid ||
        !token_equal(&session->token, token))
        return NULL;
    return session;
}

/* Those that outlive the process wait for their attached sockets, which do not. */
static void wait_for_attached(struct io *io)
{
    struct session *session;

    for (size_t i = 0; (session = map_next(&io->sessions, &i, NULL));)
        if (session->durable && session_has_attached(session)) {
            session->lingering = true;
            io->n_lingering++;
        }
}

void sessions_drain(struct io *io)
{
    ASSERT_OWNER(io->loop);
    if (io->room.keep)
        wait_for_attached(io);
    for (;;) {
        struct session *session, *idle = NULL;
        for (size_t i = 0; !idle && (session = map_next(&io->sessions, &i, NULL));)
            if (list_empty(&session->members) && session->n_guests == 0 && !session->lingering &&
                !(session->durable && io->room.keep))
                idle = session;
        if (!idle)
            return;
        end(idle);
    }
}

void sessions_cut(struct io *io)
{
    ASSERT_OWNER(io->loop);
    while (io->n_lingering > 0) {
        struct session *session, *lingering = NULL;
        for (size_t i = 0; !lingering && (session = map_next(&io->sessions, &i, NULL));)
            if (session->lingering)
                lingering = session;
        ASSERT(lingering);
        if (lingering->durable) {
            lingering->lingering = false; /* its sockets are kept */
        } else {
            lingering->ending = RECORD_END_STOPPED;
            forget(lingering);
        }
        io->n_lingering--;
    }
}
