#include "app/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "app/systemd.h"
#include "broker/stats.h"
#include "broker/table.h"

/* ---- the words ---- */

__attribute__((format(printf, 2, 3))) static void add(char *line, const char *format, ...)
{
    size_t n = strlen(line);
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(line + n, STATUS_LINE_MAX - n, format, arguments);
    va_end(arguments);
}

static void add_count(char *line, int64_t n, const char *one, const char *many)
{
    add(line, ", %lld %s", (long long)n, n == 1 ? one : many);
}

void status_text(const struct status_figures *figures, char line[STATUS_LINE_MAX])
{
    line[0] = '\0';
    add(line, "%s: %lld %s",
        figures->stopping   ? "Finishing"
        : figures->draining ? "Draining, nothing new is begun"
                            : "Listening",
        (long long)figures->clients, figures->clients == 1 ? "client" : "clients");
    add_count(line, figures->sockets, "socket", "sockets");
    if (figures->passages)
        add_count(line, figures->passages, "tunnel in use", "tunnels in use");
    if (figures->stopping)
        add_count(line, figures->requests, "request running", "requests running");
    if (figures->connects_per_s)
        add_count(line, figures->connects_per_s, "connect/s", "connects/s");
    if (figures->lookups)
        add_count(line, figures->lookups, "look-up waiting", "look-ups waiting");
    if (figures->log_lost)
        add_count(line, figures->log_lost, "line of the log lost", "lines of the log lost");
    if (figures->restart_needed)
        add(line, "; a restart is needed for some of the configuration");
    if (figures->reload_failed[0])
        add(line, "; the last reload failed: %s", figures->reload_failed);
}

/* ---- the figures ---- */

static int64_t count_connects(void)
{
    return atomic_load_explicit(&stats.connects_ok, memory_order_relaxed) +
           atomic_load_explicit(&stats.connects_failed, memory_order_relaxed) +
           atomic_load_explicit(&stats.tunnel_connections_total, memory_order_relaxed) +
           atomic_load_explicit(&stats.socks_connections_total, memory_order_relaxed);
}

static void look(struct status *status)
{
    struct status_figures *figures = &status->figures;
    int64_t now_us = loop_clock_us(), connects = count_connects();
    int64_t past_us = now_us - status->looked_us, pause_us = INT64_C(1000) * STATUS_PAUSE_MS;
    struct proto_broker_stats_result now;

    stats_read(&now);
    figures->clients = now.clients;
    figures->sockets = (int64_t)table_count(status->table);
    figures->passages = now.tunnel_connections + now.socks_connections;
    figures->lookups = now.lookups_running;
    figures->requests = now.requests_running;
    figures->log_lost = now.log_lost;
    /* rounded; over what is short or long ago it would not be what is going on */
    figures->connects_per_s =
        past_us >= pause_us / 2 && past_us <= pause_us * 2
            ? ((connects - status->connects_before) * 1000000 + past_us / 2) / past_us
            : 0;
    status->connects_before = connects;
    status->looked_us = now_us;
}

/* ---- when ---- */

static void send_it(struct status *status);

static void on_timer(struct timer *timer)
{
    send_it(container_of(timer, struct status, timer));
}

/* Its place in the heap is kept since status_start(), so this cannot fail. */
static void send_in(struct status *status, int64_t delay_ms)
{
    int r = timers_start(&status->control->timers, &status->timer,
                         delay_ms > 0 ? (uint64_t)delay_ms : 0, on_timer);
    ASSERT(r == 0);
}

static void send_it(struct status *status)
{
    char line[STATUS_LINE_MAX];
    int64_t connects = status->connects_before;

    timers_stop(&status->control->timers, &status->timer);
    if (!status->watching) { /* else the mail may be on its way */
        status->watching = true;
        stats_watch(); /* first: what changes while the figures are read is told again */
    }
    look(status);
    status_text(&status->figures, line);
    if (strcmp(line, status->sent) != 0) {
        memcpy(status->sent, line, sizeof(line));
        systemd_notify("STATUS=%s", line);
    }
    /* connects a second: the pause that is told begins with the first, and rest is told once */
    if (status->connects_before != connects || status->figures.connects_per_s)
        send_in(status, STATUS_PAUSE_MS);
}

static void on_changed(struct mail *mail)
{
    struct status *status = container_of(mail, struct status, changed);

    status->watching = false;
    if (status->stopped)
        return;
    if (!timer_running(&status->timer))
        send_in(status, STATUS_PAUSE_MS - (loop_clock_us() - status->looked_us) / 1000);
}

/* Any thread. */
static void on_stats(void *context)
{
    struct status *status = context;
    loop_post(status->control, &status->changed);
}

int status_start(struct status *status, struct loop *control, struct table *table)
{
    status->control = control;
    status->table = table;
    status->changed.deliver = on_changed;
    int r = timers_start(&control->timers, &status->timer, 0, on_timer);
    if (r)
        return r;
    status->started = true;
    stats_watcher(on_stats, status);
    return 0;
}

void status_stop(struct status *status)
{
    if (status->started && !status->stopped)
        timers_stop(&status->control->timers, &status->timer);
    status->stopped = true;
    stats_unwatch();
}

void status_stopping(struct status *status)
{
    if (!status->started)
        return;
    status->figures.stopping = true;
    send_it(status);
}

void status_draining(struct status *status, bool on)
{
    if (!status->started)
        return;
    status->figures.draining = on;
    send_it(status);
}

void status_reloaded(struct status *status, const char *failed, bool restart_needed)
{
    char *reason = status->figures.reload_failed;

    snprintf(reason, STATUS_REASON_MAX, "%s", failed ? failed : "");
    for (size_t i = 0; reason[i]; i++)
        if ((unsigned char)reason[i] < 0x20 || reason[i] == 0x7f)
            reason[i] = '?';
    if (!failed)
        status->figures.restart_needed = restart_needed;
    if (status->started && !status->stopped)
        send_it(status);
}
