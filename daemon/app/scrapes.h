#pragma once
/*
 * scrapes: the connections of those who read the metrics: HTTP/1.1, GET and HEAD of /metrics
 * (net/http_request.h), answered by the text of rpc/metrics.h. The doors accept them
 * (app/doors.h).
 *
 * Threads:   the control thread only.
 * Ownership: owns the connections. scrapes_free() closes what is left.
 * Errors:    none to the caller: a connection that cannot be served is closed.
 * Limits:    SCRAPES_MAX connections; for one more, that which has been without a request for
 * longest is closed. HTTP_HEAD_MAX bytes of a request and one answer are held for each. A request
 * must be complete, and its answer taken, within SCRAPES_TIME_MS; between two of them
 * SCRAPES_IDLE_MS may pass.
 */
#include "loop/loop.h"
#include "rpc/settings.h"

enum { SCRAPES_MAX = 16, SCRAPES_TIME_MS = 10 * 1000, SCRAPES_IDLE_MS = 150 * 1000 };

struct scrapes;

NODISCARD int scrapes_new(struct scrapes **ret_scrapes, struct loop *loop,
                          const struct rpc_shared *shared);
/* Serve that connection; takes the fd. */
void scrapes_serve(struct scrapes *scrapes, int fd);
/* NULL is fine, returns NULL. */
struct scrapes *scrapes_free(struct scrapes *scrapes);
