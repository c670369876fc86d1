#pragma once
/*
 * socket_force: closing a socket against the will of whom it belongs to, in whatever state it is.
 * The owner's operations are the layer's above: those that are parked were withdrawn before, but
 * for sends, which a complete close lets finish.
 *
 * Threads:   as socket.h.
 * Ownership: a complete close that takes its time is the socket's own; nobody waits for it, and it
 * ends with the socket at the latest.
 * Errors:    none: without memory for a complete close it is an abort.
 */
#include "broker/session.h"

/* Returns SOCKET_OK: the socket and its number are gone, and perhaps the session, when it lingered.
 * SOCKET_E_PARKED: a complete close is under way, within close_timeout it will be gone.
 * SOCKET_E_NOT_CONNECTED: it is CONNECTING, who connects it must give that up. option: COMPLETE or
 * ABORT. */
NODISCARD enum socket_outcome session_socket_force(struct session *session, struct socket *socket,
                                                   enum socket_close_option option);
/* A socket at rest. ABORT: its peer sees a reset. Returns NULL. */
struct socket *socket_force_resting(struct socket *socket, enum socket_close_option option);
