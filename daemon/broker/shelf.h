#pragma once
/*
 * shelf: the warm connections of one pool, and what the pool wants: how many more are to be made,
 * for whom, and when. It is told the time; what becomes of a connection is decided here, without
 * sockets and sleeps.
 *
 * - Taken is the one that has rested least. Each is taken once: what is given back is a new one.
 * - One that was made ahead is anybody's; of a personal shelf (its pool shows an identity) it is
 *   for the user it was made for. One that was given back is only for the user who has used it:
 *   what he has said on it, and what may still be on its way to him, is nobody else's business.
 * - It is over when it is too old, has rested too long, or what was verified does not hold any
 * more.
 * - What is made ahead makes room for itself among what was given back, not the other way round.
 * - Making one costs what those who take some need for themselves, so it waits until they are done,
 *   or have taken half of them.
 * - A failure to make one is followed by a pause that doubles. So is the peer's end of one that
 *   nobody has used; a good one taken ends that. A peer that speaks first is left alone for good.
 *
 * Threads:   any. One mutex, a leaf, held for a look at max_idle slots; nothing is closed or freed
 * under it.
 * Ownership: counted references. Connections on it are its own; what is taken, displaced or cleared
 * is the caller's. shelf_clear() before the last reference goes, or they are closed without a word.
 * Errors:    -ENOMEM when it is made; after that it needs no memory.
 * Limits:    max_idle connections; SHELF_ORDERS made at a time; SHELF_USERS users of a personal
 * one, the one who asked longest ago makes room.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "net/warm.h"

enum {
    SHELF_IDLE_MAX = 1024,
    SHELF_ORDERS = 8,
    SHELF_USERS = 16,
    SHELF_CALM_MS = 20,   /* after the last was taken; at once when half of them are missing */
    SHELF_LOOK_MS = 1000, /* how often what rests should be looked at */
    SHELF_PAUSE_MIN_MS = 1000,
    SHELF_PAUSE_MAX_MS = 60000,
};
#define SHELF_ANYBODY ((uid_t)-1)

struct shelf_now {
    int64_t up_ms;  /* goes on while the machine sleeps: servers do too */
    int64_t wall_s; /* the one that certificates are written in */
};
struct shelf_now shelf_now(void);

struct shelf_settings {
    size_t min_idle, max_idle; /* min_idle is for each user of a personal one */
    int64_t max_age_ms, idle_time_ms;
    int64_t until_s; /* nothing rests any more from then on (wall clock); INT64_MAX */
    bool secure;     /* connections that speak TLS, or such that do not */
    bool personal;
};

/* What is known of a connection that is or may be on a shelf. */
struct shelf_tag {
    uid_t uid;       /* whose it is; SHELF_ANYBODY */
    bool used;       /* it was given back */
    int64_t made_ms; /* up_ms */
    int64_t until_s; /* warm_until() */
};

enum shelf_trouble {
    SHELF_WELL,
    SHELF_FAILING, /* none could be made lately */
    SHELF_ENDING,  /* the peer ends them unused */
    SHELF_SPOKEN,  /* the peer speaks first: none is made any more */
};

struct shelf;

NODISCARD int shelf_new(struct shelf **ret_shelf, const struct shelf_settings *settings);
struct shelf *shelf_ref(struct shelf *shelf);
struct shelf *shelf_unref(struct shelf *shelf); /* NULL is fine, returns NULL */
const struct shelf_settings *shelf_settings(const struct shelf *shelf);

/* One that user may have, or NULL. It was not looked at yet: shelf_judge() what the look says. */
struct connection *shelf_take(struct shelf *shelf, uid_t uid, struct shelf_now now,
                              struct shelf_tag *ret_tag);
/* Takes *connection when it has a place for it: true, and *connection is NULL, or one that had to
 * make room. */
NODISCARD bool shelf_put(struct shelf *shelf, struct connection **connection,
                         const struct shelf_tag *tag, struct shelf_now now);
/* Would it be put there now? */
bool shelf_has_place(struct shelf *shelf, const struct shelf_tag *tag, struct shelf_now now);
/* What a look at one that was taken has said. */
void shelf_judge(struct shelf *shelf, const struct shelf_tag *tag, enum warm_state state,
                 struct shelf_now now);

/* One more is to be made now, for *ret_uid. It counts as ordered until one of the two is called. */
NODISCARD bool shelf_order(struct shelf *shelf, struct shelf_now now, uid_t *ret_uid);
void shelf_made(struct shelf *shelf, uid_t uid); /* then shelf_put() */
void shelf_failed(struct shelf *shelf, uid_t uid, struct shelf_now now);
enum shelf_trouble shelf_trouble(struct shelf *shelf);
/* When there may be something to do: in so many milliseconds; -1: not before somebody asks. */
int64_t shelf_wait_ms(struct shelf *shelf, struct shelf_now now);

/* Remove one that is over; NULL: none is. */
struct connection *shelf_over(struct shelf *shelf, struct shelf_now now);
/* Lend the next one from *position (0 at first) on that has not been looked at for half of
 * SHELF_LOOK_MS; NULL: that was all. One thread at a time; the others pass over what is lent, as if
 * it were not there. Then end that: keep it, or it was removed. */
struct connection *shelf_lend(struct shelf *shelf, size_t *position, struct shelf_now now,
                              struct shelf_tag *ret_tag);
void shelf_lent(struct shelf *shelf, size_t position, bool keep);

/* Nothing comes on it any more. Removes one; NULL: it is empty. */
struct connection *shelf_clear(struct shelf *shelf);
size_t shelf_count(struct shelf *shelf);

/* What it has been good for so far. */
struct shelf_counts {
    size_t n_idle;
    uint64_t n_taken, n_missed, n_stale; /* given out alive; asked for in vain; found dead */
    int64_t refill_ms;                   /* one more is to be made then; -1: none is missing */
};
void shelf_read(struct shelf *shelf, struct shelf_now now, struct shelf_counts *ret_counts);
