#pragma once
/*
 * resolver_internal: what the two halves of the resolver share: resolver.c, where look-ups come and
 * go, and resolver_pool.c, where threads do.
 *
 * Threads: all of it under the mutex, unless said otherwise.
 */
#include "net/resolver.h"
#include "net/resolver_policy.h"
#include "net/resolver_table.h"

struct resolver {
    pthread_mutex_t mutex; /* leaf; mails are posted without it */
    struct resolver_table table;
    bool stopping;
    void (*ask)(const struct question *question, struct lookup_answer *answer); /* constant */
    /* the pool */
    struct resolver_policy policy; /* constant */
    pthread_cond_t work;           /* something waits, or threads should look whether to end */
    pthread_cond_t watch;          /* the watching thread should look */
    pthread_cond_t ended;          /* a thread has ended, or has posted what it had */
    pthread_t watcher;
    bool has_watcher, watcher_sleeps; /* it sleeps: without a time to wake up */
    struct mail *visit;               /* to be delivered by the watching thread, or NULL */
    bool told_failed, told_full;      /* in the log */
    bool told_held;
    unsigned n_alive;
    unsigned n_posting;  /* threads that are about to touch the loop of a look-up */
    unsigned n_numbered; /* for the threads' names */
    struct list to_join; /* of struct worker: they have ended */
};

/* Start what is always there. On failure the pool can be ended as usual. */
NODISCARD int resolver_pool_start(struct resolver *resolver);
/* Wait for the threads to end, at most wait_ms; without the mutex. False: some hang. */
NODISCARD bool resolver_pool_end(struct resolver *resolver, unsigned wait_ms);
/* Something waits now. */
void resolver_pool_wake(struct resolver *resolver);

/* A question was answered: everybody who asked gets on. The list takes who is ready. */
void resolver_answered(struct resolver *resolver, struct table_entry *entry, int64_t now_us,
                       struct list *ready);
/* Without the mutex. Posts them. */
void resolver_deliver(struct list *ready);
