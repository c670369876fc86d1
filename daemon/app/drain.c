#include "app/drain.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "broker/stats.h"
#include "rpc/pool_keeper.h"
#include "util/log.h"

enum { LOOK_MS = 100 }; /* how often it is seen whether sockets are left */

/* The way to one io thread and back. */
struct order {
    struct mail mail;
    struct drain *drain;
    struct io *io;
    bool refuse;
};

struct drain {
    struct rpc_shared *shared;
    struct doors *doors;
    struct status *status;
    void (*on_over)(void *context, const char *why);
    void *context;
    bool on, stops, stopped;
    struct timer look, deadline;
    struct order *orders; /* one for each io thread */
    size_t n_out;
    struct list asking; /* rpc_drain mails of this round */
    struct list late;   /* of the next one */
};

bool drain_is_on(const struct drain *drain)
{
    return drain->on;
}

static struct timers *timers_of(const struct drain *drain)
{
    return &drain->shared->control->timers;
}

/* ---- the end ---- */

static void on_look(struct timer *timer)
{
    struct drain *drain = container_of(timer, struct drain, look);
    uint32_t n = table_count(drain->shared->table);

    if (n == 0 && drain->stops && drain->n_out == 0) {
        drain->on_over(drain->context, "Broker.Drain: no socket is left");
        return;
    }
    int r = timers_start(timers_of(drain), timer, LOOK_MS, on_look);
    ASSERT(r == 0); /* it has just left its place */
}

static void on_deadline(struct timer *timer)
{
    struct drain *drain = container_of(timer, struct drain, deadline);

    log_notice("Broker.Drain: the time is over, %u sockets are left",
               (unsigned)table_count(drain->shared->table));
    drain->on_over(drain->context, "Broker.Drain");
}

/* ---- to the io threads ---- */

static void spread(struct drain *drain);

static void answer(struct drain *drain, struct list *asking)
{
    for (struct list *link; (link = list_pop(asking));) {
        struct mail *mail = container_of(link, struct mail, link);
        struct rpc_drain *asked = container_of(mail, struct rpc_drain, mail);
        asked->draining = drain->on;
        asked->stopping = drain->stopped;
        loop_post(asked->reply_to, &asked->done);
    }
}

static void on_back(struct mail *mail)
{
    struct drain *drain = container_of(mail, struct order, mail)->drain;

    ASSERT_OWNER(drain->shared->control);
    if (--drain->n_out > 0)
        return;
    answer(drain, &drain->asking);
    if (!list_empty(&drain->late))
        spread(drain);
}

static void on_order(struct mail *mail)
{
    struct order *order = container_of(mail, struct order, mail);

    io_refuse_new(order->io, order->refuse);
    mail->deliver = on_back;
    loop_post(order->drain->shared->control, mail);
}

static void spread(struct drain *drain)
{
    struct rpc_shared *shared = drain->shared;

    list_splice(&drain->asking, &drain->late);
    drain->n_out = shared->n_ios;
    for (size_t i = 0; i < shared->n_ios; i++) {
        struct order *order = &drain->orders[i];
        *order = (struct order){.mail = {.deliver = on_order},
                                .drain = drain,
                                .io = shared->ios[i],
                                .refuse = drain->on};
        loop_post(order->io->loop, &order->mail);
    }
}

/* ---- being asked ---- */

static void set(struct drain *drain, bool on)
{
    if (on != drain->on)
        (void)stats_add(draining, on ? 1 : -1);
    drain->on = on;
    doors_refuse(drain->doors, on);
    pool_keeper_pause(drain->shared->keeper, on);
}

static void go_on(struct drain *drain, const struct rpc_drain *asked)
{
    if (!drain->on)
        return;
    log_notice("draining is over, all goes on: uid %u pid %d session %llu", (unsigned)asked->uid,
               (int)asked->pid, (unsigned long long)asked->session);
    timers_stop(timers_of(drain), &drain->look);
    timers_stop(timers_of(drain), &drain->deadline);
    set(drain, false);
    status_draining(drain->status, false);
}

static void begin(struct drain *drain, const struct rpc_drain *asked)
{
    char end[64] = "";

    if (asked->timeout_ms >= 0)
        snprintf(end, sizeof(end), ", or in %lld ms", (long long)asked->timeout_ms);
    log_notice("draining: nothing new is begun, %u sockets are left; %s%s: uid %u pid %d session "
               "%llu",
               (unsigned)table_count(drain->shared->table),
               asked->stop ? "with the last one the daemon stops" : "the daemon stays so", end,
               (unsigned)asked->uid, (int)asked->pid, (unsigned long long)asked->session);
    drain->stops = asked->stop;
    status_draining(drain->status, true);
    set(drain, true);
    timers_stop(timers_of(drain), &drain->deadline);
    int r = timers_start(timers_of(drain), &drain->look, 0, on_look);
    if (r == 0 && asked->timeout_ms >= 0)
        r = timers_start(timers_of(drain), &drain->deadline, (uint64_t)asked->timeout_ms,
                         on_deadline);
    if (r)
        log_error("draining: out of memory for its end; stop the daemon by hand, or ask again");
}

void drain_deliver(struct drain *drain, struct mail *mail)
{
    struct rpc_drain *asked = container_of(mail, struct rpc_drain, mail);

    ASSERT_OWNER(drain->shared->control);
    list_append(&drain->late, &mail->link);
    if (drain->stopped) {
        answer(drain, &drain->late);
        return;
    }
    if (asked->off)
        go_on(drain, asked);
    else
        begin(drain, asked);
    if (drain->n_out == 0)
        spread(drain);
}

void drain_stop(struct drain *drain)
{
    ASSERT_OWNER(drain->shared->control);
    timers_stop(timers_of(drain), &drain->look);
    timers_stop(timers_of(drain), &drain->deadline);
    drain->stopped = true;
}

int drain_new(struct drain **ret_drain, struct rpc_shared *shared, struct doors *doors,
              struct status *status, void (*on_over)(void *context, const char *why), void *context)
{
    struct drain *drain = calloc(1, sizeof(*drain));

    if (!drain)
        return -ENOMEM;
    drain->orders = calloc(shared->n_ios, sizeof(*drain->orders));
    if (!drain->orders) {
        free(drain);
        return -ENOMEM;
    }
    drain->shared = shared;
    drain->doors = doors;
    drain->status = status;
    drain->on_over = on_over;
    drain->context = context;
    list_init(&drain->asking);
    list_init(&drain->late);
    *ret_drain = drain;
    return 0;
}

struct drain *drain_free(struct drain *drain)
{
    if (!drain)
        return NULL;
    ASSERT(drain->n_out == 0 && list_empty(&drain->asking) && list_empty(&drain->late));
    free(drain->orders);
    free(drain);
    return NULL;
}
