#include "util/histogram.h"

const struct histogram_scale histogram_scale_stage = {
    .n = 18,
    .bounds_us = {100, 250, 500, 1000, 2500, 5000, 10000, 25000, 50000, 100000, 250000, 500000,
                  1000000, 2500000, 5000000, 10000000, 30000000, 60000000},
};

const struct histogram_scale histogram_scale_lag = {
    .n = 13,
    .bounds_us = {1000, 2000, 5000, 10000, 20000, 50000, 100000, 200000, 500000, 1000000, 2000000,
                  5000000, 10000000},
};

void histogram_add(struct histogram_sum *sum, const struct histogram *histogram)
{
    for (size_t i = 0; i <= HISTOGRAM_BOUNDS_MAX; i++) {
        uint64_t n = counter_read(&histogram->buckets[i]);
        sum->buckets[i] += n;
        sum->count += n;
    }
    sum->sum_us += counter_read(&histogram->sum_us);
}
