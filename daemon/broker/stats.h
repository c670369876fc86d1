#pragma once
/*
 * stats: the daemon's counters and gauges, expanded from proto/stats.def. Relaxed atomics: exact in
 * sum, not a snapshot.
 *
 * Threads: any.
 */
#include <stdatomic.h>
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
