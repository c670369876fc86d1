#include "rpc/client_out.h"

#include <errno.h>
#include <string.h>

enum {
    ANSWER_RESERVE = 2048, /* room for one ENOBUFS answer with the longest id there can be */
    OUT_KEEP = 16384,      /* an idle client's buffer is not kept larger */
    RETRY_MS = 20,         /* until a descriptor that could not be sent is tried again */
};

void client_mark_dirty(struct client *client)
{
    if (!list_linked(&client->dirty))
        list_append(&client->io->dirty, &client->dirty);
}

void client_note_behind(struct client *client, bool behind)
{
    if (behind == client->behind)
        return;
    client->behind = behind;
    if (behind)
        client->io->n_behind++;
    else
        client->io->n_behind--;
}

int client_reserve(struct client *client)
{
    return writer_reserve(&client->out, ANSWER_RESERVE * (client->n_requests + 1));
}

struct writer *client_answer_begin(struct client *client, struct writer_mark *ret_mark)
{
    ASSERT_OWNER(client->io->loop);
    *ret_mark = writer_mark(&client->out);
    return &client->out;
}

bool client_answer_end(struct client *client, struct writer_mark mark, const struct proto_id *id)
{
    struct fault fault;

    writer_raw(&client->out, "\n", 1);
    bool written = !writer_failed(&client->out) && client_reserve(client) == 0;
    if (!written) {
        writer_rewind(&client->out, mark);
        fault_set(&fault, WIRE_ENOBUFS,
                  "the answer does not fit in memory; what was asked for may have been done");
        fault_write(&client->out, id, &fault);
        writer_raw(&client->out, "\n", 1);
    }
    client_mark_dirty(client);
    return written;
}

bool client_notify(struct client *client, const char *line, size_t n)
{
    ASSERT_OWNER(client->io->loop);
    struct writer_mark mark = writer_mark(&client->out);

    writer_raw(&client->out, line, n);
    if (writer_failed(&client->out) || client_reserve(client)) {
        writer_rewind(&client->out, mark);
        return false;
    }
    client_mark_dirty(client);
    return true;
}

void client_answer_fd(struct client *client, struct writer_mark mark, int fd)
{
    fds_add(&client->fds, client->n_sent + mark.n_data, fd);
}

static void on_retry(struct timer *timer)
{
    client_mark_dirty(container_of(timer, struct client, retry));
}

bool client_send_answers(struct client *client)
{
    while (client->out.n_data > 0) {
        ssize_t n = fds_send(&client->fds, client->fd, client->n_sent, client->out.data,
                             client->out.n_data);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            break;
        /* the receiver has as many descriptors under way as it may have: it must read some; or
         * the kernel has no memory just now */
        if (n < 0 && (errno == ETOOMANYREFS || errno == ENOBUFS || errno == ENOMEM) &&
            timers_start(&client->io->loop->timers, &client->retry, RETRY_MS, on_retry) == 0)
            break;
        if (n < 0) {
            client_end(client, errno == EPIPE || errno == ECONNRESET ? "gone" : strerror(errno));
            return false;
        }
        client->n_sent += (size_t)n;
        writer_consume(&client->out, (size_t)n);
    }
    client_note_behind(client, client->out.n_data > 0);
    if (client->out.n_data == 0 && client->out.capacity > OUT_KEEP && client->n_requests == 0)
        writer_deinit(&client->out);
    return true;
}
