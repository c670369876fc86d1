#pragma once
/*
 * socket_keep: sockets of durable sessions outlive the process: what is told to the store and the
 * ledger while the daemon runs (broker/keep.h), and what becomes of a socket at its end and at the
 * next start.
 *
 * Plain connections and listening sockets come back as they were. What cannot come back (TLS, whose
 * keys end with the process; bytes under way on a dial thread or in a relay) comes back LOST: a
 * failed socket that tells why.
 *
 * Threads:   the io thread of its session only (asserted).
 * Ownership: socket_leave() takes the socket, which is no session's any more; socket_return() takes
 * the kept one.
 * Errors:    -errno.
 */
#include "broker/keep.h"

/* Begin to keep it, or tell what has changed; nothing, when its session is not durable. */
void socket_keep(struct socket *socket);
/* It has changed; fine when it is not kept. */
void socket_keep_change(struct socket *socket);
/* The same for all of a session, and for itself. */
void session_keep(struct session *session);

enum unkeep {
    UNKEEP_LEAVES, /* its connection goes on elsewhere */
    UNKEEP_ENDS,   /* it is closed: its peer shall know before the store has let go of it */
    UNKEEP_RESET,  /* the same, by a reset */
};
/* Before its descriptor goes. Fine when it is not kept. */
void socket_unkeep(struct socket *socket, enum unkeep how);
/* The session is not durable any more. */
void session_unkeep(struct session *session);

/* A value that borrows the session's and socket's strings. */
void session_describe(const struct session *session, struct kept_session *ret_kept);
/* The process ends: of a socket on which nothing runs any more. NULL: it was attached, and is
 * closed. */
NODISCARD int socket_leave(struct session *session, struct socket *socket,
                           struct kept_socket **ret_kept);
/* It goes on in that session, which is the one it was of. Returns 0, TABLE_E_FULL (limits.sockets
 * is less than there were) or -errno; then *kept is the caller's. */
NODISCARD int socket_return(struct session *session, struct kept_socket **kept);
