/*
 * reload: configuration and certificates read again. The exit status is 0 only when the new ones
 * are in force.
 */
#include "cli/listing.h"
#include "cli/verbs.h"

static void print(const struct cli *cli, const void *result)
{
    const struct tcpb_broker_reload_result *reload = result;
    (void)cli;
    printf("reloaded:");
    for (size_t i = 0; i < reload->reloaded.n_items; i++)
        printf("%s %s", i ? "," : "", reload->reloaded.items[i]);
    printf("%s\n", reload->restart_needed ? " (some of what has changed needs a restart)" : "");
}

static int run(struct cli *cli)
{
    return listing(cli, "Broker.Reload", LISTING_OWN, print);
}

const struct cli_verb verb_reload = {
    .name = "reload",
    .arguments = "",
    .summary = "read configuration and certificates again",
    .details = "For root, the broker's own user and members of its admin.group. When anything is "
               "wrong with the new\n"
               "state, nothing changes, the error is told, and the exit status is not 0.",
    .run = run,
};
