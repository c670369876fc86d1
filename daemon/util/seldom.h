#pragma once
/*
 * seldom: a warning that somebody else can provoke is given once a second at most, or he could fill
 * the log.
 *
 * Threads:   any.
 * Ownership: embedded; all zero is ready.
 */
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum { SELDOM_EVERY_US = 1000000 };

struct seldom {
    _Atomic int64_t from_us; /* not before then */
    atomic_uint n_silent;
};

/* Now? *ret_silent: how many were not given since the last that was. */
static inline bool seldom_now(struct seldom *seldom, int64_t now_us, unsigned *ret_silent)
{
    int64_t from_us = atomic_load_explicit(&seldom->from_us, memory_order_relaxed);

    if (now_us < from_us || !atomic_compare_exchange_strong_explicit(
                                &seldom->from_us, &from_us, now_us + SELDOM_EVERY_US,
                                memory_order_relaxed, memory_order_relaxed)) {
        atomic_fetch_add_explicit(&seldom->n_silent, 1, memory_order_relaxed);
        return false;
    }
    *ret_silent = atomic_exchange_explicit(&seldom->n_silent, 0, memory_order_relaxed);
    return true;
}
