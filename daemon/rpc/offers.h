#pragma once
/*
 * offers: the sockets of one io thread that wait to be claimed (TCPOffer). A claim takes the
 * socket out and settles later: the socket has found a session, or it comes back and is on offer
 * again until its deadline. Claims that come meanwhile wait for that: of several for one token
 * exactly one succeeds, unless all come to nothing.
 *
 * Threads:   the io thread only (asserted).
 * Ownership: an offer owns its socket, at rest, but between offers_take() and offers_settle().
 * Errors:    OFFERS_E_*; -errno.
 * Limits:    those of sockets, and of its user's tokens.
 */
#include "broker/session.h"
#include "broker/token.h"
#include "rpc/io.h"

enum {
    OFFERS_E_NONE = 1, /* no offer for that token and user */
    OFFERS_E_WAIT,     /* another claim has the socket at the moment */
};

/* A claim that waits for what becomes of another one. */
struct offer_wait {
    struct list link;
    /* Called once: the socket is its own now, as after offers_take(); NULL: there is none. */
    void (*on_settled)(struct offer_wait *wait, struct socket *socket);
};

struct offer {
    struct token token;
    struct account_charge charge;
    struct io *io;
    struct socket *socket; /* NULL: taken */
    uid_t uid;
    uint64_t session; /* that made it; may be gone */
    struct timer deadline;
    bool expired; /* while it was taken */
    struct list waiting;
};

/* Take a socket of the session out of it and offer it: *ret_offer is valid until the loop goes on.
 * Returns 0, SOCKET_E_* (> 0) when it cannot leave (_LIMIT: of its user's tokens), or -errno;
 * nothing has changed then. */
NODISCARD int offers_make(struct io *io, struct session *session, struct socket *socket,
                          int64_t timeout_ms, const struct offer **ret_offer);
/* The socket for that token and user, or OFFERS_E_*; wait->on_settled() is called later after
 * OFFERS_E_WAIT only. */
NODISCARD int offers_take(struct io *io, const struct token *token, uid_t uid,
                          struct offer_wait *wait, struct socket **ret_socket);
/* What became of it: *socket NULL: it was claimed. Else the next one that waits has it, or it is on
 * offer again (or closed, when its time is over or the broker stops). */
void offers_settle(struct io *io, uint64_t id, struct socket **socket);
/* The offer whose socket has that number; NULL: none, or it is being claimed right now. */
struct offer *offers_find(const struct io *io, uint32_t number);
/* Its socket is closed, and its token void. */
void offers_close(struct offer *offer, enum socket_close_option option);
/* The broker stops: close what is on offer. */
void offers_drain(struct io *io);
