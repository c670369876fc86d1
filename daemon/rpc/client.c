#include "rpc/client_out.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker/stats.h"
#include "rpc/admin.h"
#include "rpc/request.h"
#include "rpc/sessions.h"
#include "rpc/shares.h"
#include "rpc/subscriptions.h"
#include "util/log.h"

enum {
    READS_MAX = 16,       /* reads per event: other clients want their turn */
    FDS_WAITING_MAX = 64, /* descriptors that wait to be sent; more requests are not read then */
    BUFFERS_FREE = 65536, /* bytes that a client may have in its buffers whatever its user has */
};

static void on_event(void *context, unsigned events);

/* May its lines be looked at now? */
static bool takes_lines(const struct client *client)
{
    return !client->paused && !client->joining && !client->doomed;
}

static void update_watch(struct client *client)
{
    unsigned events = 0;

    events |= client->state != CLIENT_ENDED && takes_lines(client) ? WATCH_READABLE : WATCH_HANGUP;
    if (client->out.n_data > 0 && !timer_running(&client->retry))
        events |= WATCH_WRITABLE;
    int r = watch_set(client->watch, events);
    ASSERT(r == 0); /* libuv only takes a note of it */
}

static int charge(struct client *client, const struct session *session)
{
    struct account *account = session->share->account;
    const struct account_limits *limits = client->io->room.limits;
    int r = account_charge(account, ACCOUNT_CLIENTS, limits, &client->charge);

    if (r && client_is_admin(client))
        r = account_charge_more(account, ACCOUNT_CLIENTS, limits, ADMIN_CLIENTS_MORE,
                                &client->charge);
    return r;
}

int client_new(struct client **ret_client, struct io *io, int fd, uid_t uid, gid_t gid, pid_t pid)
{
    struct session *session = NULL;

    ASSERT_OWNER(io->loop);
    struct client *client = calloc(1, sizeof(*client));
    if (!client) {
        close(fd);
        return -ENOMEM;
    }
    client->io = io;
    client->fd = fd;
    client->uid = uid;
    client->pid = pid;
    list_init(&client->requests);
    list_init(&client->dirty);
    frame_init(&client->frame, io->snapshot->settings.line);
    int r = sessions_begin(io, uid, gid, pid, &session);
    if (r == 0)
        r = charge(client, session);
    if (r > 0) {
        shares_turn_away(session ? session->share : NULL, ACCOUNT_CLIENTS, io->room.limits,
                         "client", uid, pid);
        r = CLIENT_E_LIMIT;
    }
    if (r == 0)
        r = watch_new(&client->watch, io->loop, fd, on_event, client);
    if (r) {
        if (session)
            sessions_release(session);
        account_discharge(&client->charge);
        frame_deinit(&client->frame);
        close(fd);
        free(client);
        return r;
    }
    sessions_enter(session, client);
    list_append(&io->clients, &client->link);
    stats_count(clients);
    stats_count(clients_total);
    stats_changed();
    log_debug("session %llu opened: uid %u pid %d", (unsigned long long)session->id, (unsigned)uid,
              (int)pid);
    update_watch(client);
    *ret_client = client;
    return 0;
}

void client_end(struct client *client, const char *why)
{
    struct io *io = client->io;

    ASSERT_OWNER(io->loop);
    if (client->processing) {
        client_doom(client);
        return;
    }
    client->processing = true; /* what ends below must not end the client again */
    const struct session *session = client->session;
    log_info("session %llu %s: uid %u pid %d%s%s: %s (%zu requests running, %zu sockets)",
             (unsigned long long)session->id, session->durable ? "left" : "closed",
             (unsigned)client->uid, (int)client->pid, client->name[0] ? " " : "", client->name, why,
             client->n_requests, session->sockets.n_used);
    while (!list_empty(&client->requests))
        request_drop(container_of(list_first(&client->requests), struct request, link));
    subscription_end(client);
    sessions_leave(client);
    account_discharge(&client->charge);
    client_note_behind(client, false);
    client->watch = watch_free(client->watch);
    close(client->fd);
    list_remove(&client->link);
    list_remove(&client->dirty);
    frame_deinit(&client->frame);
    writer_deinit(&client->out);
    fds_deinit(&client->fds);
    timers_stop(&io->loop->timers, &client->retry);
    free(client);
    (void)stats_sub(clients, 1);
    stats_changed();
    io_check_drained(io);
}

/* ---- what it holds ---- */

