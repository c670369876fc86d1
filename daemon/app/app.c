#include "app/app.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "app/doors.h"
#include "app/drain.h"
#include "app/listen.h"
#include "app/pool_settings.h"
#include "app/profiles.h"
#include "app/reload.h"
#include "app/restart.h"
#include "app/settings.h"
#include "app/status.h"
#include "app/systemd.h"
#include "app/watchdog.h"
#include "broker/events.h"
#include "broker/stats.h"
#include "rpc/io.h"
#include "rpc/pool_keeper.h"
#include "util/log.h"

enum {
    RESOLVER_WAIT_MS = 2000, /* at the end, for look-ups that hang in the system's resolver */
    DAY_MS = 24 * 3600 * 1000,
    FDS_BESIDE = 64,      /* file descriptors that are neither clients nor sockets */
    ACCOUNTS_MAX = 16384, /* users at a time */
};

struct app {
    struct config **config;
    struct rpc_shared shared;
    struct loop *control;
    struct listener *listener;
    struct doors *doors;
    struct watchdog watchdog;
    struct status status;
    struct timer day; /* what expires is told once a day */
    struct reload *reload;
    struct drain *drain;
    struct restart *restart;
    struct loop **loops;  /* io and dial threads', for the watchdog */
    struct mail *drained; /* one for each io thread */
    size_t n_running;     /* io threads not drained yet */
    size_t n_started;     /* io threads that run */
    uv_signal_t sigterm, sigint, sighup;
    bool signals;
    enum { APP_RUNNING, APP_STOPPING, APP_CUTTING, APP_LEAVING } state;
};

/* ---- stopping
 * -------------------------------------------------------------------------------------------------
 */

static void on_left(void *context)
{
    struct app *app = context;
    loop_stop(app->control);
}

static void check_stopped(struct app *app)
{
    if (app->n_running > 0 || app->watchdog.under_way || reload_busy(app->reload) ||
        app->state == APP_LEAVING)
        return;
    app->state = APP_LEAVING;
    restart_leave(app->restart, on_left, app);
}

static struct app
    *the_app; /* a drained mail has no room for a context; the control thread's only */

static void on_drained(struct mail *mail)
{
    (void)mail;
    ASSERT_OWNER(the_app->control);
    the_app->n_running--;
    check_stopped(the_app);
}

static void on_idle(void *context)
{
    check_stopped(context);
}

static void stop(struct app *app, const char *why)
{
    if (app->state >= APP_CUTTING)
        return;
    if (app->state == APP_STOPPING) {
        log_notice("%s again: what still runs is ended now", why);
        app->state = APP_CUTTING;
        for (size_t i = 0; i < app->n_started; i++)
            io_post_cut(app->shared.ios[i]);
        return;
    }
    log_event(LOG_NOTICE_, EVENT_STOPPING, NULL, 0,
              "%s: stopping; running requests have %lld ms to finish", why,
              (long long)(*app->config)->stop_drain_timeout);
    systemd_notify("STOPPING=1");
    status_stopping(&app->status);
    app->state = APP_STOPPING;
    listener_stop(app->listener);
    doors_stop(app->doors);
    watchdog_stop(&app->watchdog);
    reload_stop(app->reload);
    drain_stop(app->drain);
    pool_keeper_stop(app->shared.keeper);
    app->n_running = app->n_started;
    for (size_t i = 0; i < app->n_started; i++) {
        app->drained[i].deliver = on_drained;
        io_post_drain(app->shared.ios[i], (*app->config)->stop_drain_timeout, app->control,
                      &app->drained[i]);
    }
}

/* From an io thread; only while clients are there, so after the start. */
static void on_reload(struct mail *mail)
{
    reload_deliver(the_app->reload, mail);
}

static void on_drain(struct mail *mail)
{
    drain_deliver(the_app->drain, mail);
}

static void on_doors(struct mail *mail)
{
    doors_deliver(the_app->doors, mail);
}

static void on_drain_over(void *context, const char *why)
{
    stop(context, why);
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct app *app = handle->data;

    if (number == SIGHUP)
        reload_ask(app->reload);
    else
        stop(app, number == SIGTERM ? "SIGTERM" : "SIGINT");
}

