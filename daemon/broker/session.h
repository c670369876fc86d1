#pragma once
/*
 * session: whose sockets these are. It lives on one io thread, and so do the connections that
 * belong to it (rpc/sessions.h keeps them, and what makes a session outlive them).
 *
 * Threads:   its io thread only (asserted).
 * Ownership: the session owns its sockets. session_end() closes them all.
 * Errors:    SESSION_E_*, -ENOMEM.
 * Limits:    max_sockets, those on offer included; held bytes are counted here (session_hold()).
 * And those of its user (account.h).
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "broker/account_share.h"
#include "broker/socket.h"
#include "broker/token.h"
#include "util/map.h"

enum {
    SESSION_E_NONE = 1,  /* no such socket */
    SESSION_E_NOT_OWNER, /* this session's, but another thread's: *ret_socket is set */
    SESSION_E_FOREIGN,   /* another session's */
    SESSION_E_FULL,      /* the session's limit of sockets */
    SESSION_E_ALL_FULL,  /* the daemon's limit of sockets */
    SESSION_E_USER_FULL, /* the user's limit of sockets */
    SESSION_E_HELD,      /* the session's limit of held bytes */
    SESSION_E_USER_HELD, /* the user's */
    SESSION_E_USER_BUSY, /* the user's limit of running requests */
};

/* Deadlines of requests that name none, in milliseconds; -1: the configuration's, or none. */
struct session_deadlines {
    int64_t connect, lookup, send, receive, accept, close;
};
#define SESSION_DEADLINES_NONE ((struct session_deadlines){-1, -1, -1, -1, -1, -1})

struct route;

struct session {
    uint64_t id; /* from 1, never used again */
    uid_t uid;   /* these three: of the client that began it; the others have the same uid */
    gid_t gid;
    pid_t pid;
    struct socket_room *room;
    struct account_share *share; /* its user's; kept by the layer above. NULL: nobody counts */
    struct account_charge token_charge, passage_charge;
    uint32_t max_sockets;
    size_t max_held;
    size_t n_held;      /* bytes of running requests */
    struct map sockets; /* number -> struct socket */
    size_t n_offered;   /* sockets on offer */
    bool lingering;     /* it has ended, but for attached sockets (socket_attach.h) */
    struct session_deadlines deadlines;
    char client[RECORD_NAME_MAX + 1]; /* the name that its last Broker.Hello gave, cut; "": none */
    enum record_end ending;           /* why its sockets end with it; unknown: its client is gone */
    /* kept by the layer above */
    struct list members; /* its connections */
    size_t n_guests;     /* connections on their way here */
    bool durable;        /* it outlives its connections, by lease_ms */
    int64_t lease_ms;
    struct timer lease;  /* runs while it is durable, so that starting it anew cannot fail */
    size_t slot;         /* durable: in the ledger (broker/keep.h) */
    struct token token;  /* durable: who has it may join */
    const char *door;    /* of a passage: by which it came in; NULL: it is a client's */
    struct route *route; /* the door's, from when the passage is over */
};

NODISCARD int session_new(struct session **ret_session, uint64_t id, struct socket_room *room);
/* Close all sockets (parked operations are dropped silently: the caller has withdrawn or forgotten
 * them) and free. */
struct session *session_end(struct session *session);

/* state: UNBOUND or CONNECTING; hostname: NULL is fine. Returns 0, SESSION_E_FULL, _USER_FULL
 * or _ALL_FULL, -ENOMEM. */
NODISCARD int session_socket_new(struct session *session, enum socket_state state,
                                 const struct label *owner, const char *hostname,
                                 struct socket **ret_socket);
/* The number is gone after this. tell: parked operations end with SOCKET_E_CLOSING. */
void session_socket_free(struct session *session, struct socket *socket, bool tell);
/* By number, for a thread of this session. */
NODISCARD int session_socket(struct session *session, uint32_t number, const struct label *thread,
                             struct socket **ret_socket);

/* Give a socket away: at rest it is the caller's, and its number nobody's (TABLE_NOBODY). Its place
 * in the session's limit is kept until session_offer_ended(). SOCKET_OK, or as socket_export(). */
NODISCARD enum socket_outcome session_yield(struct session *session, struct socket **socket);
void session_offer_ended(struct session *session);
/* Take a socket at rest, for that thread. Returns 0, SESSION_E_FULL, or -errno; it is the caller's
 * still then. */
NODISCARD int session_adopt(struct session *session, struct socket **socket,
                            const struct label *owner);

/* A request of so many bytes that does not wait is admitted whatever is held: it may be what gives
 * something back. */
enum { SESSION_HOLD_FREE = 4096 };

/* Account a running request and its n bytes (> 0). may_wait: it counts for the user's limit of
 * those. Returns 0, SESSION_E_HELD, _USER_HELD or _USER_BUSY. */
NODISCARD int session_hold(struct session *session, size_t n, bool may_wait);
void session_unhold(struct session *session, size_t n);
