#include "lib/arrivals.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proto/json.h"

static void close_all(const int *fds, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (fds[i] >= 0)
            close(fds[i]);
}

ssize_t arrivals_receive(struct arrivals *arrivals, int sock, void *data, size_t n)
{
    struct fds_arrival arrival;
    ssize_t got = fds_receive(sock, data, n, MSG_DONTWAIT, &arrival);

    if (got < 0)
        return got;
    if (arrivals->n + arrival.n + arrival.lost > ARRIVALS_MAX) {
        close_all(arrival.fds, arrival.n);
        errno = EPROTO;
        return -1;
    }
    memcpy(arrivals->fds + arrivals->n, arrival.fds, arrival.n * sizeof(*arrival.fds));
    arrivals->n += arrival.n;
    /* the daemon sends one at a time, so there is just one to be missed */
    if (arrival.lost)
        arrivals->fds[arrivals->n++] = -1;
    return got;
}

/* Returns how many descriptors the answer says it has, or -ENOMEM. */
static int count_fds(const struct tcpb_reply *reply)
{
    struct answer answer = {0};
    int64_t n = 0;

    if (!reply->line)
        return -ENOMEM;
    int r = answer_parse(&answer, reply->line, reply->n_line);
    if (r)
        return r < 0 ? r : 0; /* whoever reads the reply will be told */
    const struct json *fds = answer.result && json_type(answer.result) == JSON_OBJECT
                                 ? json_member(answer.result, "fds")
                                 : NULL;
    bool sound = fds && json_type(fds) == JSON_NUMBER && json_integer(fds, &n) && n > 0;
    answer_deinit(&answer);
    return !sound ? 0 : n > ARRIVALS_MAX ? ARRIVALS_MAX : (int)n;
}

int arrivals_give(struct arrivals *arrivals, struct tcpb_reply *reply)
{
    if (arrivals->n == 0)
        return 0;
    int r = count_fds(reply);
    if (r < 0)
        return r;
    size_t n = (size_t)r < arrivals->n ? (size_t)r : arrivals->n;
    for (size_t i = 0; i < n; i++)
        reply_add_fd(reply, arrivals->fds[i]);
    arrivals->n -= n;
    memmove(arrivals->fds, arrivals->fds + n, arrivals->n * sizeof(*arrivals->fds));
    return 0;
}

void arrivals_deinit(struct arrivals *arrivals)
{
    close_all(arrivals->fds, arrivals->n);
    arrivals->n = 0;
}
