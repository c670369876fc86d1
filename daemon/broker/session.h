#pragma once
/*
 * session: whose sockets these are. One client connection has one session; it lives on one io
 * thread.
 *
 * Threads:   its io thread only (asserted).
 * Ownership: the session owns its sockets. session_end() closes them all.
 * Errors:    SESSION_E_*, -ENOMEM.
 * Limits:    max_sockets; held bytes are counted here (session_hold()).
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "broker/socket.h"
#include "util/map.h"

enum {
    SESSION_E_NONE = 1,  /* no such socket */
    SESSION_E_NOT_OWNER, /* this session's, but another thread's: *ret_socket is set */
    SESSION_E_FOREIGN,   /* another session's */
    SESSION_E_FULL,      /* the session's limit of sockets */
    SESSION_E_ALL_FULL,  /* the daemon's limit of sockets */
    SESSION_E_HELD,      /* the session's limit of held bytes */
};

struct session {
    uint64_t id; /* from 1, never used again */
    uid_t uid;
    gid_t gid;
    pid_t pid;
    struct socket_room *room;
    uint32_t max_sockets;
    size_t max_held;
    size_t n_held;      /* bytes of running requests */
    struct map sockets; /* number -> struct socket */
    bool paused;        /* the client does not read its answers: receives wait */
};

NODISCARD int session_new(struct session **ret_session, uint64_t id, struct socket_room *room);
/* Close all sockets (parked operations are dropped silently: the caller has withdrawn or forgotten
 * them) and free. */
struct session *session_end(struct session *session);

NODISCARD int session_socket_new(struct session *session, const struct label *owner,
                                 const char *hostname, struct socket **ret_socket);
/* The number is gone after this. tell: parked operations end with SOCKET_E_CLOSING. */
void session_socket_free(struct session *session, struct socket *socket, bool tell);
/* By number, for a thread of this session. */
NODISCARD int session_socket(struct session *session, uint32_t number, const struct label *thread,
                             struct socket **ret_socket);

/* Account n bytes of a running request. Returns 0 or SESSION_E_HELD. */
NODISCARD int session_hold(struct session *session, size_t n);
void session_unhold(struct session *session, size_t n);
void session_pause(struct session *session, bool paused);
