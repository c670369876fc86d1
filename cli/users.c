/*
 * users: what each user has of the broker.
 */
#include <inttypes.h>

#include "cli/listing.h"
#include "cli/verbs.h"

static void print(const struct cli *cli, const void *result)
{
    const struct tcpb_broker_users_result *list = result;
    const struct tcpb_user_row *row = list->users.items;

    if (!cli_value(cli, &verb_users, "no-header"))
        printf("%-10s %8s %8s %8s %8s %12s %8s %6s %8s %12s %12s\n", "UID", "CLIENTS", "DOORS",
               "SOCKETS", "REQUESTS", "HELD", "LOOKUPS", "PINGS", "TOKENS", "CONNECTS", "REFUSED");
    for (size_t i = 0; i < list->users.n_items; i++, row++) {
        char uid[32];
        snprintf(uid, sizeof(uid), "%" PRId64, row->uid);
        printf("%-10s %8" PRId64 " %8" PRId64 " %8" PRId64 " %8" PRId64 " %12" PRId64 " %8" PRId64
               " %6" PRId64 " %8" PRId64 " %12" PRId64 " %12" PRId64 "\n",
               row->uid < 0 ? "tcp" : uid, row->clients, row->passages, row->sockets, row->requests,
               row->held_bytes, row->lookups, row->pings, row->tokens, row->connects, row->refused);
    }
}

static int run(struct cli *cli)
{
    return listing(cli, "Broker.Users", LISTING_OWN, print);
}

static const struct cli_option options[] = {
    {"no-header", NULL, "leave out the line with the names of the columns", 0},
    {0},
};

const struct cli_verb verb_users = {
    .name = "users",
    .arguments = "",
    .summary = "list what each user has of the broker",
    .details = "Administrators see all users, others themselves. tcp: all who came to a tunnel or "
               "SOCKS by TCP.",
    .options = options,
    .run = run,
};
