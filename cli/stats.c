/*
 * stats: the daemon's counters and gauges.
 */
#include <inttypes.h>

#include "cli/listing.h"
#include "cli/verbs.h"

static void print(const struct cli *cli, const void *result)
{
    const struct tcpb_broker_stats_result *stats = result;
    (void)cli;
#define STAT(name, kind, doc) printf("%-27s %14" PRId64 "  %s\n", #name, stats->name, doc);
#include "proto/stats.def"
#undef STAT
}

static int run(struct cli *cli)
{
    return listing(cli, "Broker.Stats", LISTING_OWN, print);
}

const struct cli_verb verb_stats = {
    .name = "stats",
    .arguments = "",
    .summary = "print the broker's counters and gauges",
    .run = run,
};
