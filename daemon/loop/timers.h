#pragma once
/*
 * timers: deadlines of one loop. A binary heap over one uv timer: starting and stopping a deadline
 * is O(log n), makes no system call, and stopping is complete at once (a uv timer would have to be
 * closed and waited for).
 *
 * Threads:   the loop's own thread only.
 * Ownership: a struct timer is embedded in its user's object, which stops it before it dies.
 * timers_deinit() asserts that none is running. Errors:    timers_reserve(): -ENOMEM. Starting a
 * timer whose place was reserved cannot fail.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "util/assert.h"

struct timer {
    uint64_t at_ms;
    size_t position; /* in the heap, from 1; 0: not running */
    void (*on_expiry)(struct timer *timer);
};

struct timers {
    uv_timer_t uv;
    struct timer **heap; /* heap[1..n] */
    size_t n, capacity;
};

NODISCARD int timers_init(struct timers *timers, uv_loop_t *uv);
void timers_close(struct timers *timers);  /* closes the uv timer; the uv loop must run once more */
void timers_deinit(struct timers *timers); /* after that */

/* Start (or start anew) to expire in delay_ms. Returns -ENOMEM when the heap cannot grow. */
NODISCARD int timers_start(struct timers *timers, struct timer *timer, uint64_t delay_ms,
                           void (*on_expiry)(struct timer *timer));
void timers_stop(struct timers *timers, struct timer *timer); /* fine when it is not running */
static inline bool timer_running(const struct timer *timer)
{
    return timer->position != 0;
}
