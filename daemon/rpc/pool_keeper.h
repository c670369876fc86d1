#pragma once
/*
 * pool_keeper: fills the shelves of the pools and looks after what rests on them: connections that
 * are over are closed, those whose peer has gone are thrown away. What is wanted, and when after a
 * failure, is the shelf's decision (broker/shelf.h); the keeper has look-ups and dials made, as a
 * job of a request does.
 *
 * Threads:   the control thread (asserted); pool_keeper_wake(): any.
 * Ownership: holds a reference of the snapshot whose pools it keeps.
 * Errors:    -ENOMEM when it is made; later a shelf that could not be filled is tried again.
 */
#include "rpc/settings.h"

struct pool_keeper;

NODISCARD int pool_keeper_new(struct pool_keeper **ret_keeper, struct rpc_shared *shared);
/* Go on with the pools of that snapshot, at first or after a reload: the shelves of the one before
 * are emptied. */
void pool_keeper_change(struct pool_keeper *keeper, struct rpc_snapshot *snapshot);
/* Make no more, or go on: what rests is looked after all the same. */
void pool_keeper_pause(struct pool_keeper *keeper, bool pause);
/* Something was taken, missed or given back. */
void pool_keeper_wake(struct pool_keeper *keeper);
/* Nothing is made any more, and all that rests is closed. What is under way comes back, cancelled,
 * until the control loop is freed. */
void pool_keeper_stop(struct pool_keeper *keeper);
/* After that loop. NULL is fine, returns NULL. */
struct pool_keeper *pool_keeper_free(struct pool_keeper *keeper);
