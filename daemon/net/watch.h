#pragma once
/*
 * watch: waiting for a socket to become readable or writable on a loop; the one place that knows
 * libuv's uv_poll. Level-triggered. The fd is borrowed and may be closed right after watch_free():
 * the loop has forgotten it by then, although the memory is released an iteration later.
 *
 * Threads:   the loop's own thread only (asserted).
 * Ownership: watch_new/watch_free. The watch may be freed inside its callback.
 * Errors:    -errno.
 */
#include <stddef.h>

#include "loop/loop.h"

struct watch;

/* bits. HANGUP: both directions have ended (EPOLLHUP), for who has read the peer's end and waits
 * for nothing but the peer to be gone altogether. */
enum { WATCH_READABLE = 1, WATCH_WRITABLE = 2, WATCH_NUDGE = 4, WATCH_HANGUP = 8 };

/* on_event: at least one of what is watched is possible, or the socket has failed (then all that is
 * watched is reported: the next call on the socket tells the errno). */
NODISCARD int watch_new(struct watch **ret_watch, struct loop *loop, int fd,
                        void (*on_event)(void *context, unsigned events), void *context);
/* No callback after this. NULL is fine, returns NULL. */
struct watch *watch_free(struct watch *watch);
/* Which events to report; 0: none. Costs system calls only when the set changes. */
NODISCARD int watch_set(struct watch *watch, unsigned events);
/* Report WATCH_NUDGE in a later iteration, once however often this was called. Cannot fail. */
void watch_nudge(struct watch *watch);
