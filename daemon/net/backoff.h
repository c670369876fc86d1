#pragma once
/*
 * backoff: which destinations keep refusing, so that they are left alone for a while.
 *
 * A destination is an address with its port: what refuses at one address of a name says nothing of
 * the others. Only refusals (ECONNREFUSED) count: somebody is there and says no at once, and will
 * do so again; who is silent costs the caller's deadline, not the destination. After `after`
 * refusals in a row comes a pause of min_ms, and each further one doubles it, up to max_ms. One
 * connection ends all that.
 *
 * - In a row: each refusal that counts belongs to an attempt begun after the refusal before it. A
 *   hundred attempts at a time that are all refused are one refusal, not a hundred.
 * - After a pause everybody is let through until somebody is refused again. No attempt stands for
 *   the others, so none that is cancelled, or hangs, can keep them waiting.
 * - A destination that nobody was refused by for max_ms after its pause is forgotten.
 * - Addresses of this host (127.0.0.0/8, ::1) are never left alone for longer than min_ms: a server
 *   that is restarted here should be found again soon, and asking costs nobody anything.
 *
 * What is remembered is how often and when; how long that makes the pause is worked out at each
 * question from the asker's settings, so that a reload counts at once, also for what is known.
 *
 * Threads:   any; one mutex, a leaf, held for a look at BACKOFF_WAYS entries. Time goes in.
 * Ownership: plain data; the addresses are copied.
 * Errors:    -ENOMEM when it is made; after that it needs no memory.
 * Limits:    BACKOFF_SETS * BACKOFF_WAYS destinations; one more makes the one of its set forgotten
 * that was refused longest ago, which then begins to count anew.
 */
#include "net/address.h"

enum { BACKOFF_SETS = 128, BACKOFF_WAYS = 8 };

struct backoff_settings {
    unsigned after; /* 0: never */
    int64_t min_ms, max_ms;
};

struct backoff_pause {
    unsigned n_refused; /* in a row */
    int64_t until_us;   /* on the clock of now_us */
};

struct backoff;

NODISCARD int backoff_new(struct backoff **ret_backoff);
struct backoff *backoff_free(struct backoff *backoff);

/* Is it to be left alone now? *ret_pause is written when it is. */
bool backoff_pausing(struct backoff *backoff, const struct address *address,
                     const struct backoff_settings *settings, int64_t now_us,
                     struct backoff_pause *ret_pause);
/* An attempt that began at began_us was refused. */
void backoff_refused(struct backoff *backoff, const struct address *address,
                     const struct backoff_settings *settings, int64_t began_us, int64_t now_us);
/* An attempt was successful. */
void backoff_connected(struct backoff *backoff, const struct address *address);
