#pragma once
/*
 * flight: what an io thread has under way on other threads to reach somebody: a look-up, a dial.
 * Embedded in what waits for it, which cannot be freed before everything is back.
 *
 * Threads:   the io thread only. What travels is the struct lookup or struct dial, never this.
 * Ownership: what comes back is the callback's.
 * Errors:    FLIGHT_E_*. The way back cannot fail.
 */
#include "net/dial.h"
#include "net/resolver.h"
#include "rpc/settings.h"

enum {
    FLIGHT_E_LOOKUPS_FULL = 1,
    FLIGHT_E_USER_LOOKUPS, /* as many of that user's as may be */
};

/* The dial thread keeps the deadline to the millisecond and tells what it was doing; should it be
 * too busy for that, who waits gives up so much later. */
enum { FLIGHT_BACKSTOP_MS = 2000 };

struct flight {
    struct loop *loop;
    struct rpc_shared *shared;
    struct account *account; /* whose look-ups they are; there as long as one is waited for */
    size_t n_lookups_max;    /* of that account */
    struct lookup *lookup;   /* on its way */
    struct dial *dial;
    void (*on_lookup)(struct flight *flight, struct lookup *lookup);
    void (*on_dial)(struct flight *flight, struct dial *dial);
};

/* Takes *lookup; one at a time. */
NODISCARD int flight_lookup(struct flight *flight, struct lookup **lookup);
/* Takes *dial; one at a time. */
void flight_dial(struct flight *flight, struct dial **dial);
/* Nobody waits any more: what is out comes back soon. */
void flight_recall(struct flight *flight);
static inline bool flight_is_out(const struct flight *flight)
{
    return flight->lookup || flight->dial;
}
