#pragma once
/*
 * socket: one socket of a session: its number, its owner thread, its stream, and the operations
 * that run on it. All operations are tried at once; what cannot be finished is parked here and
 * completed by its on_done. Sending, receiving and closing are here; binding, listening and
 * accepting in socket_listen.h; what takes a socket or its connection elsewhere in socket_move.h.
 *
 * Threads:   the io thread of its session only (asserted).
 * Ownership: a socket belongs to its session from socket_new() to session_socket_free(), to
 * session_end(), or to session_yield(), after which it is at rest and whoever holds it owns it. A
 * parked operation belongs to the socket until its on_done is called or it is withdrawn; its data
 * is the caller's and must live as long.
 * Errors:    SOCKET_E_*. on_done is never called before the starting call has returned.
 * Limits:    one receive, accept and close at a time; sends are queued in order. Read-ahead is
 * bounded by the setting, or by the receive that waits when that needs more.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "broker/account.h"
#include "broker/label.h"
#include "broker/receive.h"
#include "broker/record.h"
#include "broker/socket_outcome.h"
#include "broker/socket_room.h"
#include "net/stream.h"

struct session;
struct socket;
struct acceptor;
struct socket_accept;
struct socket_secure;
struct socket_hold;
struct attached;
struct forced;
struct shelf;
struct keep_item;
struct ledger_live;

enum socket_state {
    SOCKET_UNBOUND, /* a number only, to be bound */
    SOCKET_BOUND,
    SOCKET_LISTENING,
    SOCKET_CONNECTING, /* number reserved, no stream yet */
    SOCKET_OPEN,
    SOCKET_SECURING, /* its connection is on a dial thread, for a TLS handshake */
    SOCKET_ATTACHED, /* its bytes go by a file descriptor (socket_attach.h) */
    SOCKET_CLOSING,  /* complete close under way */
    SOCKET_FAILED,   /* socket_error() tells; unread bytes may be left */
};

/* The two directions of an open socket are independent of each other. */
enum socket_sending {
    SENDING_OPEN,
    SENDING_FINISHING, /* a close waits for queued sends and for its FIN or close_notify to go out
                        */
    SENDING_SHUT,
};
enum socket_receiving {
    RECEIVING_OPEN,
    RECEIVING_ENDED, /* the peer's orderly end was read */
};

struct socket_send {
    const char *data;
    size_t n_data;
    size_t n_sent;
    void (*on_done)(struct socket_send *send, enum socket_outcome outcome);
    struct list link; /* inside */
};

struct socket_receive {
    struct receive_wish wish;
    const bool *held_up; /* it waits while this is true; then socket_poke(). NULL: never */
    const char *data; /* SOCKET_OK: the bytes; socket_consume() takes them, within on_done or right
                         after SOCKET_OK */
    size_t n_data;
    void (*on_done)(struct socket_receive *receive, enum socket_outcome outcome);
};

enum socket_close_option {
    SOCKET_CLOSE_COMPLETE = 0,
    SOCKET_CLOSE_PARTIAL = 1,
    SOCKET_CLOSE_ABORT = 2
};

struct socket_close {
    enum socket_close_option option;
    uint64_t n_discarded;
    void (*on_done)(struct socket_close *close, enum socket_outcome outcome);
};

