#pragma once
/*
 * dial_plan: which address to try when (RFC 8305, Happy Eyeballs 2), as pure decisions: time goes
 * in, no sockets. Attempts race: a running one is given up only when another has won.
 *
 * Who plans may leave addresses out, such as those that are known to refuse.
 *
 * The order: the families alternate, beginning with that of the first address (the resolver sorted
 * them by RFC 6724); within a family the resolver's order stays. A new attempt begins when the last
 * one has not succeeded within the stagger, and at once when one has failed (RFC 8305 section 5).
 *
 * Threads: any; plain data.
 * Limits:  NET_ATTEMPTS_MAX addresses.
 */
#include "net/address.h"
#include "net/error.h"

enum { DIAL_PLAN_STAGGER_MS = 250 }; /* RFC 8305 section 8, when nothing else is set */

struct dial_plan {
    size_t order[NET_ATTEMPTS_MAX]; /* indices of the addresses */
    size_t n, next;
    size_t n_running;
    int64_t stagger_ms, next_at_ms; /* not before, unless nothing runs or one has failed */
};

enum dial_step {
    DIAL_START, /* try *ret_index now, then dial_plan_started() */
    DIAL_WAIT,  /* for an event, at most *ret_wait_ms (-1: no limit) */
    DIAL_LOST,  /* all have failed */
};

/* family: AF_UNSPEC: any. stagger_ms 0: DIAL_PLAN_STAGGER_MS. leave_out: is asked about each
 * address of the family in the plan's order, until the plan is full; NULL: none. */
void dial_plan_init(struct dial_plan *plan, const struct address *addresses, size_t n, int family,
                    int64_t stagger_ms,
                    bool (*leave_out)(void *context, const struct address *address), void *context);
enum dial_step dial_plan_next(const struct dial_plan *plan, int64_t now_ms, size_t *ret_index,
                              int64_t *ret_wait_ms);
void dial_plan_started(struct dial_plan *plan, int64_t now_ms);
/* One that was started has failed. */
void dial_plan_failed(struct dial_plan *plan, int64_t now_ms);

/* Which of two errnos tells more about why no address could be reached: 1: b is better than a; 0: a
 * (the earlier) stays. Lack of resources here comes first, as it says nothing of the peer; what
 * came from the network is better than an address that cannot be used from this host at all. */
int dial_plan_better(int a, int b);
