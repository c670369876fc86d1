#pragma once
/*
 * histogram: how often something took how long, in fixed buckets; and counters of the same kind.
 *
 * Threads:   one thread records, the one that the histogram belongs to; any thread reads. So a
 * record is a load, an addition and a store, without a lock prefix. Relaxed: each figure is right,
 * together they are no snapshot.
 * Ownership: embedded; all zero is an empty one. The scales are constant.
 * Limits:    HISTOGRAM_BOUNDS_MAX bounds.
 */
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

enum { HISTOGRAM_BOUNDS_MAX = 18 };

/* Upper bounds of the buckets (inclusive), rising; one more bucket takes what is above them all. */
struct histogram_scale {
    size_t n;
    int64_t bounds_us[HISTOGRAM_BOUNDS_MAX];
};

/* 100 µs to 60 s: requests, and the stages of a connect. */
extern const struct histogram_scale histogram_scale_stage;
/* 1 ms to 10 s: what is known in whole milliseconds only. */
extern const struct histogram_scale histogram_scale_lag;

struct histogram {
    _Atomic uint64_t buckets[HISTOGRAM_BOUNDS_MAX + 1]; /* each for itself */
    _Atomic uint64_t sum_us;
};

/* Several histograms of one scale, added up. */
struct histogram_sum {
    uint64_t buckets[HISTOGRAM_BOUNDS_MAX + 1];
    uint64_t count, sum_us;
};

/* A counter that only its own thread counts up. */
static inline void counter_add(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
                          memory_order_relaxed);
}

static inline uint64_t counter_read(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

/* us < 0 counts as 0. */
static inline void histogram_record(struct histogram *histogram,
                                    const struct histogram_scale *scale, int64_t us)
{
    size_t i = 0;

    while (i < scale->n && us > scale->bounds_us[i])
        i++;
    counter_add(&histogram->buckets[i], 1);
    if (us > 0)
        counter_add(&histogram->sum_us, (uint64_t)us);
}

void histogram_add(struct histogram_sum *sum, const struct histogram *histogram);
