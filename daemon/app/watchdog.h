#pragma once
/*
 * watchdog: a sign of life to the service manager, but only when every thread that must not hang
 * has answered. A ping walks from loop to loop, to the thread that watches over the resolver, and
 * comes back; when it is back within half the interval the sign is given. When it is not, whoever
 * has it hangs, and is named. (Threads that wait in the system's resolver are not visited: they may
 * hang, and others are started in their place.)
 *
 * Time is counted by the control loop's own ticks, a quarter of the interval each: a process that
 * was stopped as a whole, and goes on, blames nobody.
 *
 * Threads:   the control thread; the ping visits the others.
 * Ownership: embedded; loops and resolver are borrowed and must outlive watchdog_stop(), which is
 * only complete when it is not under_way.
 * Errors:    watchdog_start(): -ENOMEM.
 */
#include "loop/loop.h"

struct resolver;

struct watchdog {
    struct loop *control;
    struct loop **loops;
    size_t n_loops;
    struct resolver *resolver; /* may be NULL */
    uint64_t tick_ms;
    struct timer timer;
    struct mail ping;
    atomic_size_t at; /* who has the ping: loops, then the resolver, then the control loop */
    unsigned n_ticks; /* since it was sent */
    bool under_way;
    bool stopped;
    void (*on_idle)(void *context);  /* the ping is back after watchdog_stop() */
    void (*on_alive)(void *context); /* every thread has answered in time */
    /* this thread has not, and there will be no on_alive() for this ping */
    void (*on_hang)(void *context, const char *thread, uint64_t waited_ms);
    void *context;
};

/* interval_us 0: nobody wants it. */
NODISCARD int watchdog_start(struct watchdog *watchdog, struct loop *control, struct loop **loops,
                             size_t n_loops, struct resolver *resolver, uint64_t interval_us);
/* No ping is sent any more. While under_way one still is; then on_idle will be called. */
void watchdog_stop(struct watchdog *watchdog);
