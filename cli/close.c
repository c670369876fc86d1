/*
 * close: any sockets of anybody, for administrators.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/listing.h"
#include "cli/talk.h"
#include "cli/verbs.h"

static int64_t number_now; /* the one that print() is about */

static void print(const struct cli *cli, const void *result)
{
    const struct tcpb_broker_close_result *closed = result;
    (void)cli;
    printf("socket %" PRId64 " is %s; it was that of session %" PRId64 " uid %" PRId64
           " pid %" PRId64 "\n",
           number_now, closed->closing ? "closing, and gone when its peer ends" : "closed",
           closed->session, closed->uid, closed->pid);
}

static int read_number(const char *text, int64_t *ret_number)
{
    char *end;
    long long number = strtoll(text, &end, 10);
    if (*end || *text < '0' || *text > '9' || number < 1 || number > INT32_MAX)
        return talk_usage("close", "\"%s\" is no socket's number (tcpbroker ls)", text);
    *ret_number = number;
    return EXIT_OK;
}

static int run(struct cli *cli)
{
    bool abort_it = cli_value(cli, &verb_close, "abort") != NULL;
    struct tcpb *broker = NULL;
    struct tcpb_error error;
    char params[64];
    int64_t number;
    int status = EXIT_OK;

    for (size_t i = 0; i < cli->n_words && status == EXIT_OK; i++)
        status = read_number(cli->words[i], &number);
    if (status)
        return status;
    if (tcpb_open(&broker, cli->socket, &error))
        return talk_error(cli, &error, NULL);
    for (size_t i = 0; i < cli->n_words; i++) {
        (void)read_number(cli->words[i], &number_now);
        snprintf(params, sizeof(params), "{\"socket\":%" PRId64 ",\"option\":%d}", number_now,
                 abort_it ? 2 : 0);
        int each = listing_ask(cli, broker, "Broker.Close", params, print);
        if (status == EXIT_OK)
            status = each;
    }
    tcpb_close(broker);
    return status;
}

static const struct cli_option options[] = {
    {"abort", NULL, "drop what was not sent yet, and reset the connection", 0},
    {0},
};

const struct cli_verb verb_close = {
    .name = "close",
    .arguments = "NUMBER…",
    .summary = "close sockets, whoever they belong to",
    .details = "For root, the broker's own user and members of its admin.group. \"tcpbroker ls "
               "--all\" tells the numbers.\n"
               "What the owner has running on such a socket ends with ECONNABORTED; what he has "
               "sent is still sent, unless\n"
               "--abort is given. The exit status is that of the first that could not be closed.",
    .options = options,
    .min_words = 1,
    .max_words = 1024,
    .run = run,
};
