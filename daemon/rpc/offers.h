#pragma once
/*
 * offers: the sockets of one io thread that wait to be claimed (TCPOffer). A claim takes the
 * socket out and settles later: the socket has found a session, or it comes back and is on offer
 * again until its deadline.
 *
 * Threads:   the io thread only (asserted).
 * Ownership: an offer owns its socket, at rest, but between offers_take() and offers_settle().
 * Errors:    -errno.
 * Limits:    those of sockets.
 */
#include "broker/session.h"
#include "broker/token.h"
#include "rpc/io.h"

struct offer {
    struct token token;
    struct io *io;
    struct socket *socket; /* NULL: taken */
    uid_t uid;
    uint64_t session; /* that made it; may be gone */
    struct timer deadline;
    bool expired; /* while it was taken */
};

/* Take a socket of the session out of it and offer it: *ret_offer is valid until the loop goes on.
 * Returns 0, SOCKET_E_* (> 0) when it cannot leave, or -errno; nothing has changed then. */
NODISCARD int offers_make(struct io *io, struct session *session, struct socket *socket,
                          int64_t timeout_ms, const struct offer **ret_offer);
/* The socket for that token and user; NULL: none. */
struct socket *offers_take(struct io *io, const struct token *token, uid_t uid);
/* What became of it: *socket NULL: it was claimed. Else it is on offer again (or closed, when its
 * time is over or the broker stops). */
void offers_settle(struct io *io, uint64_t id, struct socket **socket);
/* The broker stops: close what is on offer. */
void offers_drain(struct io *io);