/* ---- starting
 * -------------------------------------------------------------------------------------------------
 */

static size_t count_cores(void)
{
    cpu_set_t set;
    return sched_getaffinity(0, sizeof(set), &set) == 0 ? (size_t)CPU_COUNT(&set) : 1;
}

static void raise_fd_limit(const struct config *config)
{
    char wants[24], has[24];
    const struct log_field fields[] = {{TAG_WANTED, wants}, {TAG_ALLOWED, has}};
    struct rlimit limit;
    /* an attached socket has two */
    rlim_t wanted = (rlim_t)(2 * config->limits_sockets + config->listen_clients + FDS_BESIDE) +
                    (rlim_t)pool_settings_count(config);

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit); /* a limit that is not raised is told below */
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= wanted)
        return;
    snprintf(wants, sizeof(wants), "%llu", (unsigned long long)wanted);
    snprintf(has, sizeof(has), "%llu", (unsigned long long)limit.rlim_cur);
    log_event(LOG_WARNING_, EVENT_DESCRIPTORS, fields, 2,
              "only %s file descriptors are allowed, but limits.sockets, listen.clients and "
              "max_idle of all pools may need %s; raise LimitNOFILE or lower them",
              has, wants);
}

static int make_snapshot(struct app *app, const struct app_options *options)
{
    char reason[CONFIG_ERROR_SIZE];
    int status =
        settings_snapshot(*app->config, options, 1, &app->shared.snapshot, reason, sizeof(reason));

    if (status)
        log_error("%s", reason);
    else
        profiles_log(&app->shared.snapshot->credentials);
    return status;
}

static int start_workers(struct app *app)
{
    const struct config *config = *app->config;
    size_t cores = count_cores();
    size_t n_dial = config->threads_dial ? (size_t)config->threads_dial : cores;
    size_t n_io = config->threads_io ? (size_t)config->threads_io : cores;
    struct resolver_settings resolver = {
        .n_threads = (unsigned)config->threads_resolver,
        .n_threads_max = (unsigned)config->threads_resolver_max,
        .n_queue_max = app->shared.snapshot->settings.lookups,
        .n_cache_max = (size_t)config->connect_cache_entries,
        .cache_ms = config->connect_cache_time,
        .negative_cache_ms = config->connect_negative_cache_time,
    };

    int r = table_new(&app->shared.table, app->shared.snapshot->settings.sockets);
    if (r == 0)
        r = accounts_new(&app->shared.accounts, ACCOUNTS_MAX, n_io);
    if (r == 0)
        r = resolver_new(&app->shared.resolver, &resolver);
    if (r == 0)
        r = dialers_new(&app->shared.dialers, (unsigned)n_dial, &app->shared.snapshot->dial);
    if (r)
        return r;
    app->shared.ios = calloc(n_io, sizeof(*app->shared.ios));
    app->drained = calloc(n_io, sizeof(*app->drained));
    app->loops = calloc(n_io + n_dial, sizeof(struct loop *));
    if (!app->shared.ios || !app->drained || !app->loops)
        return -ENOMEM;
    r = events_new(&app->shared.events, n_io);
    if (r)
        return r;
    for (size_t i = 0; i < n_io; i++) {
        r = io_new(&app->shared.ios[i], &app->shared, i);
        if (r)
            return r;
        app->shared.n_ios++;
        app->loops[i] = app->shared.ios[i]->loop;
    }
    for (size_t i = 0; i < n_dial; i++)
        app->loops[n_io + i] = dialers_loop(app->shared.dialers, i);
    for (size_t i = 0; i < n_io; i++) {
        r = io_start(app->shared.ios[i]);
        if (r)
            return r;
        app->n_started++;
    }
    return 0;
}

/* What came before there was a handler, it gets now. */
static void let_sighup_in(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGHUP);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

