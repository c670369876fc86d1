#pragma once
/*
 * socket_rest: what stands between a socket and the shelf that its connection came from, or would
 * have come from.
 *
 * Threads:   as socket.h.
 * Ownership: the socket holds a reference of the shelf.
 * Errors:    REST_*.
 */
#include "broker/shelf.h"
#include "broker/socket.h"

/* Its connection may be put there later; made_ms: when that was made, or no later. A socket has one
 * shelf at most. */
void socket_set_shelf(struct socket *socket, struct shelf *shelf, int64_t made_ms);

enum rest_outcome {
    REST_NOT,  /* it has no shelf, or is not at rest, or there is no place: it is as it was, but for
                  what was read ahead meanwhile */
    REST_DONE, /* the connection is on the shelf, the socket is for session_socket_free() */
    REST_LATE, /* the same, but the place was lost at the last moment: the connection was closed */
};
/* Put the connection there for that user: nothing runs, there is nothing to be read, no direction
 * has ended. */
NODISCARD enum rest_outcome socket_rest(struct socket *socket, uid_t uid, struct shelf_now now);
