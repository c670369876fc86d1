#include "app/reload.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "app/door_plan.h"
#include "app/profiles.h"
#include "app/settings.h"
#include "app/systemd.h"
#include "rpc/pool_keeper.h"
#include "util/log.h"

/* The way of the new snapshot to one io thread and back. */
struct change {
    struct mail mail;
    struct reload *reload;
    struct io *io;
    struct rpc_snapshot *snapshot;
};

struct reload {
    struct loop *control;
    struct rpc_shared *shared;
    const struct app_options *options;
    struct config **config;
    struct doors *doors;
    struct status *status;
    struct config *started; /* with what; kept, to be compared with */
    void (*on_idle)(void *context);
    void *context;
    enum { RELOAD_IDLE, RELOAD_LOADING, RELOAD_SPREADING, RELOAD_TRIMMING } state;
    bool again, stopped;
    struct list asking; /* rpc_reload mails of this round */
    struct list late;   /* of the next one */
    uv_work_t work;
    struct change *changes; /* one for each io thread */
    size_t n_out;
    uint64_t generation; /* of the newest snapshot in force */
    /* what the worker found; its own while LOADING */
    struct config *new_config;
    struct rpc_snapshot *new_snapshot;
    struct door_plan *new_plan;
    bool failed, restart;
    bool no_memory; /* that is why it has failed: the configuration may be right */
    char reason[CONFIG_ERROR_SIZE];
};

static void begin(struct reload *reload);

static void answer(struct reload *reload, struct list *asking, uint64_t generation,
                   const char *error)
{
    for (struct list *link; (link = list_pop(asking));) {
        struct mail *mail = container_of(link, struct mail, link);
        struct rpc_reload *asked = container_of(mail, struct rpc_reload, mail);
        asked->generation = generation;
        asked->restart = reload->restart;
        asked->no_memory = reload->no_memory;
        snprintf(asked->error, sizeof(asked->error), "%s", error);
        loop_post(asked->reply_to, &asked->done);
    }
}

/* ---- the worker ---- */

/* A store that works is not given up for one that does not. */
static bool loses_trust(struct reload *reload)
{
    return profiles_lose(&reload->shared->snapshot->credentials, &reload->new_snapshot->credentials,
                         reload->reason, sizeof(reload->reason));
}

static void throw_away(struct reload *reload)
{
    reload->new_config = config_free(reload->new_config);
    reload->new_snapshot = rpc_snapshot_unref(reload->new_snapshot);
    reload->new_plan = door_plan_free(reload->new_plan);
}

static void load(uv_work_t *work)
{
    struct reload *reload = work->data;
    struct config_report *report = malloc(sizeof(*report));

    reload->failed = true;
    reload->no_memory = !report;
    if (!report) {
        snprintf(reload->reason, sizeof(reload->reason), "out of memory");
        return;
    }
    config_report_init(report);
    int r =
        config_load(reload->options->config, reload->options->config_flags, reload->options->sets,
                    reload->options->n_sets, report, &reload->new_config);
    int status = 0;
    if (r == 0) {
        status = settings_snapshot(reload->new_config, reload->options, reload->generation + 1,
                                   &reload->new_snapshot, reload->reason, sizeof(reload->reason));
        if (status == 0 && !loses_trust(reload)) {
            status = door_plan_new(&reload->new_plan, reload->new_config,
                                   &reload->new_snapshot->credentials, reload->options,
                                   reload->reason, sizeof(reload->reason));
            reload->failed = status != 0;
        }
    } else if (r < 0)
        snprintf(reload->reason, sizeof(reload->reason), "reading %s: %s", reload->options->config,
                 strerror(-r));
    else
        snprintf(reload->reason, sizeof(reload->reason), "%s", report->errors[0]);
    /* 1: nothing is wrong with what was read; there was no memory for it */
    reload->no_memory = r == -ENOMEM || status == 1;
    if (reload->failed)
        throw_away(reload);
    free(report);
}

/* ---- spreading ---- */

static void on_trimmed(uv_work_t *work, int status)
{
    struct reload *reload = work->data;

    ASSERT_OWNER(reload->control);
    ASSERT(status == 0);
    reload->state = RELOAD_IDLE;
    systemd_notify("READY=1");
    if (reload->again && !reload->stopped) {
        begin(reload);
        return;
    }
    answer(reload, &reload->late, 0, "the broker is shutting down");
    if (reload->stopped)
        reload->on_idle(reload->context);
}

/* What was loaded before is free now, but spread over the heaps of the workers: without this the
 * next load, by another one, would take as much again from the system. */
static void trim(uv_work_t *work)
{
    (void)work;
#ifdef __GLIBC__
    malloc_trim(0);
#endif
}

static void end_round(struct reload *reload)
{
    reload->state = RELOAD_TRIMMING;
    int r = uv_queue_work(&reload->control->uv, &reload->work, trim, on_trimmed);
    ASSERT(r == 0); /* only without a function to call */
}

static void on_changed(struct mail *mail)
{
    struct reload *reload = container_of(mail, struct change, mail)->reload;
    char number[24];
    const struct log_field generation = {TAG_GENERATION, number};

    if (--reload->n_out > 0)
        return;
    reload->generation = reload->shared->snapshot->generation;
    snprintf(number, sizeof(number), "%llu", (unsigned long long)reload->generation);
    log_event(LOG_NOTICE_, EVENT_RELOADED, &generation, 1,
              "reloaded: configuration and certificates%s",
              reload->restart ? "; some of what has changed needs a restart" : "");
    status_reloaded(reload->status, NULL, settings_need_restart(reload->started, *reload->config));
    answer(reload, &reload->asking, reload->generation, "");
    end_round(reload);
}

