/*
 * log: how much the broker writes to its log.
 */
#include <string.h>

#include "cli/listing.h"
#include "cli/talk.h"
#include "cli/verbs.h"
#include "proto/methods.h"

static void print(const struct cli *cli, const void *result)
{
    const struct tcpb_broker_log_result *log = result;
    if (cli->n_words > 0)
        printf("log level %s until the next reload; it was %s\n", log->level, log->before);
    else
        printf("log level %s\n", log->level);
}

static int run(struct cli *cli)
{
    const struct field *field = &method_infos[METHOD_BROKER_LOG].params->fields[0];
    struct tcpb *broker = NULL;
    struct tcpb_error error;
    char params[64], words[128];

    if (cli->n_words > 0) {
        const char *level = cli->words[0], *found = strstr(field->extra, level);
        size_t n = strlen(level);
        if (n < 4 || strchr(level, '|') || !found || (found != field->extra && found[-1] != '|') ||
            (found[n] && found[n] != '|')) {
            field_describe(field, words, sizeof(words));
            return talk_usage("log", "the level is one of %s, not \"%s\"", words, level);
        }
        snprintf(params, sizeof(params), "{\"%s\":\"%s\"}", field->name, level);
    }
    if (tcpb_open(&broker, cli->socket, &error))
        return talk_error(cli, &error, NULL);
    int status = listing_ask(cli, broker, "Broker.Log", cli->n_words > 0 ? params : NULL, print);
    tcpb_close(broker);
    return status;
}

const struct cli_verb verb_log = {
    .name = "log",
    .arguments = "[error | warning | notice | info | debug]",
    .summary = "tell or set how much the broker logs, until its next reload",
    .details =
        "For root, the broker's own user and members of its admin.group. For good: log.level "
        "in tcpbroker.conf(5).",
    .max_words = 1,
    .run = run,
};
