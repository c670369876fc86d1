#pragma once
/*
 * meter: what an io thread counts of its own work for the metrics (rpc/metrics.h): answers, how
 * long they took, connects and their stages, limits that were reached. What Broker.Stats tells is
 * in broker/stats.h.
 *
 * Threads:   the io thread writes; any thread reads (util/histogram.h). A call to the hot methods,
 * TCPSend and TCPReceive, costs one addition without a lock, and no look at a clock.
 * Ownership: part of its struct io. Names of limits are literals, never freed.
 * Limits:    METER_LIMITS_MAX names of limits; more are counted under the last.
 */
#include "proto/methods.h"
#include "util/histogram.h"

struct dial;

/* How a request ended: WIRE_NONE: with its result; an error; or this: its client was gone. */
enum { METER_GONE = WIRE_N, METER_CODES };

/* Who wanted to connect. */
enum meter_via { METER_REQUEST, METER_TUNNEL, METER_SOCKS, METER_N_VIA };
enum meter_result { METER_OK, METER_POOLED, METER_ERROR, METER_TIMEOUT, METER_N_RESULTS };
/* Of a connect that came off, in order. */
enum meter_stage { METER_RESOLVE, METER_QUEUE, METER_TCP, METER_TLS, METER_TOTAL, METER_N_STAGES };

enum { METER_LIMITS_MAX = 24 };

struct meter_limit {
    _Atomic(const char *) name; /* "limits.sockets"; NULL: free */
    _Atomic uint64_t n;
};

struct meter {
    _Atomic uint64_t requests[METHOD_N][METER_CODES];
    struct histogram times[METHOD_N];
    struct histogram stages[METER_N_STAGES];
    _Atomic uint64_t connected[METER_N_VIA][METER_N_RESULTS]; /* METER_OK, METER_POOLED */
    _Atomic uint64_t failed[METER_N_VIA][METER_N_RESULTS][STAGE_N];
    struct meter_limit limits[METER_LIMITS_MAX];
};

/* How long a request took is not asked of these: they are short, or wait for a peer that has
 * nothing to say, which is nobody's fault, and they are what must cost nothing. */
static inline bool meter_times(enum method method)
{
    return method != METHOD_TCP_SEND && method != METHOD_TCP_RECEIVE;
}

/* It was answered, or dropped. */
void meter_time(struct meter *meter, enum method method, int64_t started_us);
static inline void meter_request(struct meter *meter, enum method method, unsigned code,
                                 int64_t started_us)
{
    counter_add(&meter->requests[method][code], 1);
    if (meter_times(method))
        meter_time(meter, method, started_us);
}
/* It was refused before it began. */
static inline void meter_refused(struct meter *meter, enum method method, unsigned code)
{
    counter_add(&meter->requests[method][code], 1);
}

/* A limit was reached; NULL is fine. */
void meter_limit(struct meter *meter, const char *name);

void meter_connected(struct meter *meter, enum meter_via via, const struct dial *dial,
                     int64_t total_us);
void meter_failed(struct meter *meter, enum meter_via via, enum error_stage stage, bool timed_out);
