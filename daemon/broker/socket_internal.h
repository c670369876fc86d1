#pragma once
/*
 * socket_internal: what socket.c (life, states, closing), socket_io.c (sending, receiving),
 * socket_listen.c and socket_move.c need of each other.
 *
 * Threads: as socket.h.
 */
#include "broker/ledger.h"
#include "broker/socket.h"

void socket_set_state(struct socket *socket, enum socket_state state);
void socket_set_sending(struct socket *socket, enum socket_sending sending);
void socket_set_receiving(struct socket *socket, enum socket_receiving receiving);

/* Ask the stream for what the present state waits for. */
void socket_update_interest(struct socket *socket);

/* The stream (or memory) failed; error lives as long as the stream: everything parked ends with
 * SOCKET_E_FAILED, unread bytes stay. The socket may be gone when this returns true: a close that
 * was under way has ended. */
bool socket_fail(struct socket *socket, const struct net_error *error);
bool socket_fail_memory(struct socket *socket);

/* End all parked sends, the parked receive, the parked accept. */
void socket_end_sends(struct socket *socket, enum socket_outcome outcome);
void socket_end_receive(struct socket *socket, enum socket_outcome outcome);
void socket_end_accept(struct socket *socket, int r);

/* What the stream reports; context is the socket. */
void socket_on_ready(void *context, unsigned ready);
/* What the acceptor reports. */
void socket_on_acceptable(void *context);

/* Write what is queued; true: the socket is gone. */
NODISCARD bool socket_pump_sends(struct socket *socket);
/* Read what is there; true: the socket is gone. */
NODISCARD bool socket_pump_reads(struct socket *socket);

/* All sends are out: go on with a parked close. true: the socket is gone. */
NODISCARD bool socket_proceed_close(struct socket *socket);
/* The peer's end was read while closing. true: the socket is gone. */
bool socket_finish_close(struct socket *socket, enum socket_outcome outcome);

/* Of an attached socket, in socket_attach.c. */
void socket_relay_ready(struct socket *socket, unsigned ready);
void socket_detach(struct socket *socket); /* fine when it is not attached */
/* As session_socket_force(). */
enum socket_outcome socket_force_attached(struct socket *socket, enum socket_close_option option);
/* The number goes, and the session with the last one when it is there for nothing else. */
void session_socket_forget(struct socket *socket);
/* In socket_force.c; fine when there is nothing. */
void socket_unforce(struct socket *socket);
/* Its local side has gone: as socket_close() with SOCKET_CLOSE_COMPLETE or _ABORT. */
enum socket_outcome socket_close_attached(struct socket *socket, struct socket_close *close);

/* For the ledger, when there is one: bytes are about to move; and what is left after that. */
static inline void socket_note_move(struct socket *socket)
{
    if (socket->live)
        atomic_store_explicit(&socket->live->moved, socket->room->clock, memory_order_relaxed);
}
static inline void socket_note(struct socket *socket)
{
    if (!socket->live)
        return;
    atomic_store_explicit(&socket->live->ahead, (uint32_t)(socket->end - socket->start),
                          memory_order_relaxed);
    atomic_store_explicit(&socket->live->parked, !list_empty(&socket->sends), memory_order_relaxed);
}

void socket_drop_buffer(struct socket *socket);
bool socket_wants_read(const struct socket *socket);
