#pragma once
/*
 * settings: from a configuration to what the rpc layer works with: one snapshot.
 *
 * Threads:   any; it reads files (certificates), so a reload does it on a worker.
 * Ownership: the snapshot is the caller's reference.
 * Errors:    an exit status, 1 (failure) or 2 (wrong configuration), with the reason in words.
 */
#include "app/app.h"
#include "rpc/settings.h"

/* Returns 0, or the status with *ret_snapshot untouched. */
int settings_snapshot(const struct config *config, const struct app_options *options,
                      uint64_t generation, struct rpc_snapshot **ret_snapshot, char *reason,
                      size_t n_reason);
/* Does the second configuration need a restart to be wholly in force? */
bool settings_need_restart(const struct config *running, const struct config *wanted);
/* The level and format of the log. */
void settings_set_log(const struct config *config);
