#include "rpc/meter.h"

#include <string.h>

#include "net/dial.h"

void meter_time(struct meter *meter, enum method method, int64_t started_us)
{
    histogram_record(&meter->times[method], &histogram_scale_stage, loop_clock_us() - started_us);
}

void meter_limit(struct meter *meter, const char *name)
{
    size_t i = 0;

    if (!name)
        return;
    for (; i < METER_LIMITS_MAX - 1; i++) {
        const char *present = atomic_load_explicit(&meter->limits[i].name, memory_order_relaxed);
        if (present && strcmp(present, name) == 0)
            break;
        if (present)
            continue;
        atomic_store_explicit(&meter->limits[i].name, name, memory_order_release);
        break;
    }
    if (i == METER_LIMITS_MAX - 1)
        atomic_store_explicit(&meter->limits[i].name, "other", memory_order_release);
    counter_add(&meter->limits[i].n, 1);
}

static void record(struct meter *meter, enum meter_stage stage, int64_t us)
{
    histogram_record(&meter->stages[stage], &histogram_scale_stage, us);
}

void meter_connected(struct meter *meter, enum meter_via via, const struct dial *dial,
                     int64_t total_us)
{
    counter_add(&meter->connected[via][dial->pooled ? METER_POOLED : METER_OK], 1);
    record(meter, METER_TOTAL, total_us);
    if (dial->pooled)
        return;
    record(meter, METER_TCP, dial->connect_us);
    /* 0: there was nothing to look up, no thread to wait for, no TLS */
    if (dial->resolve_us > 0)
        record(meter, METER_RESOLVE, dial->resolve_us);
    if (dial->queue_us > 0)
        record(meter, METER_QUEUE, dial->queue_us);
    if (dial->handshake_us > 0)
        record(meter, METER_TLS, dial->handshake_us);
}

void meter_failed(struct meter *meter, enum meter_via via, enum error_stage stage, bool timed_out)
{
    counter_add(&meter->failed[via][timed_out ? METER_TIMEOUT : METER_ERROR][stage], 1);
}
