#pragma once
/*
 * acceptor: a local TCP socket that is bound, listens, and gives out the connections that wait.
 * Accepting is tried at once; when nothing waits the caller asks to be told.
 *
 * It moves between loops as a stream does: at rest it is plain data that may be posted to another
 * thread; acceptor_attach() and acceptor_detach() are what lies between.
 *
 * Threads:   attached, the loop's (asserted); at rest, whoever holds it.
 * Ownership: acceptor_new/acceptor_free. A connection given out is the caller's.
 * Errors:    ACCEPTOR_E_AGAIN; -errno.
 * Limits:    the kernel bounds the backlog by net.core.somaxconn.
 */
#include <netinet/in.h>
#include <stdbool.h>

#include "loop/loop.h"
#include "net/address.h"
#include "net/stream.h"
#include "net/tcp_options.h"

enum { ACCEPTOR_E_AGAIN = 1 }; /* nothing waits: acceptor_interest(), then wait for on_ready */

struct acceptor;

/* Bind to a port of this host; 0: any free one. A port that was in use a moment ago is free again
 * (SO_REUSEADDR); *ret_local tells what it has become.
 *
 * address with n_bytes 0: all addresses of a family: AF_INET 0.0.0.0, AF_INET6 :: without IPv4,
 * AF_UNSPEC :: with IPv4 (RFC 3493 section 5.3), or 0.0.0.0 where the host has no IPv6. Otherwise
 * the address, whose own port is ignored, decides: an IPv4-mapped one is the IPv4 address, an IPv6
 * one serves no IPv4 unless it is :: and the family AF_UNSPEC.
 *
 * -EAFNOSUPPORT: the address is not of that family. -EADDRINUSE: somebody listens there; Linux
 * lets two sockets share a port until one of them listens, so acceptor_listen() may say it, too. */
NODISCARD int acceptor_new(struct acceptor **ret_acceptor, int family,
                           const struct address *address, uint16_t port, struct address *ret_local);
/* A socket that is bound, or listens, already; takes the fd when it returns 0. Else -ENOMEM or what
 * getsockname(2) says. */
NODISCARD int acceptor_adopt(struct acceptor **ret_acceptor, int fd, bool listening);
/* Detach, and take the descriptor out of it. */
int acceptor_release(struct acceptor **acceptor);
/* The descriptor, which stays the acceptor's. */
int acceptor_fd(const struct acceptor *acceptor);
/* Detaches and closes; connections that were not accepted are reset. NULL is fine, returns NULL. */
struct acceptor *acceptor_free(struct acceptor *acceptor);

/* Take connections, up to backlog of them waiting. Again: changes the backlog. */
NODISCARD int acceptor_listen(struct acceptor *acceptor, int backlog);

/* Is there something to take? Listening only; false says no for sure, true does not say yes. */
NODISCARD bool acceptor_has_waiting(const struct acceptor *acceptor);
/* Take the connection that waits longest, set those options, fill in both addresses, IPv4 ones as
 * such. A connection is given out although an option could not be set, and one that cannot be given
 * out (EMFILE, ENFILE, ENOMEM, ENOBUFS) goes on waiting: then on_ready comes again and again, and
 * who cannot help it should end his interest for a while. Connections that have failed while they
 * waited are passed over, a number of them at a time: AGAIN may come before on_ready has nothing
 * more to tell. Before acceptor_listen(): -EINVAL. */
NODISCARD int acceptor_accept(struct acceptor *acceptor, const struct tcp_options *options,
                              struct connection **ret_connection);

/* on_ready: a connection waits, while that is wanted. May free or detach the acceptor. */
NODISCARD int acceptor_attach(struct acceptor *acceptor, struct loop *loop,
                              void (*on_ready)(void *context), void *context);
/* No on_ready after this, until attached and interested anew. Fine at rest. */
void acceptor_detach(struct acceptor *acceptor);
/* Level-triggered; cheap when nothing changes. Before acceptor_listen() it comes into effect with
 * it. */
void acceptor_interest(struct acceptor *acceptor, bool wanted);

const struct address *acceptor_local(const struct acceptor *acceptor);
