/*
 * resolver_pool: the resolver's threads: those that ask, and one that watches over them: it starts
 * more when look-ups are slow, and joins those that have ended.
 */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "net/resolver_internal.h"
#include "util/log.h"

/* NSS modules put buffers of many kilobytes on the stack. */
enum { STACK_BYTES = 512 * 1024 };
/* No thread could be started: when to try again. */
enum { RETRY_US = 200 * 1000 };

struct worker {
    struct list link; /* among those to join */
    struct resolver *resolver;
    unsigned number;
    pthread_t thread;
};

static struct timespec timespec_of(int64_t us)
{
    return (struct timespec){.tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000};
}

/* ---- the threads that ask ---- */

static unsigned count_slow(struct resolver *resolver)
{
    table_age(&resolver->table, loop_clock_us());
    return (unsigned)resolver->table.n[TABLE_SLOW];
}

/* Threads without a look-up: they wait for one, have just been started, or are bringing an answer
 * back. */
static unsigned count_free(const struct resolver *resolver)
{
    const size_t *n = resolver->table.n;
    return resolver->n_alive - (unsigned)(n[TABLE_RUNNING] + n[TABLE_SLOW]);
}

/* More waits than there are threads for: the watching thread must know when the next of
 * these is slow. */
static void wake_watcher(struct resolver *resolver)
{
    if (resolver->watcher_sleeps && table_n_ready(&resolver->table) > count_free(resolver))
        pthread_cond_signal(&resolver->watch);
}

/* Under the mutex, which is let go for as long as it takes. */
static void work_on(struct resolver *resolver, struct table_entry *entry)
{
    struct list ready = LIST_INIT(ready);

    wake_watcher(resolver);
    if (table_n_ready(&resolver->table) > 0) /* what was behind may have become ready unnoticed */
        pthread_cond_signal(&resolver->work);
    pthread_mutex_unlock(&resolver->mutex);
    resolver->ask(&entry->question, entry->answer);
    pthread_mutex_lock(&resolver->mutex);
    resolver_answered(resolver, entry, loop_clock_us(), &ready);
    resolver->n_posting++;
    pthread_mutex_unlock(&resolver->mutex);
    resolver_deliver(&ready);
    pthread_mutex_lock(&resolver->mutex);
    if (--resolver->n_posting == 0)
        pthread_cond_signal(&resolver->ended);
}

static void *run_worker(void *argument)
{
    struct worker *worker = argument;
    struct resolver *resolver = worker->resolver;
    char name[16];

    worker->thread = pthread_self();
    snprintf(name, sizeof(name), "resolver-%u", worker->number % 100000);
    pthread_setname_np(worker->thread, name);
    pthread_mutex_lock(&resolver->mutex);
    while (!resolver->stopping &&
           !resolver_policy_surplus(&resolver->policy, resolver->n_alive, count_slow(resolver))) {
        struct table_entry *entry = table_take(&resolver->table, loop_clock_us());
        if (resolver->table.n[TABLE_HELD] > 0 && !resolver->told_held)
            pthread_cond_signal(&resolver->watch); /* it tells */
        if (entry) {
            work_on(resolver, entry);
            continue;
        }
        pthread_cond_wait(&resolver->work, &resolver->mutex);
    }
    resolver->n_alive--;
    list_append(&resolver->to_join, &worker->link);
    /* it may have been woken for work, and it may not be the only one too many */
    pthread_cond_signal(&resolver->work);
    pthread_cond_signal(&resolver->watch);
    pthread_cond_signal(&resolver->ended);
    pthread_mutex_unlock(&resolver->mutex);
    return NULL;
}

static int start_thread(pthread_t *ret_thread, void *(*run)(void *argument), void *argument)
{
    pthread_attr_t attributes;
    sigset_t all, before;

    /* signals are the control thread's business */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_attr_init(&attributes);
    (void)pthread_attr_setstacksize(&attributes, STACK_BYTES);
    int r = pthread_create(ret_thread, &attributes, run, argument);
    pthread_attr_destroy(&attributes);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return -r;
}

/* Under the mutex, which is let go meanwhile. */
static int start_worker(struct resolver *resolver)
{
    unsigned number = resolver->n_numbered++;
    pthread_t thread;

    resolver->n_alive++;
    pthread_mutex_unlock(&resolver->mutex);
    struct worker *worker = calloc(1, sizeof(*worker));
    int r = worker ? 0 : -ENOMEM;
    if (worker) {
        worker->resolver = resolver;
        worker->number = number;
        r = start_thread(&thread, run_worker, worker);
    }
    if (r)
        free(worker);
    pthread_mutex_lock(&resolver->mutex);
    if (r)
        resolver->n_alive--;
    return r;
}

/* ---- the thread that watches ---- */

/* Under the mutex, which is let go meanwhile. Returns false when there is none. */
static bool join_one(struct resolver *resolver)
{
    struct list *link = list_pop(&resolver->to_join);
    if (!link)
        return false;
    struct worker *worker = container_of(link, struct worker, link);
    pthread_mutex_unlock(&resolver->mutex);
    pthread_join(worker->thread, NULL);
    free(worker);
    pthread_mutex_lock(&resolver->mutex);
    return true;
}

