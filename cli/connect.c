/*
 * connect: standard input and output joined to a connection, as nc does it.
 *
 * Two threads over one broker connection: the main thread reads standard input and sends, the other
 * receives and writes standard output. Each has one request in flight, which is the back pressure:
 * who does not read is not sent to. Both name the same label as thread, as the socket belongs to
 * one. Bytes travel as base64, so any will do.
 *
 * The end: our input's end becomes the half close (option 1); when sending fails, receiving goes on
 * to its end all the same. The peer's end, or a failure of receiving or of standard output, ends
 * the process wherever the other thread stands: the connection to the broker ends with it, and the
 * socket.
 */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/talk.h"
#include "cli/verbs.h"
#include "proto/methods.h"

enum { CHUNK = 65536 };

struct join {
    const struct cli *cli;
    struct tcpb *broker;
    int64_t socket;
    struct tcpb_thread label;
    pthread_mutex_t lock; /* who ends the process first, ends it alone */
    atomic_int send_status;
};

_Noreturn static void end(struct join *join, int status)
{
    pthread_mutex_lock(&join->lock);
    _exit(talk_finish(status));
}

_Noreturn static void end_error(struct join *join, const struct tcpb_error *error)
{
    pthread_mutex_lock(&join->lock);
    _exit(talk_finish(talk_error(join->cli, error, NULL)));
}

static bool write_all(const char *data, size_t n)
{
    while (n > 0) {
        ssize_t done = write(STDOUT_FILENO, data, n);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return false;
        data += done;
        n -= (size_t)done;
    }
    return true;
}

/* End sending for good: nothing is left in flight, so complete the close and report its failure. */
static void close_orderly(struct join *join)
{
    struct tcpb_tcp_close_params params = {
        .socket = join->socket, .has_thread = true, .thread = join->label};
    struct tcpb_error error;
    (void)tcpb_tcp_close(join->broker, &params, NULL, NULL,
                         &error); /* BUSY when a send still waits: aborted then */
}

static void *receive(void *userdata)
{
    struct join *join = userdata;
    struct tcpb_tcp_receive_params params = {.socket = join->socket,
                                             .has_max_bytes = true,
                                             .max_bytes = CHUNK,
                                             .has_encoding = true,
                                             .encoding = 1, /* base64 */
                                             .has_thread = true,
                                             .thread = join->label};
    for (;;) {
        struct tcpb_reply *reply = NULL;
        const struct tcpb_tcp_receive_result *result;
        struct tcpb_error error;
        if (tcpb_tcp_receive(join->broker, &params, &reply, &result, &error))
            end_error(join, &error);
        if (result->has_data_base64 &&
            !write_all(result->data_base64.data, result->data_base64.n_bytes)) {
            if (errno != EPIPE)
                talk("cannot write to standard output: %s", strerrordesc_np(errno));
            end(join, EXIT_ERROR);
        }
        bool closed = result->received == 0 && result->has_closed && result->closed;
        tcpb_reply_free(reply);
        if (closed) {
            close_orderly(join);
            end(join, atomic_load(&join->send_status));
        }
    }
}

static int send_input(struct join *join, struct tcpb_error *error)
{
    static char data[CHUNK];
    for (;;) {
        ssize_t n = read(STDIN_FILENO, data, sizeof(data));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            talk("cannot read standard input: %s", strerrordesc_np(errno));
        if (n <= 0)
            break;
        struct tcpb_tcp_send_params params = {.socket = join->socket,
                                              .has_data_base64 = true,
                                              .data_base64 = {data, (size_t)n},
                                              .has_thread = true,
                                              .thread = join->label};
        int r = tcpb_tcp_send(join->broker, &params, NULL, NULL, error);
        if (r)
            return r;
    }
    struct tcpb_tcp_close_params params = {.socket = join->socket,
                                           .has_option = true,
                                           .option = 1,
                                           .has_thread = true,
                                           .thread = join->label};
    int r = tcpb_tcp_close(join->broker, &params, NULL, NULL, error);
    /* TLS 1.2 has no half close: the peer must know by itself when it has heard enough */
    return r == TCPB_E_TLS_NO_PARTIAL_CLOSE ? 0 : r;
}

