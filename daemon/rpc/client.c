#include "rpc/client_in.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker/stats.h"
#include "rpc/admin.h"
#include "rpc/batch.h"
#include "rpc/client_held.h"
#include "rpc/client_out.h"
#include "rpc/request.h"
#include "rpc/sessions.h"
#include "rpc/shares.h"
#include "rpc/subscriptions.h"
#include "util/log.h"

static void update_watch(struct client *client)
{
    unsigned events = 0;

    events |=
        client->state != CLIENT_ENDED && client_takes_lines(client) ? WATCH_READABLE : WATCH_HANGUP;
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
    list_init(&client->waiting);
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
        r = watch_new(&client->watch, io->loop, fd, client_on_event, client);
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
    if (client->rest.message)
        request_drop_rest(client);
    turns_leave(client);
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

void client_doom(struct client *client)
{
    client->doomed = true;
    client_mark_dirty(client);
}

static bool is_done(const struct client *client)
{
    return client->state != CLIENT_OPEN && client->n_requests == 0 && client->out.n_data == 0 &&
           !client->rest.message &&
           (client->state == CLIENT_DRAINING || frame_pending(&client->frame) == 0);
}

/* What lies in its buffers at the end of an iteration. */
static void count_buffers(struct client *client)
{
    size_t n_rest = client->rest.message ? message_size(client->rest.message) : 0;
    client_count_bytes(client, client->out.n_data + frame_pending(&client->frame) + n_rest);
    /* when no line is left in the frame, it is the beginning of one. Most will be complete soon,
     * and can be answered properly */
    if (!client->stalled && frame_pending(&client->frame) > CLIENT_BUFFERS_FREE &&
        client_is_hoarding(client, client->n_counted, 1))
        client_refuse_long_line(client);
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
    client_update_paused(client);
    /* lines may wait in the frame that were not looked at while the client was paused or joining */
    if (client->stalled && client_takes_lines(client) && turns_may(client)) {
        client_process_lines(client);
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

/* ---- to another io thread
 * -------------------------------------------------------------------------------------
 */

void client_depart(struct client *client)
{
    ASSERT_OWNER(client->io->loop);
    ASSERT(!client->processing && !client->session && client->joining && client->n_requests == 1 &&
           !client->rest.message);
    turns_leave(client);
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
    int r = watch_new(&client->watch, io->loop, client->fd, client_on_event, client);
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
    if (client->state == CLIENT_OPEN)
        client_on_event(client, WATCH_READABLE);
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
