#pragma once
/*
 * resolver_policy: how many threads the resolver has. The system's resolver cannot be interrupted,
 * and a name whose servers are silent keeps its thread for up to a minute; such threads must not be
 * counted among those that work.
 *
 * The policy: n_threads are there from start to end. A look-up that has run for the settings'
 * slow_us is slow, and each slow one entitles to two more threads, so that the pool doubles from
 * one such time to the next for as long as all it gets to do is slow: behind 100 names that hang,
 * 16 threads get to the 101st after twice that time. n_threads_max bounds them all. A thread that
 * is one too many when its look-up ends goes.
 *
 * Threads: any; pure.
 */
#include <stdbool.h>

struct resolver_policy {
    unsigned n_threads;     /* > 0 */
    unsigned n_threads_max; /* >= n_threads */
};

/* How many threads there may be while n_slow of them have slow look-ups. */
unsigned resolver_policy_limit(const struct resolver_policy *policy, unsigned n_slow);
/* How many to start now, with n_alive there, n_idle of them without work, and n_waiting look-ups
 * waiting for one. */
unsigned resolver_policy_start(const struct resolver_policy *policy, unsigned n_alive,
                               unsigned n_idle, unsigned n_slow, unsigned n_waiting);
/* Should a thread that has nothing to do at the moment end? */
bool resolver_policy_surplus(const struct resolver_policy *policy, unsigned n_alive,
                             unsigned n_slow);