static void tell_facts(const struct tcpb_tcp_connect_result *result)
{
    talk("connected to %s port %" PRId64 " from %s port %" PRId64 " (resolve %" PRId64
         " us, connect %" PRId64 " us, handshake %" PRId64 " us)",
         result->remote_address, result->remote_port, result->local_address, result->local_port,
         result->timing_us.resolve, result->timing_us.connect, result->timing_us.handshake);
    if (!result->has_tls)
        return;
    talk("%s, %s, %s%s", result->tls.version, result->tls.cipher,
         result->tls.verified ? "certificate verified" : "certificate NOT verified",
         result->tls.resumed ? ", session resumed" : "");
    if (result->tls.has_peer)
        talk("subject %s, issuer %s, valid until %s", result->tls.peer.subject,
             result->tls.peer.issuer, result->tls.peer.not_after);
}

static int read_params(const struct cli *cli, struct tcpb_tcp_connect_params *params)
{
    const char *timeout = cli_value(cli, &verb_connect, "timeout");
    const char *server_name = cli_value(cli, &verb_connect, "server-name");
    const char *profile = cli_value(cli, &verb_connect, "profile");
    const char *identity = cli_value(cli, &verb_connect, "identity");
    *params = (struct tcpb_tcp_connect_params){
        .hostname = cli->words[0],
        .port = cli->words[1],
        .has_secure = true,
        .secure = cli_value(cli, &verb_connect, "tls") != NULL,
        .has_verify = true,
        .verify = cli_value(cli, &verb_connect, "no-verify") == NULL,
        .has_server_name = server_name != NULL,
        .server_name = server_name,
        .has_profile = profile != NULL,
        .profile = profile,
        .has_identity = identity != NULL,
        .identity = identity,
    };
    if (!params->secure && (!params->verify || server_name || profile || identity))
        return talk_usage("connect",
                          "--no-verify, --server-name, --profile and --identity need --tls");
    if (timeout) {
        char *end_of_number;
        double seconds = strtod(timeout, &end_of_number);
        if (end_of_number == timeout || *end_of_number || !(seconds >= 0 && seconds <= 86400))
            return talk_usage("connect", "--timeout must be 0 to 86400 seconds, not \"%s\"",
                              timeout);
        params->has_timeout_ms = true;
        params->timeout_ms = (int64_t)(seconds * 1000 + 0.5);
    }
    return 0;
}

static int run(struct cli *cli)
{
    static struct join join = {.lock = PTHREAD_MUTEX_INITIALIZER};
    struct tcpb_tcp_connect_params params;
    const struct tcpb_tcp_connect_result *result;
    struct tcpb_reply *reply = NULL;
    struct tcpb_error error;
    pthread_t receiver;
    int r = read_params(cli, &params);
    if (r)
        return r;
    join.cli = cli;
    join.label.text = tcpb_thread_label();
    params.has_thread = true;
    params.thread = join.label;
    if (tcpb_open(&join.broker, cli->socket, &error))
        return talk_error(cli, &error, NULL);
    if (tcpb_tcp_connect(join.broker, &params, &reply, &result, &error)) {
        int status = talk_error(cli, &error, NULL);
        tcpb_close(join.broker);
        return status;
    }
    join.socket = result->socket;
    if (cli->json)
        fprintf(stderr, "%s\n", tcpb_reply_json(reply));
    else if (cli_value(cli, &verb_connect, "verbose"))
        tell_facts(result);
    tcpb_reply_free(reply);
    r = pthread_create(&receiver, NULL, receive, &join);
    if (r) {
        talk("cannot make a thread: %s", strerrordesc_np(r));
        return EXIT_ERROR;
    }
    /* what the peer said before it broke off is still to be printed; receiving ends by itself then
     */
    if (send_input(&join, &error))
        atomic_store(&join.send_status, talk_error(cli, &error, NULL));
    pthread_join(receiver, NULL); /* it ends the process */
    return EXIT_OK;
}

static const struct cli_option options[] = {
    {"tls", NULL, "TLS, certificate and name verified", 0},
    {"no-verify", NULL, "TLS with whoever answers: encrypted, but nobody knows with whom", 0},
    {"server-name", "NAME", "name for SNI and verification instead of HOST", 0},
    {"profile", "NAME", "whom to trust: the section [tls \"NAME\"] of the broker's configuration",
     0},
    {"identity", "NAME", "the client certificate to show: its section [identity \"NAME\"]", 0},
    {"timeout", "SECONDS", "deadline for look-up, connect and handshake together", 0},
    {"verbose", NULL, "tell on standard error what was connected to", 'v'},
    {0},
};

const struct cli_verb verb_connect = {
    .name = "connect",
    .arguments = "HOST PORT",
    .summary = "join standard input and output to a connection",
    .details = "At the end of the input the sending side is closed and receiving goes on; the end "
               "is that of the peer. With\n"
               "--json the facts of the connection are printed as JSON on standard error.",
    .options = options,
    .min_words = 2,
    .max_words = 2,
    .run = run,
};
