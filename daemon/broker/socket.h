#pragma once
/*
 * socket: one connection of a session: its number, its owner thread, its stream, and the operations
 * that run on it. All operations are tried at once; what cannot be finished is parked here and
 * completed by its on_done.
 *
 * Threads:   the io thread of its session only (asserted).
 * Ownership: a socket belongs to its session from socket_new() to socket_release() or
 * session_end(). A parked operation belongs to the socket until its on_done is called or it is
 * withdrawn; its data is the caller's and must live as long. Errors:    SOCKET_E_*. on_done is
 * never called before the starting call has returned. Limits:    one receive and one close at a
 * time; sends are queued in order. Read-ahead is bounded by the setting, or by the receive that
 * waits when that needs more.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "broker/label.h"
#include "broker/receive.h"
#include "broker/table.h"
#include "loop/loop.h"
#include "net/stream.h"

struct session;
struct socket;

/* What all sockets of one io thread share. */
struct socket_room {
    struct loop *loop;
    struct table *table;
    size_t receive_buffer; /* bytes read ahead per socket */
    int64_t close_timeout_ms;
    char *scratch; /* what is read goes here first, so idle sockets have no buffer */
    size_t n_scratch;
};

enum socket_state {
    SOCKET_CONNECTING, /* number reserved, no stream yet */
    SOCKET_OPEN,
    SOCKET_CLOSING, /* complete close under way */
    SOCKET_FAILED,  /* socket_error() tells; unread bytes may be left */
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

enum socket_outcome {
    SOCKET_OK = 0,
    SOCKET_E_PARKED,        /* not an error: on_done will follow */
    SOCKET_E_AGAIN,         /* non-blocking, nothing can be done now */
    SOCKET_E_BUSY,          /* one of that kind is running */
    SOCKET_E_NOT_CONNECTED, /* still connecting */
    SOCKET_E_SHUT_DOWN,     /* sending was ended */
    SOCKET_E_CLOSING, /* a complete close is under way; also how operations end that it overtakes */
    SOCKET_E_FAILED,  /* socket_error() */
    SOCKET_E_END,     /* receive: the peer's orderly end */
    SOCKET_E_NOT_UTF8,      /* receive: not text */
    SOCKET_E_NUL,           /* receive: a NUL byte */
    SOCKET_E_NO_ROOM,       /* receive: the next character does not fit */
    SOCKET_E_NO_HALF_CLOSE, /* close: TLS 1.2 */
    SOCKET_E_CUT,           /* send: close_timeout passed while it waited */
    SOCKET_E_NO_MEMORY,
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
    struct label owner;
    bool non_blocking;     /* TCPBlock */
    struct stream *stream; /* NULL: connecting */
    char *hostname;        /* as asked for */
    uint64_t bytes_in, bytes_out;
    int64_t born_us;
    /* inside */
    struct list sends;
    struct socket_receive *receive;
    struct socket_close *close;
    struct timer close_timer;
    char *buffer; /* read ahead, not yet taken: buffer[start..end) */
    size_t start, end, capacity;
    const char *view; /* during a delivery: the bytes offered */
    size_t n_view;
    size_t n_attempt; /* bytes of the last write that would have blocked */
    char *carry;      /* TLS: bytes of a withdrawn send that the record under way already has */
    size_t n_carry, n_carried;
    uint64_t close_mark;           /* bytes_out when the close timer was started */
    const struct net_error *error; /* FAILED: the stream's, or a constant */
};

/* Made by session_socket_new() only; reserve: the number, from the table. */
NODISCARD int socket_new(struct socket **ret_socket, struct session *session,
                         struct socket_room *room, uint32_t number, const struct label *owner,
                         const char *hostname);
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
/* The session takes answers again: see whether a parked receive can be served. */
void socket_poke(struct socket *socket);

const struct net_error *socket_error(const struct socket *socket);
/* connecting, connected, half_closed, peer_closed, ended, closing or failed: as Broker.List has it.
 */
const char *socket_state_text(const struct socket *socket);
