/*
 * ssh-proxy: connect, and pass the connection on by standard output, a Unix socket: ssh_config(5),
 * ProxyUseFdpass. The connection then is the reader's own; with TLS the broker goes on between
 * them.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cli/talk.h"
#include "cli/target.h"
#include "cli/verbs.h"
#include "proto/fds.h"

/* One byte with the descriptor, as OpenSSH's mm_receive_fd() wants it. Takes fd. */
static int pass_on(int fd)
{
    struct fds_queue queue = {0};
    ssize_t sent;

    if (fds_reserve(&queue)) {
        close(fd);
        talk("out of memory");
        return EXIT_ERROR;
    }
    fds_add(&queue, 0, fd);
    do
        sent = fds_send(&queue, STDOUT_FILENO, 0, "", 1);
    while (sent < 0 && errno == EINTR);
    int sys_errno = errno;
    fds_deinit(&queue);
    if (sent == 1)
        return EXIT_OK;
    talk("cannot pass the connection on: %s", strerrordesc_np(sys_errno));
    return EXIT_ERROR;
}

static bool is_unix_socket(int fd)
{
    int domain = 0;
    socklen_t n = sizeof(domain);
    return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &n) == 0 && domain == AF_UNIX;
}

static int run(struct cli *cli)
{
    struct tcpb_tcp_connect_params params;
    const struct tcpb_tcp_connect_result *result;
    struct tcpb_reply *reply = NULL;
    struct tcpb *broker = NULL;
    struct tcpb_error error;
    int fd, status = target_params(cli, &verb_ssh_proxy, &params);
    if (status)
        return status;
    if (!is_unix_socket(STDOUT_FILENO))
        return talk_usage("ssh-proxy", "standard output is no Unix socket: this is for ssh, with "
                                       "ProxyUseFdpass yes");
    if (tcpb_open(&broker, cli->socket, &error))
        return talk_error(cli, &error, NULL);
    if (tcpb_connect_attach(broker, &params, &fd, &reply, &result, &error)) {
        status = talk_error(cli, &error, NULL);
    } else {
        target_tell(cli, &verb_ssh_proxy, result, tcpb_reply_json(reply));
        status = pass_on(fd);
    }
    tcpb_reply_free(reply);
    tcpb_close(broker);
    return status;
}

static const struct cli_option options[] = {TARGET_OPTIONS, {0}};

const struct cli_verb verb_ssh_proxy = {
    .name = "ssh-proxy",
    .arguments = "HOST PORT",
    .summary = "connect for ssh: ProxyCommand with ProxyUseFdpass",
    .details = "In ssh_config(5):\n"
               "    ProxyCommand tcpbroker ssh-proxy %h %p\n"
               "    ProxyUseFdpass yes",
    .options = options,
    .min_words = 2,
    .max_words = 2,
    .run = run,
};
