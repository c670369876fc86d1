#include "rpc/batch.h"

#include <stdlib.h>
#include <unistd.h>

/* Its answers are not on their way while it waits for the last one. One of a single call is sent at
 * once, and may move with its client. */
static void note_behind(const struct batch *batch, size_t n)
{
    if (batch->n_calls > 1)
        batch->client->io->n_behind += n;
}

struct batch *batch_new(struct client *client, size_t n_calls)
{
    struct batch *batch = calloc(1, sizeof(*batch));
    if (!batch)
        return NULL;
    batch->client = client;
    batch->fd = -1;
    batch->n_calls = n_calls;
    batch->n_running = 1;
    note_behind(batch, 1);
    return batch;
}

struct batch *batch_ref(struct batch *batch)
{
    batch->n_running++;
    return batch;
}

static void send_all(struct batch *batch)
{
    static const struct proto_id none = {.kind = PROTO_ID_NULL};
    struct writer_mark mark;
    struct writer *out = client_answer_begin(batch->client, &mark);

    writer_raw(out, "[", 1);
    writer_raw(out, batch->answers.data, batch->answers.n_data);
    writer_raw(out, "]", 1);
    bool written = client_answer_end(batch->client, mark, &none);
    if (written && batch->fd >= 0) {
        client_answer_fd(batch->client, mark, batch->fd);
        batch->fd = -1;
    }
}

void batch_unref(struct batch *batch, bool answer)
{
    if (--batch->n_running > 0)
        return;
    if (answer && batch->answers.n_data > 0)
        send_all(batch);
    client_uncollect(batch->client, batch->answers.n_data);
    note_behind(batch, (size_t)-1);
    if (batch->fd >= 0)
        close(batch->fd);
    writer_deinit(&batch->answers);
    free(batch);
}

struct writer *batch_answer_begin(struct batch *batch, struct writer_mark *ret_mark)
{
    *ret_mark = writer_mark(&batch->answers);
    if (batch->answers.n_data > 0)
        writer_raw(&batch->answers, ",", 1);
    return &batch->answers;
}

bool batch_answer_end(struct batch *batch, struct writer_mark mark)
{
    if (writer_failed(&batch->answers)) {
        /* its client cannot be told, and must not wait forever */
        writer_rewind(&batch->answers, mark);
        client_doom(batch->client);
        return false;
    }
    client_collect(batch->client, batch->answers.n_data - mark.n_data);
    return true;
}

bool batch_is_full(const struct batch *batch, struct fault *ret_fault)
{
    const struct client *client = batch->client;
    int64_t unread = (int64_t)client->io->snapshot->settings.unread_answers;
    int64_t held = client->io->room.limits->meters[ACCOUNT_BYTES];

    if ((int64_t)client->n_collected > unread)
        fault_limit(ret_fault, WIRE_LIMIT, "limits.unread_answers", unread,
                    "the answers of this batch that wait for its other members have %zu bytes "
                    "already, which is over the limit; send it in parts",
                    client->n_collected);
    else if (client_hoards_batches(client))
        fault_limit(ret_fault, WIRE_LIMIT, "limits.held_bytes_per_user", held,
                    "this user holds %lld bytes or more, and a batch collects answers; wait for "
                    "answers, and read them",
                    (long long)held);
    else
        return false;
    return true;
}
