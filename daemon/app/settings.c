#include "app/settings.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/pool_settings.h"
#include "app/profiles.h"
#include "app/systemd.h"
#include "util/log.h"

int settings_snapshot(const struct config *config, const struct app_options *options,
                      uint64_t generation, struct rpc_snapshot **ret_snapshot, char *reason,
                      size_t n_reason)
{
    struct rpc_snapshot *snapshot = calloc(1, sizeof(*snapshot));

    if (!snapshot) {
        snprintf(reason, n_reason, "out of memory");
        return 1;
    }
    atomic_init(&snapshot->references, 1);
    snapshot->generation = generation;
    snapshot->settings = (struct rpc_settings){
        .line = (size_t)config->limits_line,
        .nesting = (size_t)config->limits_nesting,
        .requests = (size_t)config->limits_requests,
        .unread_answers = (size_t)config->limits_unread_answers,
        .held_bytes = (size_t)config->limits_held_bytes,
        .sockets = (uint32_t)config->limits_sockets,
        .sockets_per_session = (uint32_t)config->limits_sockets_per_session,
        .receive_buffer = (size_t)config->limits_receive_buffer,
        .lookups = (size_t)config->limits_lookups,
        .durable_sessions = config->limits_durable_sessions,
        .connect_timeout_ms = config->connect_timeout,
        .lookup_timeout_ms = config->connect_lookup_timeout,
        .close_timeout_ms = config->io_close_timeout,
    };
    snapshot->dial = (struct dial_settings){
        .stagger_ms = config->connect_stagger,
        .tcp = {.keepalive_ms = config->connect_keepalive,
                .keepalive_interval_ms = config->connect_keepalive_interval,
                .keepalive_probes = (int)config->connect_keepalive_probes,
                .user_timeout_ms = config->connect_user_timeout,
                .nodelay = config->connect_nodelay},
        .backoff = {.after = (unsigned)config->connect_backoff_after,
                    .min_ms = config->connect_backoff_min,
                    .max_ms = config->connect_backoff_max},
        .nice = (int)config->threads_dial_nice,
    };
    int status = profiles_load(&snapshot->credentials, config, options, reason, n_reason);
    if (status == 0)
        status =
            pool_settings_load(&snapshot->pools, config, &snapshot->credentials, reason, n_reason);
    if (status) {
        rpc_snapshot_unref(snapshot);
        return status;
    }
    *ret_snapshot = snapshot;
    return 0;
}

bool settings_need_restart(const struct config *running, const struct config *wanted)
{
    return strcmp(running->listen_socket, wanted->listen_socket) != 0 ||
           running->listen_mode != wanted->listen_mode ||
           strcmp(running->listen_group, wanted->listen_group) != 0 ||
           running->listen_backlog != wanted->listen_backlog ||
           running->listen_clients != wanted->listen_clients ||
           running->threads_io != wanted->threads_io ||
           running->threads_dial != wanted->threads_dial ||
           running->threads_resolver != wanted->threads_resolver ||
           running->threads_resolver_max != wanted->threads_resolver_max ||
           running->connect_cache_time != wanted->connect_cache_time ||
           running->connect_negative_cache_time != wanted->connect_negative_cache_time ||
           running->connect_cache_entries != wanted->connect_cache_entries ||
           running->threads_dial_nice != wanted->threads_dial_nice ||
           running->limits_sockets != wanted->limits_sockets ||
           running->limits_lookups != wanted->limits_lookups;
}

void settings_set_log(const struct config *config)
{
    static const enum log_level levels[] = {
        [CONFIG_LOG_ERROR] = LOG_ERROR_,   [CONFIG_LOG_WARNING] = LOG_WARNING_,
        [CONFIG_LOG_NOTICE] = LOG_NOTICE_, [CONFIG_LOG_INFO] = LOG_INFO_,
        [CONFIG_LOG_DEBUG] = LOG_DEBUG_,
    };
    static bool asked; /* at the first call nobody else logs yet */

    if (!asked && systemd_journal() && log_to_journal(LOG_JOURNAL_SOCKET))
        log_notice("the journal has no socket here: its entries will be without fields");
    asked = true;
    bool journal = config->log_format == CONFIG_LOG_JOURNAL ||
                   (config->log_format == CONFIG_LOG_AUTO && systemd_journal());
    log_set(levels[config->log_level], journal);
}
