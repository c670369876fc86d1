/*
 * call: one method, or lines of requests passed through.
 */
#include <stdlib.h>
#include <string.h>

#include "cli/join.h"
#include "cli/params.h"
#include "cli/pass.h"
#include "cli/talk.h"
#include "cli/verbs.h"
#include "lib/call.h"

/* What was typed is what is sent: without thread=… it speaks for the session's unnamed thread, and
 * so does the next command in a session that they share. */
static int call(struct cli *cli, const char *method, const char *params)
{
    struct tcpb *broker = NULL;
    struct tcpb_reply *reply = NULL;
    struct tcpb_error error;
    int status = join_open(cli, true, &broker);
    if (status == EXIT_OK && call_exchange(broker, method, params, false, &reply, &error))
        status = talk_error(cli, &error, NULL);
    if (status == EXIT_OK && tcpb_reply_failed(reply, &error))
        status = talk_error(cli, &error, tcpb_reply_json(reply));
    if (status == EXIT_OK)
        puts(tcpb_reply_json(reply));
    tcpb_reply_free(reply);
    tcpb_close(broker);
    return status;
}

static int run(struct cli *cli)
{
    const char *name = cli->words[0], *json = cli_value(cli, &verb_call, "json");
    char *params = NULL;
    if (strcmp(name, "-") == 0) {
        if (json || cli->n_words > 1)
            return talk_usage(
                "call", "\"call -\" takes whole requests from standard input and nothing else");
        return pass_lines(cli);
    }
    enum method method = method_by_name(name);
    if (method == METHOD_UNKNOWN) {
        const char *near = method_nearest(name);
        return talk_usage("call", "there is no method %s%s%s%s", name,
                          near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
    }
    if (json && cli->n_words > 1)
        return talk_usage("call", "give the parameters either by --json or as name=value");
    int r = json ? params_check_json(method, json)
                 : params_from_words(method, cli->words + 1, cli->n_words - 1, &params);
    if (r)
        return r;
    r = call(cli, name, json ? json : params);
    free(params);
    return r;
}

static const struct cli_option options[] = {
    {"json", "PARAMS",
     "the parameters as a JSON object or array (after the verb; before it --json is for output)",
     0},
    {0},
};

const struct cli_verb verb_call = {
    .name = "call",
    .arguments = "METHOD [NAME=VALUE… | --json PARAMS] | -",
    .summary = "call a method and print its result as JSON",
    .details =
        "NAME=VALUE is typed by the method's table: true/false/yes/no, integers, lists at "
        "their commas, else\n"
        "strings; NAME:=JSON gives any value. \"tcpbroker help METHOD\" tells the names.\n"
        "With - whole JSON-RPC requests are read from standard input, one a line, over one "
        "connection, and\n"
        "the answers printed as they come.\n"
        "A socket lives as long as the connection to the broker, which is that of this "
        "command, unless\n"
        "$TCPBROKER_SESSION names a session (tcpbroker session open): then the next call can "
        "use it.",
    .options = options,
    .min_words = 1,
    .max_words = 64,
    .run = run,
};
