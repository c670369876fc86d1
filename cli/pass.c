#include "cli/pass.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cli/join.h"
#include "cli/talk.h"
#include "lib/connection.h"

struct flow {
    int from, to;
    char data[65536];
    size_t start, end;
    bool from_ended;
};

/* Read or write once, as poll said. Returns false on failure; errno is set. */
static bool flow_read(struct flow *flow)
{
    ssize_t n = read(flow->from, flow->data, sizeof(flow->data));
    flow->start = 0;
    flow->end = n > 0 ? (size_t)n : 0;
    if (n == 0)
        flow->from_ended = true;
    return n >= 0 || errno == EINTR || errno == EAGAIN;
}

static bool flow_write(struct flow *flow, bool to_socket)
{
    const char *data = flow->data + flow->start;
    ssize_t n = to_socket ? send(flow->to, data, flow->end - flow->start, MSG_NOSIGNAL)
                          : write(flow->to, data, flow->end - flow->start);
    if (n < 0)
        return errno == EINTR || errno == EAGAIN;
    flow->start += (size_t)n;
    return true;
}

static bool flow_full(const struct flow *flow)
{
    return flow->start < flow->end;
}

/* The fd and the events to wait for; an fd below 0 is left out by poll(). */
static struct pollfd flow_waits(const struct flow *flow)
{
    if (flow_full(flow))
        return (struct pollfd){.fd = flow->to, .events = POLLOUT};
    return (struct pollfd){.fd = flow->from_ended ? -1 : flow->from, .events = POLLIN};
}

static int pass(int fd)
{
    static struct flow up, down;
    up = (struct flow){.from = STDIN_FILENO, .to = fd};
    down = (struct flow){.from = fd, .to = STDOUT_FILENO};
    while (!down.from_ended) {
        struct pollfd fds[] = {flow_waits(&up), flow_waits(&down)};
        if (poll(fds, 2, -1) < 0 && errno != EINTR)
            return errno;
        if (fds[0].revents && !(flow_full(&up) ? flow_write(&up, true) : flow_read(&up))) {
            if (errno != EPIPE && errno != ECONNRESET)
                return errno;
            up.from_ended =
                true; /* the broker does not read any more; it may still have something to say */
            up.start = up.end = 0;
        }
        if (up.from_ended && up.from >= 0) {
            shutdown(fd, SHUT_WR);
            up.from = -1;
        }
        if (fds[1].revents && !(flow_full(&down) ? flow_write(&down, false) : flow_read(&down)))
            return errno;
    }
    return 0;
}

int pass_lines(struct cli *cli)
{
    struct tcpb *broker = NULL;
    struct tcpb_error error;
    if (tcpb_open(&broker, cli->socket, &error))
        return talk_error(cli, &error, NULL);
    int status = join_session(cli, broker);
    /* with nothing in flight the library has nothing to read or to send */
    int r = status ? 0 : pass(broker->fd);
    tcpb_close(broker);
    if (status)
        return status;
    if (r == 0)
        return EXIT_OK;
    talk("passing requests failed: %s", strerrordesc_np(r));
    return EXIT_ERROR;
}
