#pragma once
/*
 * app: the whole daemon: which parts there are, in which order they start and stop.
 *
 * Start:  settings, trust, table, resolver, dial threads, io threads, listening socket, READY=1.
 * Stop:   listening ends; io threads drain (running requests finish within stop.drain_timeout, then
 * are answered SHUTTING_DOWN); io threads are joined; look-ups and dials come back cancelled; their
 * threads are joined; all is freed.
 *
 * Threads:   the control thread (main) only.
 * Ownership: the app owns everything it starts.
 * Errors:    an exit status: 0, 1 (failure) or 2 (wrong usage or configuration); what was wrong has
 * been logged.
 */
#include <stdbool.h>
#include <stddef.h>

#include "config/config.h"

struct app_options {
    const char *socket;         /* --socket, or NULL */
    const char *const *cacerts; /* --cacerts, each one */
    size_t n_cacerts;
    /* how the configuration was loaded, to load it again */
    const char *config;
    unsigned config_flags;
    const char *const *sets;
    size_t n_sets;
    bool check; /* --check-config: nothing is started */
};

/* Run until SIGTERM or SIGINT. *config is replaced by a reload; it stays the caller's. */
int app_run(struct config **config, const struct app_options *options);