/* Under the mutex, which is let go meanwhile. Once for each time that it comes to this. */
static void tell(struct resolver *resolver, bool *told, bool is_so, const char *what)
{
    if (is_so && !*told) {
        unsigned n_slow = count_slow(resolver), n_alive = resolver->n_alive;
        pthread_mutex_unlock(&resolver->mutex);
        log_warning("resolver: %u of %u threads wait for answers, and %s; do the name servers "
                    "answer?",
                    n_slow, n_alive, what);
        pthread_mutex_lock(&resolver->mutex);
    }
    *told = is_so;
}

static void watcher_sleep(struct resolver *resolver, int64_t until_us)
{
    resolver->watcher_sleeps = until_us == INT64_MAX;
    if (resolver->watcher_sleeps) {
        pthread_cond_wait(&resolver->watch, &resolver->mutex);
    } else {
        struct timespec until = timespec_of(until_us);
        (void)pthread_cond_timedwait(&resolver->watch, &resolver->mutex, &until);
    }
    resolver->watcher_sleeps = false;
}

/* One look at the pool, one thing done about it. Returns when to look again: 0 means at once. */
static int64_t watch(struct resolver *resolver, int64_t *retry_us)
{
    int64_t now_us = loop_clock_us();

    if (join_one(resolver))
        return 0;
    unsigned n_slow = count_slow(resolver), n_free = count_free(resolver);
    size_t n_ready = table_n_ready(&resolver->table);
    bool enough = n_ready <= n_free;
    bool all = resolver->n_alive >= resolver->policy.n_threads_max;
    if (now_us >= *retry_us &&
        resolver_policy_start(&resolver->policy, resolver->n_alive, n_free, n_slow,
                              n_ready > UINT_MAX ? UINT_MAX : (unsigned)n_ready)) {
        int r = start_worker(resolver);
        *retry_us = r ? now_us + RETRY_US : 0;
        tell(resolver, &resolver->told_failed, r, "more cannot be started");
        return 0;
    }
    tell(resolver, &resolver->told_full, !enough && all && n_slow == resolver->n_alive,
         "more are not allowed (threads.resolver_max)");
    bool held = resolver->table.n[TABLE_HELD] > 0, news = held && !resolver->told_held;
    tell(resolver, &resolver->told_held, held,
         "a user's other names must wait: the rest of threads.resolver_max is for others");
    if (enough && !news)
        return INT64_MAX;
    if (news)
        return 0;
    int64_t until_us = table_next_slow_us(&resolver->table);
    return !all && now_us < *retry_us && *retry_us < until_us ? *retry_us : until_us;
}

/* Under the mutex, which is let go meanwhile. Returns false when there is none. */
static bool deliver_visit(struct resolver *resolver)
{
    struct mail *mail = resolver->visit;

    if (!mail)
        return false;
    resolver->visit = NULL;
    pthread_mutex_unlock(&resolver->mutex);
    mail->deliver(mail);
    pthread_mutex_lock(&resolver->mutex);
    return true;
}

void resolver_visit(struct resolver *resolver, struct mail *mail)
{
    pthread_mutex_lock(&resolver->mutex);
    bool stopping = resolver->stopping;
    ASSERT(!resolver->visit);
    if (!stopping) {
        resolver->visit = mail;
        pthread_cond_signal(&resolver->watch);
    }
    pthread_mutex_unlock(&resolver->mutex);
    if (stopping)
        mail->deliver(mail);
}

static void *run_watcher(void *argument)
{
    struct resolver *resolver = argument;
    int64_t retry_us = 0;

    pthread_setname_np(pthread_self(), "resolver");
    pthread_mutex_lock(&resolver->mutex);
    while (!resolver->stopping) {
        int64_t until_us = watch(resolver, &retry_us);
        if (deliver_visit(resolver))
            continue;
        if (until_us && !resolver->stopping)
            watcher_sleep(resolver, until_us);
    }
    (void)deliver_visit(resolver);
    pthread_mutex_unlock(&resolver->mutex);
    return NULL;
}

/* ---- begin and end ---- */

int resolver_pool_start(struct resolver *resolver)
{
    int r = start_thread(&resolver->watcher, run_watcher, resolver);
    resolver->has_watcher = r == 0;
    pthread_mutex_lock(&resolver->mutex);
    for (unsigned i = 0; r == 0 && i < resolver->policy.n_threads; i++)
        r = start_worker(resolver);
    pthread_mutex_unlock(&resolver->mutex);
    return r;
}

void resolver_pool_wake(struct resolver *resolver)
{
    pthread_cond_signal(&resolver->work);
    wake_watcher(resolver);
}

bool resolver_pool_end(struct resolver *resolver, unsigned wait_ms)
{
    struct timespec until = timespec_of(loop_clock_us() + (int64_t)wait_ms * 1000);

    if (resolver->has_watcher)
        pthread_join(resolver->watcher, NULL);
    pthread_mutex_lock(&resolver->mutex);
    ASSERT(resolver->stopping);
    while (resolver->n_alive > 0)
        if (pthread_cond_timedwait(&resolver->ended, &resolver->mutex, &until) == ETIMEDOUT)
            break;
    while (resolver->n_posting > 0)
        pthread_cond_wait(&resolver->ended, &resolver->mutex);
    bool all_ended = resolver->n_alive == 0;
    while (all_ended && join_one(resolver))
        ;
    pthread_mutex_unlock(&resolver->mutex);
    return all_ended;
}
