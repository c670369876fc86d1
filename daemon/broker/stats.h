#pragma once
/*
 * stats: the daemon's counters and gauges, expanded from proto/stats.def. Relaxed atomics: exact in
 * sum, not a snapshot.
 *
 * Threads: any, unless said otherwise.
 */
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "proto/methods.h"

struct stats {
#define STAT(name, kind, doc) _Atomic int64_t name;
#include "proto/stats.def"
#undef STAT
};

extern struct stats stats;

#define stats_add(name, n) atomic_fetch_add_explicit(&stats.name, (n), memory_order_relaxed)
#define stats_sub(name, n) atomic_fetch_sub_explicit(&stats.name, (n), memory_order_relaxed)
#define stats_count(name)  ((void)stats_add(name, 1))

/* A limit was reached: limits.NAME counts refused_NAME; fine when there is no such counter. */
void stats_count_refused(const char *limit);
/* All of them, as the result of Broker.Stats has them. uptime_ms is filled in by the caller. */
void stats_read(struct proto_broker_stats_result *ret_result);

/* Somebody wants to know when the figures have changed: once after each stats_watch(), on the
 * thread that calls stats_changed(). stats_watcher(): before the threads start. */
void stats_watcher(void (*on_change)(void *context), void *context);
void stats_watch(void);
void stats_unwatch(void);

extern atomic_bool stats_watched;
void stats_tell(void);

/* Clients, sockets or look-ups are more or fewer now: a load, when nobody asks. */
static inline void stats_changed(void)
{
    if (atomic_load(&stats_watched))
        stats_tell();
}
