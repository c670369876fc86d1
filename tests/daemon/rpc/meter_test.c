#include "rpc/meter.h"

#include "net/dial.h"
#include "support/test.h"

static uint64_t count_of(const struct histogram *histogram)
{
    struct histogram_sum sum = {.count = 0};
    histogram_add(&sum, histogram);
    return sum.count;
}

/* A name is found again also by another copy of it; what is too much is counted all the same. */
TEST(meter, limits)
{
    static struct meter meter;
    static char names[METER_LIMITS_MAX + 5][16];
    char copy[16];
    uint64_t n = 0;

    memset(&meter, 0, sizeof(meter));
    meter_limit(&meter, NULL);
    CHECK(!meter.limits[0].name);
    for (int i = 0; i < METER_LIMITS_MAX + 5; i++) {
        snprintf(names[i], sizeof(names[i]), "limits.%d", i);
        meter_limit(&meter, names[i]);
    }
    snprintf(copy, sizeof(copy), "limits.3");
    meter_limit(&meter, copy);
    CHECK_INT(counter_read(&meter.limits[3].n), 2);
    CHECK(meter.limits[3].name == names[3]);
    CHECK_STRING(meter.limits[METER_LIMITS_MAX - 1].name, "other");
    CHECK_INT(counter_read(&meter.limits[METER_LIMITS_MAX - 1].n), 6);
    for (int i = 0; i < METER_LIMITS_MAX; i++)
        n += counter_read(&meter.limits[i].n);
    CHECK_INT(n, METER_LIMITS_MAX + 6);
}

TEST(meter, requests)
{
    static struct meter meter;

    memset(&meter, 0, sizeof(meter));
    meter_request(&meter, METHOD_TCP_SEND, WIRE_NONE, 0);
    meter_request(&meter, METHOD_TCP_RECEIVE, METER_GONE, 0);
    meter_request(&meter, METHOD_TCP_CONNECT, WIRE_ETIMEDOUT, loop_clock_us() - 2000000);
    meter_refused(&meter, METHOD_UNKNOWN, WIRE_METHOD_NOT_FOUND);
    CHECK_INT(counter_read(&meter.requests[METHOD_TCP_SEND][WIRE_NONE]), 1);
    CHECK_INT(counter_read(&meter.requests[METHOD_TCP_RECEIVE][METER_GONE]), 1);
    CHECK_INT(counter_read(&meter.requests[METHOD_TCP_CONNECT][WIRE_ETIMEDOUT]), 1);
    CHECK_INT(counter_read(&meter.requests[METHOD_UNKNOWN][WIRE_METHOD_NOT_FOUND]), 1);
    CHECK_INT(count_of(&meter.times[METHOD_TCP_SEND]), 0);
    CHECK_INT(count_of(&meter.times[METHOD_TCP_RECEIVE]), 0);
    CHECK_INT(count_of(&meter.times[METHOD_TCP_CONNECT]), 1);
    CHECK(counter_read(&meter.times[METHOD_TCP_CONNECT].sum_us) >= 2000000);
}

/* Only the stages that there were. */
TEST(meter, stages)
{
    static struct meter meter;
    struct dial here = {.connect_us = 30};
    struct dial far = {.resolve_us = 5, .queue_us = 7, .connect_us = 900, .handshake_us = 2000};
    struct dial pooled = {.pooled = true};
    static const unsigned wanted[METER_N_STAGES] = {[METER_RESOLVE] = 1,
                                                    [METER_QUEUE] = 1,
                                                    [METER_TCP] = 2,
                                                    [METER_TLS] = 1,
                                                    [METER_TOTAL] = 3};

    memset(&meter, 0, sizeof(meter));
    meter_connected(&meter, METER_REQUEST, &here, 40);
    meter_connected(&meter, METER_SOCKS, &far, 3000);
    meter_connected(&meter, METER_REQUEST, &pooled, 20);
    meter_failed(&meter, METER_TUNNEL, STAGE_TLS, false);
    meter_failed(&meter, METER_TUNNEL, STAGE_TLS, true);
    for (int i = 0; i < METER_N_STAGES; i++)
        CHECK_INT(count_of(&meter.stages[i]), wanted[i]);
    CHECK_INT(counter_read(&meter.connected[METER_REQUEST][METER_OK]), 1);
    CHECK_INT(counter_read(&meter.connected[METER_REQUEST][METER_POOLED]), 1);
    CHECK_INT(counter_read(&meter.connected[METER_SOCKS][METER_OK]), 1);
    CHECK_INT(counter_read(&meter.failed[METER_TUNNEL][METER_ERROR][STAGE_TLS]), 1);
    CHECK_INT(counter_read(&meter.failed[METER_TUNNEL][METER_TIMEOUT][STAGE_TLS]), 1);
}
