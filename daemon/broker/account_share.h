#pragma once
/*
 * account_share: what one io thread has drawn from a user's account for the running requests and
 * the bytes they hold, so that a request touches memory of its own thread only. It draws more than
 * it needs at once and gives back what is too much: a sixteenth of the limit, divided by the io
 * threads, at most; when that is less than one it draws exactly what it needs. So a user is never
 * over his limit, and refused when he has used seven eighths of it at the earliest.
 *
 * Threads:   its io thread; meters[].used is read by others.
 * Ownership: counted by users on that thread (account_share_ref()); has a reference to the account.
 * Errors:    ACCOUNT_E_*; -ENOMEM.
 */
#include "broker/account.h"

/* In blocks of at most so many. */
enum { ACCOUNT_BLOCK_REQUESTS = 64, ACCOUNT_BLOCK_BYTES = 1024 * 1024 };

/* Whose turn it is on this io thread: rpc/turns.h. */
struct account_turn {
    struct list link;    /* in line, with clients that wait */
    struct list clients; /* those, the longest first */
    uint64_t round;      /* of the loop; what follows is of that one */
    unsigned n_units;    /* since the clock was read */
    int64_t used_us;
};

struct account_share {
    struct account *account;
    struct account_turn turn;
    struct list link; /* account->shares */
    size_t n_users;
    struct {
        _Atomic int64_t used; /* written by its io thread only */
        int64_t drawn, block;
    } meters[ACCOUNT_N_METERS];
};

/* With one user. Returns 0, ACCOUNT_E_FULL or -ENOMEM. */
NODISCARD int account_share_new(struct account_share **ret_share, struct accounts *accounts,
                                uid_t uid, int64_t now_us);
/* The last user has gone; nothing may be used. */
struct account_share *account_share_free(struct account_share *share, struct accounts *accounts);

/* n more. Returns 0 or ACCOUNT_E_LIMIT. */
NODISCARD int account_share_take(struct account_share *share, enum account_meter meter, int64_t n,
                                 const struct account_limits *limits);
/* The same whatever the limit says, for what cannot be refused. */
void account_share_force(struct account_share *share, enum account_meter meter, int64_t n);
void account_share_give(struct account_share *share, enum account_meter meter, int64_t n);
/* The limits have changed: what is too much by the new ones is given back. */
void account_share_follow(struct account_share *share, const struct account_limits *limits);
/* How much more than he may has the user, by what was forced? Less than 0: he is not there yet. */
int64_t account_share_excess(const struct account_share *share, enum account_meter meter,
                             const struct account_limits *limits);
