#pragma once
/*
 * drain: Broker.Drain: nothing new is begun, what there is works on, and when the last socket is
 * gone, or a deadline has passed, the daemon stops as by SIGTERM; or it stays so until it is told
 * to go on. What is refused: io_refuse_new(), doors_refuse().
 *
 * Threads:   the control thread only; io threads post rpc_drain mails to drain_deliver().
 * Ownership: owns the messages that go to the io threads.
 * Errors:    -ENOMEM from drain_new(); without memory for its timer a drain just has no end of its
 * own, which is logged.
 * Limits:    the last one who asks counts.
 */
#include "app/doors.h"
#include "app/status.h"
#include "rpc/io.h"

struct drain;

/* on_over: nothing is left, or the time has passed; why: as the beginning of a line in the log. */
NODISCARD int drain_new(struct drain **ret_drain, struct rpc_shared *shared, struct doors *doors,
                        struct status *status, void (*on_over)(void *context, const char *why),
                        void *context);
struct drain *drain_free(struct drain *drain); /* after the io threads */
/* An rpc_drain's mail on the control thread. */
void drain_deliver(struct drain *drain, struct mail *mail);
/* The daemon stops: who asks now is told so. */
void drain_stop(struct drain *drain);
/* Does it hold? */
bool drain_is_on(const struct drain *drain);
