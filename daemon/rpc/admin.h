#pragma once
/*
 * admin: what administrators do to other people's sockets on an io thread, and what others are
 * refused. Who is one: client_is_admin().
 *
 * Threads:   the io thread only (asserted).
 * Ownership: nothing of its own.
 * Errors:    ADMIN_E_*.
 */
#include "rpc/client.h"
#include "rpc/fault.h"

enum {
    ADMIN_E_NONE = 1,  /* there is no such socket, on any thread */
    ADMIN_E_ELSEWHERE, /* it is not on this thread at the moment */
    ADMIN_E_BUSY,      /* it cannot be closed at the moment */
    ADMIN_CLOSING,     /* no error: a complete close has begun */
};

/* Whose a socket was, as Broker.List has it. */
struct admin_owner {
    uint64_t session;
    int64_t uid;
    pid_t pid;
};

/* Who does it: for the log. */
struct admin_actor {
    uint64_t session;
    uid_t uid;
    pid_t pid;
};
struct admin_actor admin_actor(const struct client *client);

/* So many connections of administrators find a place when listen.clients or clients_per_user of
 * theirs is reached: to see why, and to end it. */
enum { ADMIN_CLIENTS_MORE = 16 };
/* Is it one of those, at the other end of that client's connection? any thread */
bool admin_is(const struct credentials *credentials, int fd);

/* Is the method for administrators, which the client is none of, or does it make what nothing is
 * made of while the broker drains? True: *ret_fault tells. */
bool admin_refuses(const struct client *client, enum method method, struct fault *ret_fault);
/* Only administrators may do that. what: the method, and what of it. */
void admin_fault(struct fault *ret_fault, const struct client *client, const char *what);

/* Close it whoever it belongs to; what its owner has running on it ends with ECONNABORTED. Returns
 * 0: it is gone; or one of the above, with *ret_owner after 0 and ADMIN_CLOSING. */
NODISCARD int admin_close(struct io *io, uint32_t number, enum socket_close_option option,
                          const struct admin_actor *actor, struct admin_owner *ret_owner);
/* Every TCPAccept that waits for a connection is answered: there will be no more. */
void admin_end_accepts(struct io *io);
