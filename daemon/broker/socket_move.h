#pragma once
/*
 * socket_move: what takes a socket, or its connection, to another thread: a socket at rest, which
 * is plain data that may be posted, and the way of a connection to a dial thread and back, for
 * starting TLS on it.
 *
 * Threads:   as socket.h while it is in a session; by whoever holds it while it is at rest.
 * Ownership: socket_export() leaves the stream's state in the socket, socket_import() makes a
 * stream of it again. While a socket is SECURING its connection is the caller's.
 * Errors:    SOCKET_E_*; -errno.
 */
#include "broker/socket.h"

/* Is nothing running on it? SOCKET_OK, or SOCKET_E_BUSY. */
NODISCARD enum socket_outcome socket_idle(const struct socket *socket);

/* Leave the loop: SOCKET_OK, and it is at rest, without a session or room; or _BUSY, also while the
 * record of a withdrawn send is going out, _NOT_CONNECTED, _FAILED. */
NODISCARD enum socket_outcome socket_export(struct socket *socket);
/* A socket at rest goes on in that session's room. Returns 0 or -errno (it is at rest still). */
NODISCARD int socket_import(struct socket *socket, struct session *session);
/* Close a socket at rest. NULL is fine, returns NULL. */
struct socket *socket_discard(struct socket *socket);

struct socket_secure {
    struct address local, remote; /* while the connection is away */
    /* a close has overtaken it (SOCKET_E_CLOSING): the connection, when it is back, is for freeing
     */
    void (*on_done)(struct socket_secure *secure, enum socket_outcome outcome);
};

/* As server the first words of TLS are the peer's and may be there already: only what was read
 * ahead counts as unread then. */
enum socket_secure_role { SOCKET_SECURE_CLIENT, SOCKET_SECURE_SERVER };

/* OPEN -> SECURING: *ret_connection, a plain one, is the caller's. SOCKET_OK, or _NOT_CONNECTED,
 * _BUSY, _FAILED, _SECURE, _UNREAD, _SHUT_DOWN or _PEER_ENDED, and nothing has changed. */
NODISCARD enum socket_outcome socket_secure(struct socket *socket, enum socket_secure_role role,
                                            struct socket_secure *secure,
                                            struct connection **ret_connection);
/* SECURING -> OPEN; takes *connection. Returns 0 or -errno (still SECURING: fail it). */
NODISCARD int socket_secured(struct socket *socket, struct connection **connection);
/* SECURING -> FAILED: it did not come to that; the connection is lost. error is copied. */
void socket_secure_failed(struct socket *socket, const struct net_error *error);
