#pragma once
/*
 * ledger: what a daemon that dies without a word leaves behind: a memfd that the service manager
 * holds too, in which each durable session and each of its sockets has a slot, written anew
 * whenever something of it changes, and a few words beside it that follow the bytes.
 *
 * Those words tell whether a stream is exact: nothing was taken from it that its client has not
 * been sent, nothing of a TCPSend is left to send. An io thread has a clock, which it puts on after
 * each iteration; a socket notes the time when bytes move; the thread notes the time up to which
 * all its answers have gone out. So a moving byte costs a plain store, and nothing without a slot.
 *
 * Threads:   ledger_take/_give/_next: any, under one leaf lock. A slot's content: whoever holds it.
 * A clock: its io thread. The rest: the control thread.
 * Ownership: the mapping and the descriptor; ledger_new/ledger_free.
 * Errors:    -errno; LEDGER_E_FORMAT.
 * Limits:    n_slots; what does not fit into a slot is not in the ledger.
 */
#include <stdatomic.h>

#include "broker/kept.h"

enum { LEDGER_E_FORMAT = 1 };
#define LEDGER_NONE SIZE_MAX

/* The words beside a slot. */
struct ledger_live {
    _Atomic uint64_t moved;  /* the time when bytes moved last */
    _Atomic uint32_t ahead;  /* bytes read and not taken */
    _Atomic uint32_t parked; /* a TCPSend is not done */
};

struct ledger;

NODISCARD int ledger_new(struct ledger **ret_ledger, size_t n_slots, size_t n_clocks);
struct ledger *ledger_free(struct ledger *ledger);
int ledger_fd(const struct ledger *ledger);
/* All that is taken over is in it: from now on it counts. */
void ledger_ready(struct ledger *ledger);

/* An empty slot for an io thread, or LEDGER_NONE. */
size_t ledger_take(struct ledger *ledger, size_t clock);
void ledger_give(struct ledger *ledger, size_t slot); /* LEDGER_NONE is fine */
void ledger_write(struct ledger *ledger, size_t slot, const char *bytes, size_t n);
struct ledger_live *ledger_live(struct ledger *ledger, size_t slot);
/* Up to which time all has gone out: written by the io thread. */
_Atomic uint64_t *ledger_clock(struct ledger *ledger, size_t clock);
/* Numbers up to these were given out. */
void ledger_next(struct ledger *ledger, uint32_t number, uint64_t session);

/* What another daemon left in that memfd. Sockets whose streams are not exact are LOST, and their
 * bytes with them. *ret_born: when it was made. LEDGER_E_FORMAT: nothing can be made of it. */
NODISCARD int ledger_read(int fd, struct kept *kept, uint64_t *ret_born);