static int watch_signals(struct app *app)
{
    static const int numbers[] = {SIGTERM, SIGINT, SIGHUP};
    uv_signal_t *handles[] = {&app->sigterm, &app->sigint, &app->sighup};

    for (size_t i = 0; i < 3; i++) {
        int r = uv_signal_init(&app->control->uv, handles[i]);
        ASSERT(r == 0); /* only without memory for its pipe, at the very start */
        handles[i]->data = app;
    }
    app->signals = true;
    for (size_t i = 0; i < 3; i++) {
        int r = uv_signal_start(handles[i], on_signal, numbers[i]);
        if (r)
            return r;
    }
    let_sighup_in();
    return 0;
}

static void on_alive(void *context)
{
    (void)context;
    systemd_notify("WATCHDOG=1");
}

/* There is no way to go on without it, and no good comes of waiting longer. */
static void on_hang(void *context, const char *thread, uint64_t waited_ms)
{
    const struct log_field fields[] = {{TAG_THREAD, thread}};

    (void)context;
    log_event(LOG_ERROR_, EVENT_HANGS, fields, 1,
              "the thread %s has not answered for %llu ms: the service manager is asked to end "
              "this daemon, and to start another",
              thread, (unsigned long long)waited_ms);
    systemd_notify("WATCHDOG=trigger");
}

static void on_day(struct timer *timer)
{
    struct app *app = container_of(timer, struct app, day);

    profiles_log_expiry(&app->shared.snapshot->credentials);
    int r = timers_start(&app->control->timers, timer, DAY_MS, on_day);
    ASSERT(r == 0); /* its place in the heap is kept */
}

/* Returns an exit status; what is wrong has been logged. */
static int open_doors(struct app *app, const struct app_options *options)
{
    struct door_plan *plan = NULL;
    char reason[CONFIG_ERROR_SIZE] = "out of memory";
    int status = doors_new(&app->doors, app->control, &app->shared, app->restart) ? 1 : 0;

    if (status == 0)
        status = door_plan_new(&plan, *app->config, &app->shared.snapshot->credentials, options,
                               reason, sizeof(reason));
    if (status == 0)
        status = doors_prepare(app->doors, &plan, reason, sizeof(reason));
    door_plan_free(plan);
    if (status)
        log_error("%s", reason);
    return status;
}

static int start(struct app *app, const struct app_options *options)
{
    const struct config *config = *app->config;
    struct listen_settings listening = {
        .path = options->socket ? options->socket : config->listen_socket,
        .mode = config->listen_mode,
        .group = config->listen_group,
        .backlog = (int)config->listen_backlog,
        .max_clients = config->listen_clients,
    };

    app->shared.started_us = loop_clock_us();
    app->shared.started_s = app->shared.reloads.success_s = (int64_t)time(NULL);
    atomic_init(&app->shared.next_session, 1);
    raise_fd_limit(config);
    int status = make_snapshot(app, options);
    if (status)
        return status;
    int r = loop_new(&app->control, "control", 0);
    if (r == 0)
        r = restart_new(&app->restart, config, &app->shared);
    /* whoever finds the broker's socket finds the doors, too */
    if (r == 0) {
        status = open_doors(app, options);
        if (status)
            return status;
        r = listener_new(&app->listener, &listening);
    }
    if (r > 0)
        return r == LISTEN_E_USAGE ? 2 : 1;
    app->shared.control = app->control;
    arrivals_init(&app->shared.arrivals, app->control);
    app->shared.reload = on_reload;
    app->shared.drain = on_drain;
    app->shared.doors = on_doors;
    if (r == 0)
        r = pool_keeper_new(&app->shared.keeper, &app->shared);
    /* early, as the socket is there already; they are looked at when all is started */
    if (r == 0)
        r = watch_signals(app);
    if (r == 0)
        r = start_workers(app);
    if (r == 0)
        r = reload_new(&app->reload, app->control, &app->shared, options, app->config, app->doors,
                       &app->status, on_idle, app);
    if (r == 0)
        r = drain_new(&app->drain, &app->shared, app->doors, &app->status, on_drain_over, app);
    if (r == 0)
        r = listener_start(app->listener, app->control, &app->shared);
    if (r == 0)
        doors_commit(app->doors);
    if (r == 0)
        r = timers_start(&app->control->timers, &app->day, DAY_MS, on_day);
    if (r == 0 && systemd_manages())
        r = status_start(&app->status, app->control, app->shared.table);
    app->watchdog.on_idle = on_idle;
    app->watchdog.on_alive = on_alive;
    app->watchdog.on_hang = on_hang;
    app->watchdog.context = app;
    if (r == 0)
        r = watchdog_start(&app->watchdog, app->control, app->loops,
                           app->shared.n_ios + dialers_count(app->shared.dialers),
                           app->shared.resolver, systemd_watchdog_us());
    /* the last that can fail; this thread has let nobody in yet who could ask for his session */
    if (r == 0)
        r = restart_begin(app->restart);
    if (r) {
        log_error("cannot start: %s", strerror(-r));
        return 1;
    }
    log_event(LOG_NOTICE_, EVENT_STARTED, NULL, 0,
              "tcpbrokerd %s listens on %s: %zu io, %zu dial, %lld resolver threads",
              TCPBROKER_VERSION, listener_path(app->listener), app->shared.n_ios,
              dialers_count(app->shared.dialers), (long long)config->threads_resolver);
    systemd_notify("READY=1");
    pool_keeper_change(app->shared.keeper, app->shared.snapshot);
    return 0;
}

