#pragma once
/*
 * metrics: all that the daemon tells about itself, as text for Prometheus: the families of
 * metrics.def, from the counters of proto/stats.def, the meters of the io threads, and what is
 * looked up at the time. How others get it: the method Broker.Metrics, the doors of [metrics].
 *
 * Threads:   the control thread (asserted), which has the snapshot in force. It reads relaxed
 * counters of the others, and takes two leaf locks, one after the other, for a moment each.
 * Ownership: appends to the caller's writer.
 * Errors:    writer_failed().
 * Limits:    a few hundred lines, and as many more as methods are called, pools and identities are
 * configured; some milliseconds when tens of thousands of descriptors are open on a kernel before
 * 6.2, which has to be asked for each.
 */
#include "proto/writer.h"
#include "rpc/settings.h"

void metrics_write(struct writer *writer, const struct rpc_shared *shared);