static void on_change(struct mail *mail)
{
    struct change *change = container_of(mail, struct change, mail);

    io_change(change->io, &change->snapshot);
    change->mail.deliver = on_changed;
    loop_post(change->reload->control, &change->mail);
}

static void spread(struct reload *reload)
{
    struct rpc_shared *shared = reload->shared;

    reload->state = RELOAD_SPREADING;
    shared->reloads = (struct rpc_reloads){.success_s = (int64_t)time(NULL)};
    reload->restart = settings_need_restart(*reload->config, reload->new_config);
    if (*reload->config != reload->started)
        config_free(*reload->config);
    *reload->config = reload->new_config;
    reload->new_config = NULL;
    rpc_snapshot_unref(shared->snapshot);
    shared->snapshot = reload->new_snapshot;
    reload->new_snapshot = NULL;
    doors_commit(reload->doors);
    settings_set_log(*reload->config);
    profiles_log(&shared->snapshot->credentials);
    /* first: an io thread that has not changed over yet finds them empty */
    pool_keeper_change(shared->keeper, shared->snapshot);
    reload->n_out = shared->n_ios;
    for (size_t i = 0; i < shared->n_ios; i++) {
        struct change *change = &reload->changes[i];
        *change = (struct change){.mail = {.deliver = on_change},
                                  .reload = reload,
                                  .io = shared->ios[i],
                                  .snapshot = rpc_snapshot_ref(shared->snapshot)};
        loop_post(change->io->loop, &change->mail);
    }
}

static void on_loaded(uv_work_t *work, int status)
{
    struct reload *reload = work->data;
    const struct log_field reason = {TAG_REASON, reload->reason};

    ASSERT_OWNER(reload->control);
    ASSERT(status == 0); /* it is never cancelled */
    if (!reload->failed && doors_prepare(reload->doors, &reload->new_plan, reload->reason,
                                         sizeof(reload->reason)) == 0) {
        spread(reload);
        return;
    }
    throw_away(reload);
    reload->shared->reloads.failed = true;
    log_event(LOG_ERROR_, EVENT_RELOAD_FAILED, &reason, 1, "not reloaded, nothing has changed: %s",
              reload->reason);
    status_reloaded(reload->status, reload->reason, false);
    reload->restart = false;
    answer(reload, &reload->asking, 0, reload->reason);
    end_round(reload);
}

static void begin(struct reload *reload)
{
    struct timespec now;

    reload->again = false;
    list_splice(&reload->asking, &reload->late);
    reload->state = RELOAD_LOADING;
    reload->work.data = reload;
    clock_gettime(CLOCK_MONOTONIC, &now);
    /* sd_notify(3); the time is for Type=notify-reload */
    systemd_notify("RELOADING=1\nMONOTONIC_USEC=%lld",
                   (long long)now.tv_sec * 1000000 + now.tv_nsec / 1000);
    int r = uv_queue_work(&reload->control->uv, &reload->work, load, on_loaded);
    ASSERT(r == 0); /* only without a function to call */
}

/* ---- from outside ---- */

void reload_ask(struct reload *reload)
{
    ASSERT_OWNER(reload->control);
    if (reload->stopped)
        return;
    if (reload->state == RELOAD_IDLE)
        begin(reload);
    else
        reload->again = true;
}

void reload_deliver(struct reload *reload, struct mail *mail)
{
    ASSERT_OWNER(reload->control);
    list_append(&reload->late, &mail->link);
    if (reload->stopped && reload->state == RELOAD_IDLE)
        answer(reload, &reload->late, 0, "the broker is shutting down");
    else
        reload_ask(reload);
}

void reload_stop(struct reload *reload)
{
    reload->stopped = true;
}

bool reload_busy(const struct reload *reload)
{
    return reload->state != RELOAD_IDLE;
}

/* ---- beginning and end ---- */

static void do_nothing(uv_work_t *work)
{
    (void)work;
}

/* libuv starts its thread with the first work, and ends the process when it gets none: better now
 * than at the first reload of a daemon that serves. One is enough, as one reload runs at a time. */
static void start_worker(struct loop *control)
{
    static uv_work_t first; /* outlives whatever fails in the start */
    sigset_t all, before;

    (void)setenv("UV_THREADPOOL_SIZE", "1", 0);
    /* signals are the control thread's business, also at the end, when it takes none any more */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int r = uv_queue_work(&control->uv, &first, do_nothing, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    ASSERT(r == 0); /* only without a function to call */
}

int reload_new(struct reload **ret_reload, struct loop *control, struct rpc_shared *shared,
               const struct app_options *options, struct config **config, struct doors *doors,
               struct status *status, void (*on_idle)(void *context), void *context)
{
    struct reload *reload = calloc(1, sizeof(*reload));
    if (!reload)
        return -ENOMEM;
    reload->changes = calloc(shared->n_ios, sizeof(*reload->changes));
    if (!reload->changes) {
        free(reload);
        return -ENOMEM;
    }
    reload->control = control;
    reload->shared = shared;
    reload->options = options;
    reload->config = config;
    reload->doors = doors;
    reload->status = status;
    reload->started = *config;
    reload->on_idle = on_idle;
    reload->context = context;
    reload->generation = shared->snapshot->generation;
    list_init(&reload->asking);
    list_init(&reload->late);
    start_worker(control);
    *ret_reload = reload;
    return 0;
}

struct reload *reload_free(struct reload *reload)
{
    if (!reload)
        return NULL;
    ASSERT(!reload_busy(reload) && list_empty(&reload->asking) && list_empty(&reload->late));
    if (*reload->config != reload->started)
        config_free(reload->started);
    free(reload->changes);
    free(reload);
    return NULL;
}
