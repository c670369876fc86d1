#include "broker/stats.h"

#include "util/log.h"

struct stats stats;

void stats_read(struct proto_broker_stats_result *ret_result)
{
    *ret_result = (struct proto_broker_stats_result){0};
#define STAT(name, kind, doc)                                                                      \
    ret_result->name = atomic_load_explicit(&stats.name, memory_order_relaxed);
#include "proto/stats.def"
#undef STAT
    ret_result->log_lost = (int64_t)log_lost();
}
