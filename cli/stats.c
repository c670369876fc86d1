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

static void print_metrics(const struct cli *cli, const void *result)
{
    const struct tcpb_broker_metrics_result *metrics = result;
    (void)cli;
    fputs(metrics->text, stdout);
}

static int run(struct cli *cli)
{
    if (!cli_value(cli, &verb_stats, "prometheus"))
        return listing(cli, "Broker.Stats", LISTING_OWN, print);
    return listing(cli, "Broker.Metrics", LISTING_OWN, print_metrics);
}

static const struct cli_option options[] = {
    {"prometheus", NULL, "as Prometheus reads it, with histograms; for a textfile collector", 0},
    {0},
};

const struct cli_verb verb_stats = {
    .name = "stats",
    .arguments = "",
    .summary = "print the broker's counters and gauges",
    .options = options,
    .run = run,
};
