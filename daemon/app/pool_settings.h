#pragma once
/*
 * pool_settings: from the sections [pool "name"] of a configuration to the pools of a snapshot.
 *
 * Threads:   any.
 * Ownership: what is loaded is the caller's; pools_deinit() frees it. It borrows from *credentials,
 * which are of the same snapshot.
 * Errors:    an exit status, 1 (failure) or 2 (wrong configuration), with the reason in words.
 */
#include "config/config.h"
#include "rpc/credentials.h"
#include "rpc/pools.h"

/* Fills *pools, which is empty; also after an error it is to be freed. */
NODISCARD int pool_settings_load(struct pools *pools, const struct config *config,
                                 const struct credentials *credentials, char *reason,
                                 size_t n_reason);
/* How many connections may rest in all pools together. */
size_t pool_settings_count(const struct config *config);
