#pragma once
/*
 * resolver_payer: for whom the resolver works: how many questions wait or run on whose account.
 * Whoever asks first for a name pays for it; when he gives up, one of those who wait with him does.
 * A look-up that runs cannot be stopped, so it is paid for until it has ended, also when nobody
 * waits for it any more.
 *
 * Threads:   n_there is read by any; both are written under the resolver's mutex only.
 * Ownership: embedded in what the layer above keeps for a user. It must be there as long as a
 * look-up that names it is out, and while n_there is not 0.
 * Limits:    lookup.n_payer_max questions for each; of the threads, a payer gets another one while
 * he has fewer than are left. So the first may have half of them, the second a quarter, and there
 * is one for who comes new even if all that the others ask for hangs.
 */
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

struct lookup_payer {
    atomic_size_t n_there; /* questions that wait or run */
    size_t n_running;      /* of these */
};

/* May one more of his questions run, when n_busy of n_threads_max threads have something to do? */
static inline bool lookup_payer_may_run(const struct lookup_payer *payer, size_t n_busy,
                                        size_t n_threads_max)
{
    return n_busy < n_threads_max && payer->n_running < n_threads_max - n_busy;
}
