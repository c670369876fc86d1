#pragma once
/*
 * loop: a thread with a libuv loop, a mailbox and timers. Every io, dial and control thread is one.
 *
 * One verb crosses threads: loop_post(). What is posted is a struct mail embedded in the sender's
 * object; posting it is the move of that object to the loop's thread, and cannot fail. Mail is
 * delivered in the order it was posted by one thread, with the lock released, never inside
 * loop_post() itself.
 *
 * Threads:   loop_post() and loop_stop() from any thread; loop_new() and loop_free() from the
 * thread that holds the loop while it does not run; everything else on the loop's own thread
 * (asserted by ASSERT_OWNER). Ownership: the loop owns its uv loop and thread. Mail belongs to the
 * loop from post to delivery. Errors:    -errno.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "loop/timers.h"
#include "util/assert.h"
#include "util/histogram.h"
#include "util/list.h"

struct loop;

struct mail {
    struct list link;
    void (*deliver)(struct mail *mail); /* called on the receiving loop's thread */
};

struct loop {
    uv_loop_t uv;
    int wakeup_fd; /* eventfd: a uv_async would spin in libuv while its receiver preempts the sender
                    */
    uv_poll_t wakeup;
    struct timers timers;
    pthread_t thread;
    pthread_t owner; /* whose calls ASSERT_OWNER lets pass */
    bool spawned;
    bool closing;
    char name[16];
    int nice;
    void (*on_iteration)(
        void *context); /* before the loop waits for events; see loop_on_iteration() */
    void *on_iteration_context;
    uv_prepare_t prepare;
    uint64_t woke_ms;     /* when the events of this round came; 0: none has */
    struct histogram lag; /* how long the rounds took: loop_lag() */
    atomic_bool stop;
    pthread_mutex_t mutex; /* leaf: nothing else is locked while it is held */
    struct list mailbox;   /* under mutex */
};

/* A function of the loop's owner thread starts with this. */
#define ASSERT_OWNER(loop) ASSERT(pthread_equal((loop)->owner, pthread_self()))

/* name: for ps and gdb, at most 15 bytes; nice: added to the thread's niceness (0..19). */
NODISCARD int loop_new(struct loop **ret_loop, const char *name, int nice);
/* The loop must have been stopped and joined and all its handles closed. */
struct loop *loop_free(struct loop *loop);

/* Run the loop on a thread of its own until loop_stop(). */
NODISCARD int loop_start(struct loop *loop);
/* Run it on the calling thread (the control thread). */
void loop_run(struct loop *loop);
void loop_join(struct loop *loop);

/* Any thread. The mail is delivered on the loop's thread. */
void loop_post(struct loop *loop, struct mail *mail);
/* Any thread. The loop returns after the present iteration; mail that is still in the box is
 * delivered before. */
void loop_stop(struct loop *loop);

/* Milliseconds of the loop's clock (monotonic), as of the start of this iteration. */
uint64_t loop_now_ms(const struct loop *loop);
/* Microseconds, read now. Any thread. */
int64_t loop_clock_us(void);

/* How long it took to serve the events of one round, for each so far: for so long whatever came
 * meanwhile has waited. In whole milliseconds, by the times that libuv notes anyway: no clock is
 * read for it, and a loop without events is not woken. Timers and what loop_on_iteration() does are
 * left out. Any thread; histogram_scale_lag. */
static inline const struct histogram *loop_lag(const struct loop *loop)
{
    return &loop->lag;
}
/* Whoever lets libuv call him for an event says so: the time is still that at which it came. */
static inline void loop_has_event(struct loop *loop)
{
    loop->woke_ms = loop->uv.time;
}

/* Call this once per iteration before waiting for events (flushing what the iteration produced).
 * One at most. */
void loop_on_iteration(struct loop *loop, void (*callback)(void *context), void *context);
