#include "broker/stats.h"

#include <stddef.h>
#include <string.h>
#include "util/log.h"

struct stats stats;
atomic_bool stats_watched;

static void (*watcher)(void *context); /* constant once threads run */
static void *watcher_context;

void stats_watcher(void (*on_change)(void *context), void *context)
{
    watcher = on_change;
    watcher_context = context;
}

void stats_watch(void)
{
    atomic_store(&stats_watched, true);
}

void stats_unwatch(void)
{
    atomic_store(&stats_watched, false);
}

void stats_tell(void)
{
    if (atomic_exchange(&stats_watched, false))
        watcher(watcher_context);
}

void stats_count_refused(const char *limit)
{
    static const char before[] = "limits.", ours[] = "refused_";
    static const struct {
        const char *name;
        _Atomic int64_t *counter;
    } counters[] = {
#define STAT(name, kind, doc) {#name, &stats.name},
#include "proto/stats.def"
#undef STAT
    };

    for (size_t i = 0; i < sizeof(counters) / sizeof(counters[0]); i++)
        if (strncmp(counters[i].name, ours, sizeof(ours) - 1) == 0 &&
            strncmp(limit, before, sizeof(before) - 1) == 0 &&
            strcmp(counters[i].name + sizeof(ours) - 1, limit + sizeof(before) - 1) == 0)
            atomic_fetch_add_explicit(counters[i].counter, 1, memory_order_relaxed);
}

void stats_read(struct proto_broker_stats_result *ret_result)
{
    *ret_result = (struct proto_broker_stats_result){0};
#define STAT(name, kind, doc)                                                                      \
    ret_result->name = atomic_load_explicit(&stats.name, memory_order_relaxed);
#include "proto/stats.def"
#undef STAT
    ret_result->log_lost = (int64_t)log_lost();
}
