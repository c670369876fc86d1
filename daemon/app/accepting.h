#pragma once
/*
 * accepting: taking connections from a listening socket on a loop, some at a time. When file
 * descriptors run out it pauses for 100 ms, and while too many are on their way to io threads until
 * they are there (rpc/arrivals.h); the backlog keeps who waits.
 *
 * Threads:   the loop's only.
 * Ownership: the listening fd is borrowed; what was accepted is on_accepted's.
 * Errors:    -errno.
 */
#include "rpc/arrivals.h"
#include "util/seldom.h"

struct watch;

struct accepting {
    int fd;
    const char *whom; /* "clients", for the log; borrowed */
    struct loop *loop;
    struct watch *watch;       /* NULL: not begun */
    struct arrivals *arrivals; /* where they go to; borrowed */
    struct arrivals_waiter waiter;
    struct timer pause;
    struct seldom warnings;                     /* who provokes them must not fill the log */
    void (*on_accepted)(void *context, int fd); /* close-on-exec, non-blocking */
    void *context;
};

/* fd, whom, arrivals, on_accepted and context are set. Nothing is accepted yet. */
NODISCARD int accepting_begin(struct accepting *accepting, struct loop *loop);
/* After that; cannot fail. */
void accepting_go(struct accepting *accepting);
/* Fine when it has not begun. */
void accepting_stop(struct accepting *accepting);
