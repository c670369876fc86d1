#pragma once
/*
 * account: what one user has of the broker, over all his connections and all threads, so that he
 * can be bounded: each quota is charged when something of his begins and discharged when it ends.
 * What is charged embeds a struct account_charge, whose end is the discharge.
 *
 * Rates are kept as one time each: when the next one would be due if they came evenly (GCRA, as in
 * ITU-T I.371). So many as `burst` may be ahead of that. An account is forgotten only when nobody
 * has a reference, nothing is charged, and the rates have nothing to remember: who comes back does
 * not begin anew.
 *
 * What goes on for each request (running requests, bytes held) is not counted here but in the
 * account_share of its io thread, which draws from the account in blocks (account_share.h).
 *
 * Threads:   any. accounts_*: one leaf lock, for who comes and who goes; never for a request.
 * account_*: relaxed atomics.
 * Ownership: the accounts own each account; who has got one must put it back, and discharge what he
 * has charged, which may be later.
 * Errors:    ACCOUNT_E_*; -ENOMEM.
 * Limits:    n_max accounts. When all of them are used there is none for a new user.
 */
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "net/resolver_payer.h"
#include "util/assert.h"
#include "util/list.h"
#include "util/seldom.h"

enum {
    ACCOUNT_E_LIMIT = 1, /* he has as many as he may */
    ACCOUNT_E_FULL,      /* no place for another account */
};

/* Whoever comes by TCP is nobody that the kernel knows: all of them together have one. */
#define ACCOUNT_NOBODY ((uid_t)-1)

enum account_quota {
    ACCOUNT_CLIENTS,  /* connections to the broker */
    ACCOUNT_PASSAGES, /* connections to its doors */
    ACCOUNT_SOCKETS,  /* those on offer too */
    ACCOUNT_PINGS,
    ACCOUNT_TOKENS, /* sockets on offer, durable sessions */
};
enum { ACCOUNT_N_QUOTAS = ACCOUNT_TOKENS + 1 };

enum account_rate { ACCOUNT_CONNECTS, ACCOUNT_PINGING };
enum { ACCOUNT_N_RATES = ACCOUNT_PINGING + 1 };

/* What is drawn by shares. */
enum account_meter { ACCOUNT_REQUESTS, ACCOUNT_BYTES };
enum { ACCOUNT_N_METERS = ACCOUNT_BYTES + 1 };

/* What each user may have, as the configuration says. */
struct account_limits {
    int64_t quotas[ACCOUNT_N_QUOTAS];
    struct {
        int64_t per_second, burst; /* per_second 0: any number */
    } rates[ACCOUNT_N_RATES];
    int64_t meters[ACCOUNT_N_METERS];
    size_t lookups;
};

struct account {
    uid_t uid;
    atomic_size_t references;
    _Atomic int64_t charged[ACCOUNT_N_QUOTAS];
    _Atomic int64_t due_ns[ACCOUNT_N_RATES];
    _Atomic int64_t drawn[ACCOUNT_N_METERS];
    _Atomic int64_t n_connects, n_refused; /* so far */
    struct lookup_payer lookups;
    struct seldom warnings; /* that something was refused by a limit */
    struct seldom denials;  /* that something is not permitted */
    size_t n_shares;        /* at most; constant */
    struct list shares;     /* under the lock of accounts */
};

struct account_charge {
    struct account *account; /* NULL: nothing is charged */
    enum account_quota quota;
};

/* A copy of what an account says; sums of what changes meanwhile. */
struct account_facts {
    uid_t uid;
    int64_t charged[ACCOUNT_N_QUOTAS];
    int64_t used[ACCOUNT_N_METERS];
    int64_t lookups, n_connects, n_refused;
};

struct accounts;
struct account_share;

/* n_shares: the io threads. */
NODISCARD int accounts_new(struct accounts **ret_accounts, size_t n_max, size_t n_shares);
/* Nobody may have a reference, and nothing may be charged. */
struct accounts *accounts_free(struct accounts *accounts);
/* A reference to the user's. now_us: loop_clock_us(). Returns 0, ACCOUNT_E_FULL or -ENOMEM. */
NODISCARD int accounts_get(struct accounts *accounts, uid_t uid, int64_t now_us,
                           struct account **ret_account);
void account_put(struct account *account);
/* All of them, or that user's; the caller frees it. Returns 0 or -ENOMEM. */
NODISCARD int accounts_list(struct accounts *accounts, const uid_t *uid, int64_t now_us,
                            struct account_facts **ret_facts, size_t *ret_n);
/* For account_share.c. */
void accounts_enter(struct accounts *accounts, struct account_share *share);
void accounts_leave(struct accounts *accounts, struct account_share *share);

/* One more; the charge must be empty. Returns 0 or ACCOUNT_E_LIMIT. */
NODISCARD int account_charge(struct account *account, enum account_quota quota,
                             const struct account_limits *limits,
                             struct account_charge *ret_charge);
/* The same with n_more than the limit. */
NODISCARD int account_charge_more(struct account *account, enum account_quota quota,
                                  const struct account_limits *limits, int64_t n_more,
                                  struct account_charge *ret_charge);
/* Fine when it is empty; it is afterwards. */
void account_discharge(struct account_charge *charge);
/* It goes elsewhere. */
static inline void account_charge_move(struct account_charge *to, struct account_charge *from)
{
    ASSERT(!to->account);
    *to = *from;
    from->account = NULL;
}

/* May he, now? If not, *ret_wait_ms (> 0): when he may again. */
NODISCARD bool account_pace(struct account *account, enum account_rate rate,
                            const struct account_limits *limits, int64_t now_us,
                            int64_t *ret_wait_ms);

/* Something was refused for one of his limits. */
void account_refused(struct account *account);