void client_doom(struct client *client)
{
    client->doomed = true;
    client_mark_dirty(client);
}

/* So many bytes in its buffers are its user's. */
static void count_bytes(struct client *client, size_t n)
{
    size_t n_before = client->n_counted;

    client->n_counted = n;
    if (n > n_before)
        account_share_force(client->session->share, ACCOUNT_BYTES, (int64_t)(n - n_before));
    else if (n < n_before)
        account_share_give(client->session->share, ACCOUNT_BYTES, (int64_t)(n_before - n));
}

/* Are so many bytes of it, while its user has all that he may, and so many quarters of it more, too
 * many? */
static bool is_hoarding(const struct client *client, size_t n, int64_t quarters)
{
    const struct account_limits *limits = client->io->room.limits;

    return n > BUFFERS_FREE &&
           account_share_excess(client->session->share, ACCOUNT_BYTES, limits) >=
               limits->meters[ACCOUNT_BYTES] * quarters / 4;
}

void client_collect(struct client *client, size_t n)
{
    ASSERT_OWNER(client->io->loop);
    account_share_force(client->session->share, ACCOUNT_BYTES, (int64_t)n);
    client->n_collected += n;
    if (is_hoarding(client, client->n_collected, 1))
        client_doom(client);
}

void client_uncollect(struct client *client, size_t n)
{
    ASSERT_OWNER(client->io->loop);
    ASSERT(n <= client->n_collected);
    client->n_collected -= n;
    account_share_give(client->session->share, ACCOUNT_BYTES, (int64_t)n);
}

bool client_hoards_batches(const struct client *client)
{
    return is_hoarding(client, client->n_collected, 0);
}

/* Does what lies unread stop the client from being read? Its receives wait as well then. */
static void update_paused(struct client *client)
{
    size_t limit = client->io->snapshot->settings.unread_answers;

    if (client->out.n_data > BUFFERS_FREE && limit > BUFFERS_FREE) {
        count_bytes(client, client->out.n_data);
        if (is_hoarding(client, client->n_counted, 0))
            limit = BUFFERS_FREE;
    }
    bool paused = client->paused
                      ? client->out.n_data > limit / 2 || client->fds.n > FDS_WAITING_MAX / 2
                      : client->out.n_data > limit || client->fds.n > FDS_WAITING_MAX;

    if (paused == client->paused)
        return;
    client->paused = paused;
    log_debug("session %llu: %s", (unsigned long long)client->session->id,
              paused ? "does not read its answers, paused" : "goes on");
    /* answering a request may end it, but never another one, and frees no socket */
    if (!paused)
        list_for_each_safe (link, &client->requests)
            request_poke(container_of(link, struct request, link));
}

static bool is_done(const struct client *client)
{
    return client->state != CLIENT_OPEN && client->n_requests == 0 && client->out.n_data == 0 &&
           (client->state == CLIENT_DRAINING || frame_pending(&client->frame) == 0);
}

static void process_lines(struct client *client);
static void refuse_long_line(struct client *client);

/* What lies in its buffers at the end of an iteration. */
static void count_buffers(struct client *client)
{
    count_bytes(client, client->out.n_data + frame_pending(&client->frame));
    /* when no line is left in the frame, it is the beginning of one. Most will be complete soon,
     * and can be answered properly */
    if (!client->stalled && frame_pending(&client->frame) > BUFFERS_FREE &&
        is_hoarding(client, client->n_counted, 1))
        refuse_long_line(client);
}

/* From here on the client cannot send; what it has sent is read to its end and answered, so that no
 * request that was written is without an answer. */
static void say_goodbye(struct client *client)
{
    if (!client->last_words)
        (void)shutdown(client->fd, SHUT_RD);
    client->last_words = true;
    update_watch(client);
}

void client_flush(struct client *client)
{
    ASSERT_OWNER(client->io->loop);
    if (client->doomed) {
        client_end(client, "out of memory");
        return;
    }
    if (!client_send_answers(client))
        return;
    count_buffers(client);
    if (client->subscription && subscription_tell_lost(client) && !client_send_answers(client))
        return;
    update_paused(client);
    /* lines may wait in the frame that were not looked at while the client was paused or joining */
    if (client->stalled && takes_lines(client)) {
        process_lines(client);
        return;
    }
    if (!is_done(client))
        update_watch(client);
    else if (client->state != CLIENT_DRAINING)
        client_end(client, client->last_words ? "shutting down" : "ended");
    else
        say_goodbye(client);
}

