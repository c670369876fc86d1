/*
 * session: a durable session for the commands of a script: open prints its token, close ends it.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/duration.h"
#include "cli/join.h"
#include "cli/talk.h"
#include "cli/verbs.h"
#include "proto/methods.h"

static const char default_lease[] = "10m";

/* It may hold a token, so what does not fit is not quoted. */
static int print_token(struct tcpb_reply *reply)
{
    const struct tcpb_session_open_result *result = tcpb_reply_result(reply);
    if (result) {
        puts(result->token);
        return EXIT_OK;
    }
    talk("the broker's answer is not of this version");
    return EXIT_ERROR;
}

/* Ask, and print the answer: with --json all of it, else by print (NULL: nothing). */
static int ask(struct cli *cli, struct tcpb *broker, const char *method, const char *params,
               int (*print)(struct tcpb_reply *reply))
{
    struct tcpb_reply *reply = NULL;
    struct tcpb_error error;
    int status = EXIT_OK;
    if (tcpb_exchange(broker, method, params, &reply, &error)) {
        status = talk_error(cli, &error, NULL);
    } else if (tcpb_reply_failed(reply, &error)) {
        status = talk_error(cli, &error, tcpb_reply_json(reply));
    } else if (cli->json) {
        puts(tcpb_reply_json(reply));
    } else if (print) {
        status = print(reply);
    }
    tcpb_reply_free(reply);
    return status;
}

static int open_session(struct cli *cli)
{
    const struct field *field = &method_infos[METHOD_SESSION_OPEN].params->fields[0];
    const char *lease = cli_value(cli, &verb_session, "lease");
    struct tcpb *broker = NULL;
    struct tcpb_error error;
    char params[64], range[64];
    int64_t ms;
    if (!duration_parse(lease ? lease : default_lease, &ms) || ms < field->min || ms > field->max) {
        field_describe(field, range, sizeof(range));
        return talk_usage("session",
                          "--lease must be a time like 10m, 90s, 500ms or 1h (%s), not "
                          "\"%s\"",
                          range, lease);
    }
    snprintf(params, sizeof(params), "{\"%s\":%" PRId64 "}", field->name, ms);
    int status = tcpb_open(&broker, cli->socket, &error)
                     ? talk_error(cli, &error, NULL)
                     : ask(cli, broker, "Session.Open", params, print_token);
    tcpb_close(broker);
    return status;
}

static int close_session(struct cli *cli)
{
    struct tcpb *broker = NULL;
    struct tcpb_error error;
    int status;
    if (cli_value(cli, &verb_session, "lease"))
        return talk_usage("session", "--lease is for session open");
    if (!join_token())
        return talk_usage("session", "there is no session to close: set TCPBROKER_SESSION to what "
                                     "\"tcpbroker session open\" printed");
    if (tcpb_open(&broker, cli->socket, &error))
        return talk_error(cli, &error, NULL);
    status = join_session(cli, broker);
    if (status == EXIT_OK)
        status = ask(cli, broker, "Session.Close", NULL, NULL);
    tcpb_close(broker);
    return status;
}

static int run(struct cli *cli)
{
    if (strcmp(cli->words[0], "open") == 0)
        return open_session(cli);
    if (strcmp(cli->words[0], "close") == 0)
        return close_session(cli);
    return talk_usage("session", "there is no \"session %s\", only session open and session close",
                      cli->words[0]);
}

static const struct cli_option options[] = {
    {"lease", "TIME",
     "open: how long it lives while no command uses it: 500ms, 90s, 10m, 1h (default 10m)", 0},
    {0},
};

const struct cli_verb verb_session = {
    .name = "session",
    .arguments = "open | close",
    .summary = "open or close a session that several commands share",
    .details =
        "open prints a token. In $TCPBROKER_SESSION it lets \"tcpbroker call\" and \"tcpbroker "
        "ls\" of the same user\n"
        "belong to that session, whose sockets outlive the commands:\n"
        "    export TCPBROKER_SESSION=$(tcpbroker session open)\n"
        "close ends the session of $TCPBROKER_SESSION and closes its sockets.",
    .options = options,
    .min_words = 1,
    .max_words = 1,
    .run = run,
};
