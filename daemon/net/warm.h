#pragma once
/*
 * warm: a connection that rests before it is used (again): whether it is still alive, until when
 * what was verified holds, and how it ends.
 *
 * Threads:   by whoever holds the connection.
 * Ownership: warm_retire() takes the connection.
 * Errors:    none: what cannot be told is no life.
 * Limits:    a look reads what TLS has to say for itself (tickets), WARM_READ bytes of payload at
 * most, and never waits.
 */
#include "net/stream.h"

enum { WARM_READ = 512 };

enum warm_state {
    WARM_ALIVE,  /* nothing to read, no end, no failure */
    WARM_ENDED,  /* the peer has ended it, or it has failed */
    WARM_SPEAKS, /* the peer has said something and waits: nobody may get that in front of an answer
                  */
};

/* What was read by that is lost, so only WARM_ALIVE may be used any more. */
enum warm_state warm_look(struct connection *connection);

/* Until when the chain that was verified is valid: seconds since the epoch, INT64_MAX: nothing was
 * verified. */
int64_t warm_until(const struct connection *connection);

/* End it without waiting: close_notify if there is room for it, then close. NULL is fine, returns
 * NULL. */
struct connection *warm_retire(struct connection *connection);
