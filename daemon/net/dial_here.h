#pragma once
/*
 * dial_here: a plain connection to an address of this host comes about, or not, while connect(2)
 * runs. On the thread that wants it that takes less than the way to a dial thread and back.
 *
 * Threads:   any.
 * Ownership: the dial stays the caller's.
 * Errors:    none are told: what has not worked is for a dial thread, which tells all there is to.
 * Limits:    one address, of loopback; without TLS, a local address of the caller's, explain.
 */
#include "net/dial.h"

/* Returns true: dial->connection is there, `done` is not posted. False: not of this kind, or it has
 * not worked; nothing has changed, post it. dial->own_settings must be set. */
NODISCARD bool dial_here(struct dial *dial, struct backoff *backoff);
