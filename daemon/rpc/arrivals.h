#pragma once
/*
 * arrivals: connections of local programs on their way from the control thread, which accepts them,
 * to the io threads. When more than a few are under way no more are accepted until most of those
 * have been taken up: the kernel's backlog keeps who waits, and an io thread never has a crowd of
 * newcomers before the requests of those who are there.
 *
 * Threads:   arrivals_init(), arrivals_must_wait(), arrivals_begin(): the control thread;
 * arrivals_end(): any thread.
 * Ownership: a waiter is its owner's, who removes it (list_remove()) when it ends.
 * Errors:    none.
 */
#include "loop/loop.h"

enum { ARRIVALS_MAX = 64, ARRIVALS_FEW = 16 };

struct arrivals {
    struct loop *control;
    atomic_int n; /* under way */
    atomic_int state;
    struct mail go_on;
    struct list waiters; /* the control thread's */
};

/* Who accepts. */
struct arrivals_waiter {
    struct list link;
    void (*go_on)(struct arrivals_waiter *waiter); /* on the control thread */
};

void arrivals_init(struct arrivals *arrivals, struct loop *control);
/* Are there too many just now? go_on() is called when that has changed. */
NODISCARD bool arrivals_must_wait(struct arrivals *arrivals, struct arrivals_waiter *waiter);
/* One goes to an io thread; one was taken up there, or turned away, or was not sent after all. */
void arrivals_begin(struct arrivals *arrivals);
void arrivals_end(struct arrivals *arrivals);
