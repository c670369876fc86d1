/*
 * connect: standard input and output joined to a connection, as nc does it.
 *
 * The connection is a descriptor (TCPAttach), so bytes of any kind go through as they are. Two
 * threads: the main thread reads standard input and sends, the other receives and writes standard
 * output. Each waits for the other side alone, which is the back pressure: who does not read is not
 * sent to.
 *
 * The end: our input's end becomes the half close; when sending fails, receiving goes on to its end
 * all the same. The peer's end, or a failure of receiving or of standard output, ends the process
 * wherever the other thread stands. What was sent is passed on by the kernel, or with TLS by the
 * broker, also when this process is gone.
 *
 * With TLS the descriptor cannot tell an end from a stream that was cut off: the broker is asked.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cli/talk.h"
#include "cli/target.h"
#include "cli/verbs.h"

enum { CHUNK = 65536 };

struct join {
    const struct cli *cli;
    struct tcpb *broker;
    int fd;
    int64_t socket; /* 0: the connection is ours alone */
    bool kernel;    /* … and the kernel encrypts (tls.ktls) */
    struct tcpb_thread label;
    pthread_mutex_t lock; /* who ends the process first, ends it alone */
    atomic_int send_errno;
};

_Noreturn static void end(struct join *join, int status)
{
    pthread_mutex_lock(&join->lock);
    _exit(talk_finish(status));
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

/* Was the stream cut off? Returns an exit status; EXIT_OK: no, or nobody knows. */
static int ask_why(const struct join *join)
{
    struct tcpb_tcp_receive_params params = {
        .socket = join->socket, .has_thread = true, .thread = join->label};
    struct tcpb_error error;

    if (join->socket == 0 || tcpb_tcp_receive(join->broker, &params, NULL, NULL, &error) == 0)
        return EXIT_OK;
    /* its number is gone, or we could still send; a broker that is gone leaves the worst to assume
     */
    if (error.code == TCPB_E_ENOTSOCK || error.code == TCPB_E_ATTACHED)
        return EXIT_OK;
    return talk_error(join->cli, &error, NULL);
}

/* Said like an error of the broker's. */
static int tell_errno(const struct join *join, const char *what, int sys_errno)
{
    struct tcpb_error error = {.code = sys_errno == ECONNRESET ? TCPB_E_ECONNRESET
                                                               : TCPB_E_ECONNABORTED,
                               .sys_errno = sys_errno,
                               .stage = "io",
                               .sent = -1};
    snprintf(error.symbol, sizeof(error.symbol), "%s", strerrorname_np(sys_errno));
    snprintf(error.message, sizeof(error.message), "%s: %s", what, strerrordesc_np(sys_errno));
    return talk_error(join->cli, &error, NULL);
}

/* The peer has ended, or (sys_errno) the stream has failed. */
_Noreturn static void end_received(struct join *join, int sys_errno)
{
    int status = ask_why(join), send_errno = atomic_load(&join->send_errno);

    if (status == EXIT_OK && sys_errno)
        status = tell_errno(join, "receiving failed", sys_errno);
    else if (status == EXIT_OK && send_errno)
        status = tell_errno(join, "sending failed", send_errno);
    end(join, status);
}

static void *receive(void *userdata)
{
    static char data[CHUNK];
    struct join *join = userdata;

    for (;;) {
        ssize_t n = recv(join->fd, data, sizeof(data), 0);
        if (n < 0 && errno == EINTR)
            continue;
        /* the kernel tells the end of TLS, like all that is no data, by EIO */
        if (join->kernel && n == 0)
            end_received(join, ECONNABORTED);
        if (n <= 0)
            end_received(join, n < 0 && !(join->kernel && errno == EIO) ? errno : 0);
        if (!write_all(data, (size_t)n)) {
            if (errno != EPIPE)
                talk("cannot write to standard output: %s", strerrordesc_np(errno));
            end(join, EXIT_ERROR);
        }
    }
}

/* Returns 0 or an errno. */
static int send_all(int fd, const char *data, size_t n)
{
    while (n > 0) {
        ssize_t done = send(fd, data, n, MSG_NOSIGNAL);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return errno;
        data += done;
        n -= (size_t)done;
    }
    return 0;
}

/* Returns 0 or the errno of sending. */
static int send_input(const struct join *join)
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
        int r = send_all(join->fd, data, (size_t)n);
        if (r)
            return r;
    }
    return shutdown(join->fd, SHUT_WR) < 0 && errno != ENOTCONN ? errno : 0;
}

static int run(struct cli *cli)
{
    static struct join join = {.lock = PTHREAD_MUTEX_INITIALIZER};
    struct tcpb_tcp_connect_params params;
    const struct tcpb_tcp_connect_result *result;
    struct tcpb_reply *reply = NULL;
    struct tcpb_error error;
    pthread_t receiver;
    int r = target_params(cli, &verb_connect, &params);
    if (r)
        return r;
    join.cli = cli;
    join.label.text = tcpb_thread_label();
    params.has_thread = true;
    params.thread = join.label;
    if (tcpb_open(&join.broker, cli->socket, &error))
        return talk_error(cli, &error, NULL);
    if (tcpb_connect_attach(join.broker, &params, &join.fd, &reply, &result, &error)) {
        int status = talk_error(cli, &error, NULL);
        tcpb_close(join.broker);
        return status;
    }
    if (result->has_socket)
        join.socket = result->socket;
    join.kernel = result->has_encrypted_by && strcmp(result->encrypted_by, "kernel") == 0;
    target_tell(cli, &verb_connect, result, tcpb_reply_json(reply));
    tcpb_reply_free(reply);
    r = pthread_create(&receiver, NULL, receive, &join);
    if (r) {
        talk("cannot make a thread: %s", strerrordesc_np(r));
        return EXIT_ERROR;
    }
    /* what the peer said before it broke off is still to be printed; receiving ends by itself */
    atomic_store(&join.send_errno, send_input(&join));
    pthread_join(receiver, NULL); /* it ends the process */
    return EXIT_OK;
}

static const struct cli_option options[] = {TARGET_OPTIONS, {0}};

const struct cli_verb verb_connect = {
    .name = "connect",
    .arguments = "HOST PORT",
    .summary = "join standard input and output to a connection",
    .details = "At the end of the input the sending side is closed and receiving goes on; the end "
               "is that of the peer. A TLS\n"
               "stream that was cut off is an error. With --json the facts of the connection are "
               "printed as JSON on standard\n"
               "error.",
    .options = options,
    .min_words = 2,
    .max_words = 2,
    .run = run,
};