struct socket {
    uint32_t number;
    enum socket_state state; /* these three are set by their setters in socket.c only */
    enum socket_sending sending;
    enum socket_receiving receiving;
    struct session *session;
    struct socket_room *room;
    struct account_charge charge;
    uint64_t offered_by; /* the session that has offered it last; 0: none */
    struct label owner;
    bool non_blocking;     /* TCPBlock */
    struct stream *stream; /* NULL: not connected, or securing, or failed while that */
    char *hostname;        /* as asked for; NULL: accepted, or never connects */
    uint64_t bytes_in, bytes_out;
    int64_t born_us;
    struct keep_item *keep;   /* socket_keep.h's; NULL: it does not outlive the process */
    struct ledger_live *live; /* what the ledger wants to know of its bytes; NULL: nothing */
    struct shelf *shelf;      /* where its connection may rest (socket_rest.h); NULL: nowhere */
    int64_t made_ms;          /* then: when that was made */
    struct record_notes notes;
    /* inside */
    struct list sends;
    struct socket_receive *receive;
    struct socket_close *close;
    struct socket_accept *accept;
    struct socket_secure *secure;
    struct socket_hold *hold;
    struct attached *attached;     /* socket_attach.c's */
    struct forced *forced;         /* socket_force.c's */
    int family;                    /* UNBOUND: AF_UNSPEC, AF_INET or AF_INET6 */
    struct acceptor *acceptor;     /* BOUND, LISTENING */
    struct connection *connection; /* at rest: what the stream was */
    bool quiet;                    /* nothing is delivered at the moment */
    struct timer close_timer;
    char *buffer; /* read ahead, not yet taken: buffer[start..end) */
    size_t start, end, capacity;
    const char *view; /* during a delivery: the bytes offered */
    size_t n_view;
    size_t n_attempt; /* bytes of the last write that would have blocked */
    char *carry;      /* TLS: bytes of a withdrawn send that the record under way already has */
    size_t n_carry, n_carried;
    uint64_t close_mark;           /* sent_so_far() when the close timer was started */
    const struct net_error *error; /* FAILED: the stream's, a constant, or own_error */
    struct net_error *own_error;
};

/* Made by session_socket_new() only; number: from the table; state: UNBOUND or CONNECTING;
 * hostname: NULL is fine. */
NODISCARD int socket_new(struct socket **ret_socket, struct session *session, uint32_t number,
                         enum socket_state state, const struct label *owner, const char *hostname);
/* Close whatever is open, complete what is parked with `outcome` when tell is true (else silently
 * dropped), free. Called by session_socket_free(). */
struct socket *socket_free(struct socket *socket, bool tell);

/* CONNECTING -> CONNECTED; takes *connection. Returns 0 or -errno (then the socket is still
 * CONNECTING). */
NODISCARD int socket_connect(struct socket *socket, struct connection **connection);

NODISCARD enum socket_outcome socket_send(struct socket *socket, struct socket_send *send);
NODISCARD enum socket_outcome socket_receive(struct socket *socket, struct socket_receive *receive);
/* SOCKET_CLOSE_COMPLETE and _ABORT: when the outcome is SOCKET_OK, at once or by on_done, the
 * caller must call session_socket_free(). */
NODISCARD enum socket_outcome socket_close(struct socket *socket, struct socket_close *close);

/* Take a parked operation back: its on_done will not be called. What a send had already handed over
 * stays sent; n_sent tells. */
void socket_withdraw_send(struct socket *socket, struct socket_send *send);
void socket_withdraw_receive(struct socket *socket, struct socket_receive *receive);
/* A withdrawn complete close becomes an abort; the caller then calls session_socket_free(). */
void socket_withdraw_close(struct socket *socket, struct socket_close *close);

/* Take n of the bytes offered. */
void socket_consume(struct socket *socket, size_t n);
/* A receive is not held up any more: see whether it can be served. */
void socket_poke(struct socket *socket);

/* Do its bytes go by a file descriptor? Also while what that has left is still passed on. */
bool socket_is_attached(const struct socket *socket);
const struct net_error *socket_error(const struct socket *socket);
/* Its own and its peer's address; NULL: it has none. */
const struct address *socket_local(const struct socket *socket);
const struct address *socket_remote(const struct socket *socket);
/* NULL: plain, or not connected. */
const struct tls_facts *socket_tls(const struct socket *socket);
/* unbound, bound, listening, connecting, securing, connected, half_closed, peer_closed, ended,
 * closing or failed: as Broker.List has it.
 */
const char *socket_state_text(const struct socket *socket);
