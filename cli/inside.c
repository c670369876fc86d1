/*
 * inside: tunnel ls and pool ls: what the broker has beside sockets.
 */
#include <inttypes.h>
#include <string.h>

#include "cli/listing.h"
#include "cli/talk.h"
#include "cli/verbs.h"

static const char *tls_text(bool secure, bool verify)
{
    return !secure ? "-" : verify ? "verified" : "UNVERIFIED";
}

static void print_doors(const struct cli *cli, const void *result)
{
    const struct tcpb_broker_doors_result *doors = result;
    const struct tcpb_door_row *row = doors->doors.items;
    char name[96], listen[128], to[300];

    if (!cli_value(cli, &verb_tunnel, "no-header"))
        printf("%-20s %-10s %8s %10s %8s  %s\n", "DOOR", "TLS", "NOW", "TOTAL", "FAILED",
               "LISTEN -> TO");
    for (size_t i = 0; i < doors->doors.n_items; i++, row++) {
        snprintf(name, sizeof(name), "%s", row->name);
        if (strchr(name, ' '))
            *strchr(name, ' ') = ':';
        snprintf(listen, sizeof(listen), "%s", row->listen);
        if (row->has_hostname)
            snprintf(to, sizeof(to), "%s %" PRId64, row->hostname, row->port);
        else
            snprintf(to, sizeof(to), "(wherever it is told)");
        talk_clean(name);
        talk_clean(listen);
        talk_clean(to);
        printf("%-20s %-10s %8" PRId64 " %10" PRId64 " %8" PRId64 "  %s -> %s\n", name,
               tls_text(row->secure, row->verify), row->connections, row->connections_total,
               row->failed, listen, to);
    }
}

static void print_pools(const struct cli *cli, const void *result)
{
    const struct tcpb_broker_pools_result *pools = result;
    const struct tcpb_pool_row *row = pools->pools.items;
    char name[80], to[300], refill[32];

    if (!cli_value(cli, &verb_pool, "no-header"))
        printf("%-16s %-8s %-10s %6s %9s %10s %10s %10s %8s  %s\n", "POOL", "STATE", "TLS", "IDLE",
               "MIN-MAX", "TAKEN", "MISSED", "STALE", "REFILL", "TO");
    for (size_t i = 0; i < pools->pools.n_items; i++, row++) {
        char range[32];
        snprintf(name, sizeof(name), "%s", row->name);
        snprintf(to, sizeof(to), "%s %" PRId64, row->hostname, row->port);
        snprintf(range, sizeof(range), "%" PRId64 "-%" PRId64, row->min_idle, row->max_idle);
        if (row->has_refill_ms)
            snprintf(refill, sizeof(refill), "%" PRId64 "ms", row->refill_ms);
        else
            snprintf(refill, sizeof(refill), "-");
        talk_clean(name);
        talk_clean(to);
        printf("%-16s %-8s %-10s %6" PRId64 " %9s %10" PRId64 " %10" PRId64 " %10" PRId64
               " %8s  %s\n",
               name, row->state, tls_text(row->secure, row->verify), row->idle, range, row->taken,
               row->missed, row->stale, refill, to);
    }
}

static int list(struct cli *cli, const char *verb, const char *method,
                void (*print)(const struct cli *cli, const void *result))
{
    if (strcmp(cli->words[0], "ls") != 0)
        return talk_usage(verb, "there is no \"%s %s\", only %s ls", verb, cli->words[0], verb);
    return listing(cli, method, LISTING_OWN, print);
}

static int run_tunnel(struct cli *cli)
{
    return list(cli, "tunnel", "Broker.Doors", print_doors);
}

static int run_pool(struct cli *cli)
{
    return list(cli, "pool", "Broker.Pools", print_pools);
}

static const struct cli_option options[] = {
    {"no-header", NULL, "leave out the line with the names of the columns", 0},
    {0},
};

const struct cli_verb verb_tunnel = {
    .name = "tunnel",
    .arguments = "ls",
    .summary = "list the tunnels and the SOCKS doors, and how much they are used",
    .details = "For root, the broker's own user and members of its admin.group.",
    .options = options,
    .min_words = 1,
    .max_words = 1,
    .run = run_tunnel,
};

const struct cli_verb verb_pool = {
    .name = "pool",
    .arguments = "ls",
    .summary = "list the pools of connections made ahead",
    .details = "For root, the broker's own user and members of its admin.group. The counts are "
               "since the last reload.",
    .options = options,
    .min_words = 1,
    .max_words = 1,
    .run = run_pool,
};
