#include "rpc/metrics.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "broker/stats.h"
#include "rpc/metrics_internal.h"

/* One line of metrics.def. */
struct entry {
    const char *name, *kind, *help; /* METRIC */
    const char *labels;             /* SAMPLE: of stat */
    const _Atomic int64_t *stat;
    void (*collect)(const struct metrics_family *family); /* COLLECT */
};

#define KIND_COUNTER   "counter"
#define KIND_GAUGE     "gauge"
#define KIND_HISTOGRAM "histogram"

/* clang-format off */
static const struct entry entries[] = {
#define METRIC(kind_, name_, labels_, help_) {.name = (name_), .kind = KIND_##kind_, .help = (help_)},
#define SAMPLE(labels_, stat_)               {.labels = (labels_), .stat = &stats.stat_},
#define COLLECT(what_)                       {.collect = collect_##what_},
#define LEFT_OUT(stat_, why_)
#include "rpc/metrics.def"
};
/* clang-format on */

static void write_stat(struct writer *writer, const char *name, const struct entry *entry)
{
    char text[160];
    int n =
        snprintf(text, sizeof(text), *entry->labels ? "%s{%s} %lld\n" : "%s%s %lld\n", name,
                 entry->labels, (long long)atomic_load_explicit(entry->stat, memory_order_relaxed));

    ASSERT(n > 0 && (size_t)n < sizeof(text)); /* of the table's own length */
    writer_raw(writer, text, (size_t)n);
}

void metrics_write(struct writer *writer, const struct rpc_shared *shared)
{
    struct metrics_family family = {.writer = writer, .shared = shared};

    ASSERT_OWNER(shared->control);
    for (size_t i = 0; i < sizeof(entries) / sizeof(entries[0]); i++) {
        const struct entry *entry = &entries[i];
        if (entry->name) {
            family.name = entry->name;
            exposition_head(writer, entry->name, entry->kind, entry->help);
        } else if (entry->stat) {
            write_stat(writer, family.name, entry);
        } else {
            entry->collect(&family);
        }
    }
}
