#include "rpc/io.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "rpc/admin.h"
#include "broker/keep.h"
#include "rpc/client.h"
#include "rpc/offers.h"
#include "rpc/passage.h"
#include "rpc/sessions.h"
#include "rpc/subscriptions.h"
#include "util/log.h"

enum { SCRATCH_SIZE = 65536 };

/* A new client on its way from the control thread. */
struct arrival {
    struct mail mail;
    struct io *io;
    int fd;
    uid_t uid;
    gid_t gid;
    pid_t pid;
};

static void on_iteration(void *context)
{
    struct io *io = context;
    for (struct list *link; (link = list_pop(&io->dirty));)
        client_flush(container_of(link, struct client, dirty));
    turns_end_round(&io->turns);
    if (!io->out)
        return;
    if (io->n_behind == 0)
        atomic_store_explicit(io->out, io->room.clock, memory_order_relaxed);
    io->room.clock++;
}

/* What the sockets of this thread need to know of the snapshot. */
static void follow(struct io *io)
{
    const struct rpc_settings *settings = &io->snapshot->settings;

    io->room.tcp = &io->snapshot->dial.tcp;
    io->room.limits = &settings->user;
    io->room.receive_buffer = settings->receive_buffer;
    io->room.close_timeout_ms = settings->close_timeout_ms;
}

void io_change(struct io *io, struct rpc_snapshot **snapshot)
{
    struct session *session;
    struct account_share *share;

    ASSERT_OWNER(io->loop);
    rpc_snapshot_unref(io->snapshot);
    io->snapshot = *snapshot;
    *snapshot = NULL;
    follow(io);
    for (size_t i = 0; (session = map_next(&io->sessions, &i, NULL));)
        sessions_follow(session);
    for (size_t i = 0; (share = map_next(&io->shares, &i, NULL));)
        account_share_follow(share, io->room.limits);
    subscriptions_follow(io);
}

int io_new(struct io **ret_io, struct rpc_shared *shared, size_t index)
{
    char name[16];
    struct io *io = calloc(1, sizeof(*io));
    if (!io)
        return -ENOMEM;
    snprintf(name, sizeof(name), "io-%zu", index);
    int r = loop_new(&io->loop, name, 0);
    if (r) {
        free(io);
        return r;
    }
    io->room = (struct socket_room){
        .loop = io->loop,
        .table = shared->table,
        .scratch = malloc(SCRATCH_SIZE),
        .n_scratch = SCRATCH_SIZE,
    };
    io->room.on_lingered = sessions_lingered;
    io->room.keep = shared->keep;
    io->room.index = index;
    io->room.clock = 1;
    if (shared->keep && shared->keep->ledger)
        io->out = ledger_clock(shared->keep->ledger, index);
    io->shared = shared;
    io->snapshot = rpc_snapshot_ref(shared->snapshot);
    follow(io);
    io->index = index;
    list_init(&io->clients);
    list_init(&io->dirty);
    list_init(&io->passages);
    list_init(&io->subscriptions);
    turns_init(&io->turns);
    io->room.events = shared->events;
    events_set_port(shared->events, index, io->loop, subscriptions_deliver, io);
    loop_on_iteration(io->loop, on_iteration, io);
    if (!io->room.scratch) {
        io_free(io);
        return -ENOMEM;
    }
    *ret_io = io;
    return 0;
}

int io_start(struct io *io)
{
    return loop_start(io->loop);
}

void io_stop(struct io *io)
{
    loop_stop(io->loop);
}

void io_join(struct io *io)
{
    loop_join(io->loop);
}

struct io *io_free(struct io *io)
{
    if (!io)
        return NULL;
    ASSERT(list_empty(&io->clients) && list_empty(&io->passages));
    map_deinit(&io->sessions);
    map_deinit(&io->offers);
    map_deinit(&io->shares);
    loop_free(io->loop);
    rpc_snapshot_unref(io->snapshot);
    free(io->room.scratch);
    free(io);
    return NULL;
}

static void on_arrival(struct mail *mail)
{
    struct arrival *arrival = container_of(mail, struct arrival, mail);
    struct io *io = arrival->io;
    struct client *client;

    arrivals_end(&io->shared->arrivals);
    if (io->state != IO_RUNNING) {
        close(arrival->fd);
    } else {
        int r = client_new(&client, io, arrival->fd, arrival->uid, arrival->gid, arrival->pid);
        if (r < 0)
            log_warning("client of uid %u pid %d turned away: out of memory",
                        (unsigned)arrival->uid, (int)arrival->pid);
    }
    free(arrival);
}

int io_post_client(struct io *io, int fd, uid_t uid, gid_t gid, pid_t pid)
{
    struct arrival *arrival = malloc(sizeof(*arrival));
    if (!arrival) {
        close(fd);
        return -ENOMEM;
    }
    *arrival = (struct arrival){
        .mail = {.deliver = on_arrival}, .io = io, .fd = fd, .uid = uid, .gid = gid, .pid = pid};
    arrivals_begin(&io->shared->arrivals);
    loop_post(io->loop, &arrival->mail);
    return 0;
}

/* ---- draining
 * -------------------------------------------------------------------------------------------------
 */

static void cut_all(struct io *io)
{
    if (io->state >= IO_CLOSING)
        return;
    io->state = IO_CLOSING;
    timers_stop(&io->loop->timers, &io->drain_timer);
    turns_stop(io);
    list_for_each_safe (link, &io->clients)
        client_cut(container_of(link, struct client, link));
    passages_cut(io);
    sessions_cut(io);
    io_check_drained(io);
}

static void on_drain_timer(struct timer *timer)
{
    struct io *io = container_of(timer, struct io, drain_timer);
    log_notice("io-%zu: stop.drain_timeout passed, what still runs is ended", io->index);
    cut_all(io);
}

void io_check_drained(struct io *io)
{
    if (io->state == IO_RUNNING || io->state == IO_DRAINED || !list_empty(&io->clients) ||
        !list_empty(&io->passages) || io->n_away > 0 || io->n_lingering > 0)
        return;
    io->state = IO_DRAINED;
    timers_stop(&io->loop->timers, &io->drain_timer);
    loop_post(io->drained_to, io->drained);
}

static void on_drain(struct mail *mail)
{
    struct io *io = container_of(mail, struct io, drain);

    turns_stop(io);
    list_for_each_safe (link, &io->clients)
        client_read_last(container_of(link, struct client, link));
    io->state = IO_DRAINING;
    sessions_drain(io);
    offers_drain(io);
    if (timers_start(&io->loop->timers, &io->drain_timer, (uint64_t)io->drain_ms, on_drain_timer)) {
        cut_all(io);
        return;
    }
    list_for_each_safe (link, &io->clients)
        client_drain(container_of(link, struct client, link));
    passages_drain(io);
    io_check_drained(io);
}

void io_post_drain(struct io *io, int64_t drain_ms, struct loop *drained_to, struct mail *drained)
{
    io->drain_ms = drain_ms;
    io->drained_to = drained_to;
    io->drained = drained;
    io->drain.deliver = on_drain;
    loop_post(io->loop, &io->drain);
}

void io_refuse_new(struct io *io, bool refuse)
{
    ASSERT_OWNER(io->loop);
    if (refuse && !io->no_new && io->state == IO_RUNNING) {
        admin_end_accepts(io);
        passages_drain(io);
    }
    io->no_new = refuse;
}

static void on_cut(struct mail *mail)
{
    cut_all(container_of(mail, struct io, cut));
}

void io_post_cut(struct io *io)
{
    io->cut.deliver = on_cut;
    loop_post(io->loop, &io->cut);
}
