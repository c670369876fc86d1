#pragma once
/*
 * shares: the account_share of each user that an io thread has something of: its sessions, and
 * passages that have none yet.
 *
 * Threads:   the io thread only (asserted).
 * Ownership: the io thread owns them; each shares_get() needs a shares_put().
 * Errors:    ACCOUNT_E_FULL, -ENOMEM.
 */
#include "broker/account_share.h"
#include "rpc/io.h"

NODISCARD int shares_get(struct io *io, uid_t uid, struct account_share **ret_share);
/* NULL is fine, returns NULL. */
struct account_share *shares_put(struct io *io, struct account_share *share);

/* One of the user's is turned away, for that quota, or for want of a place for his account (share
 * NULL): counted, and told now and then. what: "client", "program". */
void shares_turn_away(struct account_share *share, enum account_quota quota,
                      const struct account_limits *limits, const char *what, uid_t uid, pid_t pid);
