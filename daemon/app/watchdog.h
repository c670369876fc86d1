#pragma once
/*
 * watchdog: a sign of life to the service manager, but only when every loop has answered. A ping
 * walks from loop to loop and comes back; while it is on its way no sign is given, so a loop that
 * hangs gets the daemon restarted.
 *
 * Threads:   the control thread; the ping visits the others.
 * Ownership: embedded; the loops are borrowed and must outlive watchdog_stop(), which is only
 * complete when watchdog_idle(). Errors:    watchdog_start(): -ENOMEM.
 */
#include "loop/loop.h"

struct watchdog {
    struct loop *control;
    struct loop **loops;
    size_t n_loops, at;
    uint64_t interval_ms; /* 0: nobody wants it */
    struct timer timer;
    struct mail ping;
    bool under_way;
    bool stopped;
    void (*on_idle)(void *context);  /* the ping is back after watchdog_stop() */
    void (*on_alive)(void *context); /* every loop has answered */
    void *context;
};

NODISCARD int watchdog_start(struct watchdog *watchdog, struct loop *control, struct loop **loops,
                             size_t n_loops, uint64_t interval_us);
/* No ping is sent any more. While under_way one still is; then on_idle will be called. */
void watchdog_stop(struct watchdog *watchdog);
