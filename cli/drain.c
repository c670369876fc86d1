/*
 * drain: have the broker begin nothing new, and stop when the last socket is closed.
 */
#include <inttypes.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/duration.h"
#include "cli/listing.h"
#include "cli/talk.h"
#include "cli/verbs.h"
#include "proto/methods.h"

enum { LOOK_MS = 200 };

static void print(const struct cli *cli, const void *result)
{
    const struct tcpb_broker_drain_result *drain = result;
    (void)cli;
    if (drain->draining)
        printf("draining: %" PRId64 " sockets left\n", drain->sockets);
    else
        printf("not draining: %" PRId64 " sockets\n", drain->sockets);
    fflush(stdout);
}

static int read_options(const struct cli *cli, char *params, size_t n_params)
{
    const struct field *field = &method_infos[METHOD_BROKER_DRAIN].params->fields[0];
    const char *timeout = cli_value(cli, &verb_drain, "timeout");
    bool resume = cli_value(cli, &verb_drain, "resume") != NULL,
         stay = cli_value(cli, &verb_drain, "no-stop") != NULL;
    int64_t ms = 0;

    if (resume && (timeout || stay || cli_value(cli, &verb_drain, "wait")))
        return talk_usage("drain", "--resume goes with no other option");
    if (timeout && stay)
        return talk_usage("drain", "--timeout is until the broker stops; --no-stop: it does not");
    if (timeout && (!duration_parse(timeout, &ms) || ms < field->min || ms > field->max))
        return talk_usage("drain", "--timeout must be a time like 10m, 90s or 1h, not \"%s\"",
                          timeout);
    if (timeout)
        snprintf(params, n_params, "{\"%s\":%" PRId64 "}", field->name, ms);
    else
        snprintf(params, n_params, "{\"%s\":%s}", resume ? "off" : "stop",
                 resume || !stay ? "true" : "false");
    return EXIT_OK;
}

/* One look: how many sockets there are; -1: the broker has stopped; -2: told. */
static int64_t look(struct cli *cli, struct tcpb *broker, bool *ret_draining)
{
    const struct tcpb_broker_stats_result *stats;
    struct tcpb_reply *reply = NULL;
    struct tcpb_error error;
    int64_t n = -2;
    int r = tcpb_call(broker, "Broker.Stats", NULL, &reply, &error);

    if (r == TCPB_LOCAL_LOST) {
        n = -1;
    } else if (r) {
        (void)talk_error(cli, &error, NULL);
    } else if ((stats = tcpb_reply_result(reply))) {
        n = stats->sockets;
        *ret_draining = stats->draining > 0;
    }
    tcpb_reply_free(reply);
    return n;
}

/* The stop closes the connection; a broker that shall not stop has done its part with the last
 * socket. */
static int wait_for_it(struct cli *cli, struct tcpb *broker, bool stops)
{
    const struct timespec pause = {.tv_nsec = LOOK_MS * 1000000L};
    bool terminal = isatty(STDERR_FILENO), draining = true;
    int64_t told = -1;

    for (;;) {
        int64_t n = look(cli, broker, &draining);
        if (n == -1 && !stops)
            talk("the broker has stopped");
        if (n < 0)
            return n == -1 && stops ? EXIT_OK : EXIT_ERROR;
        if (!draining) {
            talk("somebody has ended the draining");
            return EXIT_ERROR;
        }
        if (n == 0 && !stops)
            return EXIT_OK;
        if (terminal && n != told)
            talk("%" PRId64 " sockets left", n);
        told = n;
        (void)nanosleep(&pause, NULL);
    }
}

static int run(struct cli *cli)
{
    char params[96];
    struct tcpb *broker = NULL;
    struct tcpb_error error;
    int status = read_options(cli, params, sizeof(params));

    if (status)
        return status;
    if (tcpb_open(&broker, cli->socket, &error))
        return talk_error(cli, &error, NULL);
    status = listing_ask(cli, broker, "Broker.Drain", params, print);
    if (status == EXIT_OK && cli_value(cli, &verb_drain, "wait"))
        status = wait_for_it(cli, broker, !cli_value(cli, &verb_drain, "no-stop"));
    tcpb_close(broker);
    return status;
}

static const struct cli_option options[] = {
    {"timeout", "TIME", "stop after that time, whatever is open then: 90s, 10m, 1h", 0},
    {"wait", NULL, "return when it is done, not at once", 0},
    {"no-stop", NULL, "do not stop with the last socket, stay so", 0},
    {"resume", NULL, "end it: all goes on as before", 0},
    {0},
};

const struct cli_verb verb_drain = {
    .name = "drain",
    .arguments = "",
    .summary = "let no new sockets in, and stop the broker with the last one",
    .details = "For root, the broker's own user and members of its admin.group. What there is "
               "works on until its owners\n"
               "close it; who asks for something new is told that the broker shuts down. Under "
               "systemd the next client\n"
               "starts it again, unless the socket unit was stopped before: systemctl stop "
               "tcpbroker.socket.",
    .options = options,
    .run = run,
};
