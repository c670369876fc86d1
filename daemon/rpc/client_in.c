#include "rpc/client_in.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "broker/stats.h"
#include "rpc/client_held.h"
#include "rpc/client_out.h"
#include "rpc/request.h"

enum { READS_MAX = 16 }; /* reads per event: other clients want their turn */

bool client_takes_lines(const struct client *client)
{
    return !client->paused && !client->joining && !client->doomed;
}

static void answer_line_fault(struct client *client, const struct fault *fault)
{
    struct writer_mark mark;
    static const struct proto_id none = {.kind = PROTO_ID_NULL};

    stats_count(lines_refused);
    meter_limit(&client->io->meter, fault->limit);
    if (client_reserve(client)) {
        client_end(client, "out of memory");
        return;
    }
    fault_write(client_answer_begin(client, &mark), &none, fault);
    (void)client_answer_end(client, mark, &none);
}

static void answer_too_long(struct client *client)
{
    struct fault fault;
    int64_t limit = (int64_t)client->frame.max_line; /* as it was when the client came */

    fault_limit(&fault, WIRE_INVALID_REQUEST, "limits.line", limit,
                "the line is longer than %lld bytes; it was discarded; send large data in several "
                "TCPSend requests",
                (long long)limit);
    answer_line_fault(client, &fault);
}

void client_refuse_long_line(struct client *client)
{
    struct fault fault;
    int64_t limit = client->io->room.limits->meters[ACCOUNT_BYTES];

    fault_limit(&fault, WIRE_LIMIT, "limits.held_bytes_per_user", limit,
                "this user holds %lld bytes or more; the line was discarded; wait for answers, and "
                "read them",
                (long long)limit);
    fault_count_limit(&fault, client->session->share);
    frame_give_up(&client->frame);
    answer_line_fault(client, &fault);
}

/* Before what else it has sent is looked at. */
static bool must_wait(struct client *client)
{
    if (!client_takes_lines(client))
        return true;
    if ((!client->rest.message && frame_pending(&client->frame) == 0) || !turns_over(client))
        return false;
    turns_wait(client);
    return true;
}

void client_process_lines(struct client *client)
{
    const char *line;
    size_t n;
    int r;

    client->processing = true;
    client->stalled = false;
    client_count_bytes(client, client->out.n_data); /* lines count as requests from now on */
    while (!client->stalled) {
        uint64_t before = client_answered(client);
        n = 0;
        if (client->rest.message) {
            request_rest(client);
        } else {
            r = frame_next(&client->frame, &line, &n);
            if (r == FRAME_E_TOO_LONG)
                answer_too_long(client);
            else if (r)
                break;
            else
                request_line(client, line, n);
        }
        turns_count(client, n + (size_t)(client_answered(client) - before));
        client_update_paused(client);
        client->stalled = must_wait(client);
    }
    client->processing = false;
    frame_trim(&client->frame);
    /* flushed at the end of the iteration, and watched for what is left then */
    client_mark_dirty(client);
}

/* Returns false when nothing more is to be read now, or the client is gone (*ret_gone). */
static bool read_once(struct client *client, bool *ret_gone)
{
    char *space;
    size_t room;

    *ret_gone = true;
    if (frame_space(&client->frame, &space, &room)) {
        client_end(client, "out of memory");
        return false;
    }
    ssize_t n = recv(client->fd, space, room, MSG_DONTWAIT);
    if (n < 0) {
        if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) {
            *ret_gone = false;
            return false;
        }
        client_end(client, errno == ECONNRESET ? "gone" : strerror(errno));
        return false;
    }
    *ret_gone = false;
    if (n == 0) {
        frame_end(&client->frame);
        client->state = CLIENT_ENDED;
        return false;
    }
    frame_filled(&client->frame, (size_t)n);
    return (size_t)n == room;
}

static void read_lines(struct client *client)
{
    bool more = true, gone;

    for (unsigned i = 0; i < READS_MAX && more && client_takes_lines(client) && !client->stalled;
         i++) {
        more = read_once(client, &gone);
        if (gone)
            return;
        client_process_lines(client);
    }
}

void client_take_turn(struct client *client)
{
    ASSERT_OWNER(client->io->loop);
    if (!client_takes_lines(client))
        return; /* goes on when that has changed */
    if (client->stalled)
        client_process_lines(client);
    else
        read_lines(client);
}

void client_on_event(void *context, unsigned events)
{
    struct client *client = context;

    ASSERT_OWNER(client->io->loop);
    if (events & WATCH_HANGUP) {
        client_end(client, "gone");
        return;
    }
    if (events & WATCH_WRITABLE)
        client_mark_dirty(client);
    /* who must wait is told so once more in the next round; nothing is taken away there */
    if (events & WATCH_READABLE && client_takes_lines(client) && turns_may(client))
        client_take_turn(client);
}