void client_request_ended(struct client *client)
{
    client->n_requests--;
    /* the end of the iteration looks whether that was the last one */
    client_mark_dirty(client);
}

/* ---- lines
 * ----------------------------------------------------------------------------------------------------
 */

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

/* Its user has all the bytes that he may, and this client sends a long line: the memory is given
 * up, and it is told at the line's place. */
static void refuse_long_line(struct client *client)
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

/* Take lines from the frame until it is empty, the client is paused or gone. Ends the client when
 * that is due. */
static void process_lines(struct client *client)
{
    const char *line;
    size_t n;

    client->processing = true;
    client->stalled = false;
    count_bytes(client, client->out.n_data); /* lines count as requests from now on */
    for (;;) {
        if (!takes_lines(client)) {
            client->stalled = true;
            break;
        }
        int r = frame_next(&client->frame, &line, &n);
        if (r == FRAME_E_TOO_LONG)
            answer_too_long(client);
        else if (r)
            break;
        else
            request_line(client, line, n);
        update_paused(client);
    }
    client->processing = false;
    frame_trim(&client->frame);
    client_mark_dirty(
        client); /* flushed at the end of the iteration, and watched for what is left then */
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

static void on_event(void *context, unsigned events)
{
    struct client *client = context;
    bool more = true, gone;

    ASSERT_OWNER(client->io->loop);
    if (events & WATCH_HANGUP) {
        client_end(client, "gone");
        return;
    }
    if (events & WATCH_WRITABLE)
        client_mark_dirty(client);
    if (!(events & WATCH_READABLE))
        return;
    for (unsigned i = 0; i < READS_MAX && more && takes_lines(client); i++) {
        more = read_once(client, &gone);
        if (gone)
            return;
        process_lines(client);
    }
}

/* ---- to another io thread
 * -------------------------------------------------------------------------------------
 */

void client_depart(struct client *client)
{
    ASSERT_OWNER(client->io->loop);
    ASSERT(!client->processing && !client->session && client->joining && client->n_requests == 1);
    subscription_end(client);
    client->watch = watch_free(client->watch);
    timers_stop(&client->io->loop->timers, &client->retry);
    client_note_behind(client, false);
    list_remove(&client->link);
    list_remove(&client->dirty);
    client->io = NULL;
}

int client_arrive(struct client *client, struct io *io, struct session *session)
{
    ASSERT_OWNER(io->loop);
    client->io = io;
    list_append(&io->clients, &client->link);
    sessions_enter(session, client);
    int r = watch_new(&client->watch, io->loop, client->fd, on_event, client);
    if (r) {
        client_end(client, "out of memory");
        return r;
    }
    if (io->state != IO_RUNNING && client->state == CLIENT_OPEN)
        client->state = CLIENT_DRAINING;
    client_mark_dirty(client);
    return 0;
}

/* ---- the daemon stops
 * ----------------------------------------------------------------------------------------- */

void client_read_last(struct client *client)
{
    if (client->state == CLIENT_OPEN && takes_lines(client))
        on_event(client, WATCH_READABLE);
}

/* What has not begun to take anything is begun anew after the restart: waiting for it would only
 * make that longer. */
static void withdraw_waiting(struct client *client)
{
    list_for_each_safe (link, &client->requests) {
        struct request *request = container_of(link, struct request, link);
        const struct socket *socket = request->socket;
        if (!socket || socket_tls(socket) ||
            (socket->receive != &request->op.receive && socket->accept != &request->op.accept))
            continue;
        request_abort(request, WIRE_SHUTTING_DOWN,
                      "the broker is being restarted; join the session again and ask again");
    }
}

void client_drain(struct client *client)
{
    ASSERT_OWNER(client->io->loop);
    if (client->state == CLIENT_OPEN)
        client->state = CLIENT_DRAINING;
    if (client->session->durable && client->io->room.keep)
        withdraw_waiting(client);
    client_mark_dirty(client);
}

void client_cut(struct client *client)
{
    ASSERT_OWNER(client->io->loop);
    client->processing = true;
    client->state = CLIENT_DRAINING;
    while (!list_empty(&client->requests))
        request_abort(container_of(list_first(&client->requests), struct request, link),
                      WIRE_SHUTTING_DOWN, "the broker is shutting down");
    client->processing = false;
    if (!client_send_answers(client))
        return;
    client_end(client, "shutting down");
}
