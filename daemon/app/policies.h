#pragma once
/*
 * policies: from [policy] and the sections [rule "name"] of a configuration to the policy of a
 * snapshot.
 *
 * Threads:   any; it asks for users, groups and services, so a reload does it on a worker.
 * Ownership: what is loaded is the caller's: policy_free().
 * Errors:    an exit status, 1 (failure) or 2 (wrong configuration), with the reason in words,
 * "FILE:LINE: …". Who is named and not known is an error: a rule that passed him over would allow
 * or deny something else than it says.
 */
#include "broker/policy.h"
#include "config/config.h"

/* *ret_policy: NULL when everything is allowed. file: what the configuration was read from. */
NODISCARD int policies_load(struct policy **ret_policy, const struct config *config,
                            const char *file, char *reason, size_t n_reason);
