#pragma once
/*
 * metrics_internal: what is not simply a counter: metrics_collect.c for the broker,
 * metrics_process.c for the process. One function for each COLLECT() of metrics.def.
 *
 * Threads: as metrics.h.
 */
#include "broker/exposition.h"
#include "rpc/settings.h"

/* The samples of a family go to writer under that name. */
struct metrics_family {
    struct writer *writer;
    const char *name;
    const struct rpc_shared *shared;
};

/* clang-format off */
#define METRIC(kind, name, labels, help)
#define SAMPLE(labels, stat)
#define COLLECT(what) void collect_##what(const struct metrics_family *family);
#define LEFT_OUT(stat, why)
#include "rpc/metrics.def"
/* clang-format on */
