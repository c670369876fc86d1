#pragma once
/*
 * sessions: the sessions of one io thread: which connections belong to each, and what makes one
 * outlive them: a durable session lives on by its lease after its last connection has ended.
 *
 * Threads:   the io thread only (asserted).
 * Ownership: the io thread owns its sessions; one ends when nobody belongs to it and it is not
 * durable, when its lease runs out, or when the broker stops.
 * Errors:    SESSIONS_E_FULL, SESSIONS_E_USER_FULL; -errno.
 * Limits:    limits.durable_sessions, over all io threads; tokens of its user.
 */
#include "broker/kept.h"
#include "rpc/client.h"

enum { SESSIONS_E_FULL = 1, SESSIONS_E_USER_FULL };

/* A session that nobody belongs to yet: sessions_enter(), or sessions_release(). Returns 0,
 * ACCOUNT_E_FULL or -ENOMEM. */
NODISCARD int sessions_begin(struct io *io, uid_t uid, gid_t gid, pid_t pid,
                             struct session **ret_session);
void sessions_enter(struct session *session, struct client *client);
/* The client has no session after this. */
void sessions_leave(struct client *client);
/* Somebody has left, or will not come: is it over with the session? */
void sessions_release(struct session *session);

/* Make it durable, or give it another lease; session->token is set. Returns 0, SESSIONS_E_* or
 * -errno. */
NODISCARD int sessions_open(struct session *session, int64_t lease_ms);
/* Where the session with that token is: made by another process, there may be fewer io threads
 * now. */
static inline struct io *sessions_home(const struct rpc_shared *shared, const struct token *token)
{
    return shared->ios[token->home % shared->n_ios];
}
/* It was durable in the process before this one; its lease begins anew. */
NODISCARD int sessions_return(struct io *io, const struct kept_session *kept,
                              struct session **ret_session);
/* It goes on in the next process: forget it, now that it has no sockets any more. */
void sessions_left(struct session *session);
/* Not durable any more: its token is void. */
void sessions_close(struct session *session);
/* The durable session with that token, for that user; NULL: there is none. */
struct session *sessions_find(const struct io *io, const struct token *token, uid_t uid);

/* Take the limits of the io thread's snapshot. */
void sessions_follow(struct session *session);

/* A session without connections is there for its attached socket from now on; it takes what the
 * passage has of the route. */
void sessions_linger(struct session *session, struct route **route);
/* A lingering session has lost its last socket; see socket_attach.h. */
void sessions_lingered(struct session *session);
/* End the lingering ones now. */
void sessions_cut(struct io *io);

/* The broker stops: end those that nobody belongs to. */
void sessions_drain(struct io *io);
