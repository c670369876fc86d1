/*
 * version: of the command and, when there is one, of the daemon.
 */
#include "cli/talk.h"
#include "cli/verbs.h"

static int run(struct cli *cli)
{
    struct tcpb *broker = NULL;
    struct tcpb_reply *reply = NULL;
    const struct tcpb_broker_hello_result *hello = NULL;
    struct tcpb_error error;
    if (tcpb_open(&broker, cli->socket, &error) == 0)
        (void)tcpb_broker_hello(broker, NULL, &reply, &hello, &error);
    const char *daemon = hello ? hello->version : NULL;
    if (cli->json)
        printf("{\"version\":\"%s\",\"daemon\":%s%s%s}\n", tcpb_version(), daemon ? "\"" : "",
               daemon ? daemon : "null", daemon ? "\"" : "");
    else
        printf("tcpbroker %s\ndaemon    %s\n", tcpb_version(), daemon ? daemon : "not reached");
    tcpb_reply_free(reply);
    tcpb_close(broker);
    return EXIT_OK;
}

const struct cli_verb verb_version = {
    .name = "version",
    .arguments = "",
    .summary = "print the versions of this command and of the broker",
    .run = run,
};