/* ---- the end
 * --------------------------------------------------------------------------------------------------
 */

static void close_signals(struct app *app)
{
    if (!app->signals)
        return;
    uv_close((uv_handle_t *)&app->sigterm, NULL);
    uv_close((uv_handle_t *)&app->sigint, NULL);
    uv_close((uv_handle_t *)&app->sighup, NULL);
}

/* Everything that was started, in the order that lets nothing be sent to who is gone. */
static void finish(struct app *app, int status)
{
    for (size_t i = 0; i < app->n_started; i++)
        io_stop(app->shared.ios[i]);
    for (size_t i = 0; i < app->n_started; i++)
        io_join(app->shared.ios[i]);
    status_stop(&app->status);
    app->doors = doors_free(app->doors);
    if (app->listener)
        listener_stop(app->listener);
    app->listener = listener_free(app->listener);
    if (app->shared.resolver) {
        resolver_stop(app->shared.resolver);
        if (!resolver_free(&app->shared.resolver, RESOLVER_WAIT_MS)) {
            /* it would post to loops that are about to be freed; nothing of value is left to lose
             */
            log_notice(
                "stopped; a look-up still hangs in the system's resolver and was left behind");
            _exit(status);
        }
    }
    if (app->shared.dialers)
        dialers_stop(app->shared.dialers);
    app->shared.dialers = dialers_free(app->shared.dialers);
    for (size_t i = 0; i < app->shared.n_ios; i++)
        io_free(app->shared.ios[i]);
    app->shared.events = events_free(app->shared.events);
    table_free(app->shared.table);
    accounts_free(app->shared.accounts);
    rpc_snapshot_unref(app->shared.snapshot);
    if (app->control) {
        close_signals(app);
        app->reload = reload_free(app->reload);
        app->drain = drain_free(app->drain);
        timers_stop(&app->control->timers, &app->day);
        loop_free(app->control);
    }
    app->restart = restart_free(app->restart);
    app->shared.keeper = pool_keeper_free(app->shared.keeper);
    free(app->shared.ios);
    free(app->drained);
    free(app->loops);
}

/* From here on the daemon ends anyway: one more signal must not turn a clean stop into a death
 * (closing libuv's handles gives the signals their default action back). */
static void block_signals(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
}

int app_run(struct config **config, const struct app_options *options)
{
    struct app app = {.config = config};

    signal(SIGPIPE, SIG_IGN); /* OpenSSL writes to sockets without MSG_NOSIGNAL */
    the_app = &app;
    int status = start(&app, options);
    if (status == 0) {
        loop_run(app.control);
        block_signals();
        log_event(LOG_NOTICE_, EVENT_STOPPED, NULL, 0, "stopped");
    }
    finish(&app, status);
    the_app = NULL;
    return status;
}
