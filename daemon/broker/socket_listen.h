#pragma once
/*
 * socket_listen: sockets that serve: binding, listening, accepting.
 *
 * Threads, ownership: as socket.h. An accepted socket belongs to the listening one's session.
 * Errors:    SOCKET_E_* (> 0); -errno of the system call that failed.
 * Limits:    one accept at a time; accepted sockets count as the session's.
 */
#include "broker/socket.h"

struct socket_accept {
    struct label owner;      /* of the new socket */
    struct socket *accepted; /* r == 0: it, connected */
    int limit;               /* SOCKET_E_LIMIT: SESSION_E_FULL, _USER_FULL or _ALL_FULL */
    void (*on_done)(struct socket_accept *accept, int r);
};

/* Something for this socket is under way elsewhere (the look-up of a service), and counts as
 * running on it. on_done: it goes meanwhile, with SOCKET_E_CLOSING. */
struct socket_hold {
    void (*on_done)(struct socket_hold *hold, enum socket_outcome outcome);
};
/* UNBOUND and idle only. */
void socket_hold(struct socket *socket, struct socket_hold *hold);
void socket_unhold(struct socket *socket, struct socket_hold *hold);

/* UNBOUND -> BOUND. address: n_bytes 0: all addresses of the socket's family. Returns 0,
 * SOCKET_E_STATE, _BUSY or -errno. */
NODISCARD int socket_bind(struct socket *socket, const struct address *address, uint16_t port);
/* BOUND -> LISTENING, or another backlog. Returns 0, SOCKET_E_STATE or -errno. */
NODISCARD int socket_listen(struct socket *socket, int backlog);
/* Returns 0, SOCKET_E_PARKED, _AGAIN, _BUSY, _STATE, _LIMIT or -errno; when it was parked on_done
 * gets one of these, or SOCKET_E_CLOSING when the listening socket goes. What fails leaves the
 * waiting connection where it is. */
NODISCARD int socket_accept(struct socket *socket, struct socket_accept *accept);
/* The same without a look first, LISTENING and blocking only: it is parked, and what waits already
 * is taken in a later turn of the loop. */
void socket_accept_later(struct socket *socket, struct socket_accept *accept);
void socket_withdraw_accept(struct socket *socket, struct socket_accept *accept);
