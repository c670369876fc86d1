#pragma once
/*
 * status: the line that `systemctl status` shows (STATUS= of sd_notify(3)): how many clients and
 * sockets, how many connections are made a second, what is out of the ordinary. Sent when something
 * has changed, at most every STATUS_PAUSE_MS; while nothing changes nobody wakes up for it.
 *
 * Threads:   the control thread; what has changed is told by stats_changed() from any.
 * Ownership: embedded; one at a time. The control loop must outlive it, or have delivered all mail.
 * Errors:    none.
 */
#include "loop/loop.h"

struct table;

enum { STATUS_PAUSE_MS = 2000, STATUS_REASON_MAX = 160, STATUS_LINE_MAX = 400 };

/* What the line tells. */
struct status_figures {
    int64_t clients, sockets, passages; /* passages: programs at tunnels and SOCKS */
    int64_t lookups;                    /* that wait for an answer */
    int64_t connects_per_s;             /* asked for, whatever came of them */
    int64_t requests;                   /* that run; told while stopping only */
    int64_t log_lost;
    bool stopping, draining, restart_needed;
    char reload_failed[STATUS_REASON_MAX]; /* "": it did not */
};

struct status {
    struct loop *control;
    struct table *table;
    struct timer timer;
    struct mail changed;
    struct status_figures figures;
    int64_t connects_before, looked_us;
    bool started, stopped;
    bool watching; /* `changed` will come */
    char sent[STATUS_LINE_MAX];
};

NODISCARD int status_start(struct status *status, struct loop *control, struct table *table);
void status_stop(struct status *status);
/* The daemon stops. */
void status_stopping(struct status *status);
/* Broker.Drain: nothing new is begun; or its end. */
void status_draining(struct status *status, bool on);
/* A reload has ended; failed: why, or NULL. */
void status_reloaded(struct status *status, const char *failed, bool restart_needed);

/* The words for figures. */
void status_text(const struct status_figures *figures, char line[STATUS_LINE_MAX]);
