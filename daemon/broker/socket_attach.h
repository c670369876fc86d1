#pragma once
/*
 * socket_attach: handing out a socket's bytes as a file descriptor. A plain connection is handed
 * out itself, and a secure one for which the kernel encrypts; any other secure one, or one of which
 * bytes were read ahead, by one end of a socket pair whose other end is relayed.
 *
 * An attached socket keeps its number until both ends are closed, also beyond its session: then the
 * session lingers (session->lingering) until the last one is gone. One that has failed keeps its
 * number for a while, so that whoever has seen the end of file can ask why; not beyond its session,
 * nor when the descriptor was closed before.
 *
 * Threads, ownership: as socket.h. The descriptor is the caller's.
 * Errors:    SOCKET_E_*; -errno.
 */
#include "broker/session.h"

enum { ATTACH_TOLD_MS = 30000 }; /* how long the number of a failed one lives */

/* As socket_connect(), for one that is attached before anything else is done with it: a plain
 * connection is not even watched. */
NODISCARD int socket_connect_attached(struct socket *socket, struct connection **connection);
/* Returns SOCKET_OK: *ret_fd, and *ret_direct: it is the connection itself and the socket is gone
 * (the session's number too); *ret_facts is what it leaves when the kernel encrypts, the caller's
 * with free(), else NULL. Or SOCKET_E_NOT_CONNECTED, _BUSY, _FAILED, _ATTACHED, -errno, and
 * nothing has changed. */
NODISCARD int socket_attach(struct socket *socket, int *ret_fd, bool *ret_direct,
                            struct tls_facts **ret_facts);
/* The same with a local end that is there already: a connected stream socket, which is
 * made non-blocking and taken; always relayed. */
NODISCARD int socket_attach_to(struct socket *socket, int local);

/* The sockets of a session that are not attached: those that end with it. */
bool session_has_attached(const struct session *session);
bool session_has_unattached(struct session *session);
void session_close_unattached(struct session *session);
