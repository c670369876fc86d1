#pragma once
/*
 * restart: what outlives this process, and what has outlived the one before (docs/restart.md).
 *
 * Start:  restart_new() takes what the store has; the doors find their sockets there; when the io
 * threads run, restart_begin() gives them the durable sessions of the state that a daemon has
 * written at its end, or of the ledger of one that has died.
 * Stop:   when all io threads are drained, restart_leave() collects their sessions, writes the
 * state and puts it into the store.
 *
 * Threads:   the control thread only.
 * Ownership: the app's; it owns the ledger and lends rpc_shared its struct keep.
 * Errors:    -errno. What cannot be taken over is given up, with a line in the log.
 */
#include "app/store.h"
#include "config/config.h"
#include "rpc/settings.h"

struct restart;

/* Sets shared->keep when the store is to be used. */
NODISCARD int restart_new(struct restart **ret_restart, const struct config *config,
                          struct rpc_shared *shared);
/* All io threads must have been joined. */
struct restart *restart_free(struct restart *restart);

/* Is there a store, that this daemon leaves something in? */
bool restart_keeps(const struct restart *restart);
/* A socket that listened before, by its name in the store; -1: there is none. */
int restart_take_door(struct restart *restart, const char *name);

/* Once, after the io threads were started and before anybody comes. */
NODISCARD int restart_begin(struct restart *restart);
/* Once, when all io threads are drained; calls on_left, perhaps at once. */
void restart_leave(struct restart *restart, void (*on_left)(void *context), void *context);
