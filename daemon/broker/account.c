#include "broker/account.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "broker/account_share.h"
#include "util/map.h"

enum { SWEEP_MIN = 64 };

struct accounts {
    pthread_mutex_t mutex; /* leaf */
    struct map map;        /* uid + 1 -> struct account */
    size_t n_max, n_shares;
    size_t sweep_at; /* when there are so many it is time to look who can go */
};

static uint64_t key_of(uid_t uid)
{
    return (uint64_t)uid + 1;
}

int accounts_new(struct accounts **ret_accounts, size_t n_max, size_t n_shares)
{
    struct accounts *accounts = calloc(1, sizeof(*accounts));
    if (!accounts)
        return -ENOMEM;
    pthread_mutex_init(&accounts->mutex, NULL);
    accounts->map = MAP_INIT;
    accounts->n_max = n_max;
    accounts->n_shares = n_shares;
    accounts->sweep_at = SWEEP_MIN;
    *ret_accounts = accounts;
    return 0;
}

/* Nobody can reach it any more but by the map. What is released last is seen here last. */
static bool is_idle(struct account *account)
{
    if (atomic_load_explicit(&account->references, memory_order_acquire) > 0 ||
        atomic_load_explicit(&account->lookups.n_there, memory_order_acquire) > 0)
        return false;
    for (size_t i = 0; i < ACCOUNT_N_QUOTAS; i++)
        if (atomic_load_explicit(&account->charged[i], memory_order_acquire) != 0)
            return false;
    return list_empty(&account->shares);
}

static bool has_forgotten(struct account *account, int64_t now_us)
{
    for (size_t i = 0; i < ACCOUNT_N_RATES; i++)
        if (atomic_load_explicit(&account->due_ns[i], memory_order_relaxed) > now_us * 1000)
            return false;
    return true;
}

static void forget(struct accounts *accounts, struct account *account)
{
    void *removed = map_remove(&accounts->map, key_of(account->uid));
    ASSERT(removed == account);
    free(account);
}

struct accounts *accounts_free(struct accounts *accounts)
{
    struct account *account;

    if (!accounts)
        return NULL;
    for (size_t i = 0; (account = map_next(&accounts->map, &i, NULL)); i = 0) {
        ASSERT(is_idle(account));
        for (size_t j = 0; j < ACCOUNT_N_METERS; j++)
            ASSERT(atomic_load(&account->drawn[j]) == 0);
        forget(accounts, account);
    }
    map_deinit(&accounts->map);
    pthread_mutex_destroy(&accounts->mutex);
    free(accounts);
    return NULL;
}

/* Removing one moves others in the map, so that some are passed over. False: none was removed. */
static bool sweep_once(struct accounts *accounts, int64_t now_us)
{
    struct account *account;
    size_t n = accounts->map.n_used;

    for (size_t i = 0; (account = map_next(&accounts->map, &i, NULL));)
        if (is_idle(account) && has_forgotten(account, now_us)) {
            forget(accounts, account);
            i = i > 0 ? i - 1 : 0;
        }
    return accounts->map.n_used < n;
}

/* Under the mutex. */
static void sweep(struct accounts *accounts, int64_t now_us)
{
    while (sweep_once(accounts, now_us))
        ;
    size_t n = accounts->map.n_used * 2;
    accounts->sweep_at = n > SWEEP_MIN ? n : SWEEP_MIN;
    if (accounts->sweep_at > accounts->n_max)
        accounts->sweep_at = accounts->n_max;
}

static int make(struct accounts *accounts, uid_t uid, int64_t now_us, struct account **ret_account)
{
    if (accounts->map.n_used >= accounts->sweep_at)
        sweep(accounts, now_us);
    if (accounts->map.n_used >= accounts->n_max)
        return ACCOUNT_E_FULL;
    struct account *account = calloc(1, sizeof(*account));
    if (!account)
        return -ENOMEM;
    account->uid = uid;
    account->n_shares = accounts->n_shares;
    list_init(&account->shares);
    int r = map_put(&accounts->map, key_of(uid), account);
    if (r) {
        free(account);
        return r;
    }
    *ret_account = account;
    return 0;
}

int accounts_get(struct accounts *accounts, uid_t uid, int64_t now_us, struct account **ret_account)
{
    int r = 0;

    pthread_mutex_lock(&accounts->mutex);
    struct account *account = map_get(&accounts->map, key_of(uid));
    if (!account)
        r = make(accounts, uid, now_us, &account);
    if (r == 0)
        atomic_fetch_add_explicit(&account->references, 1, memory_order_relaxed);
    pthread_mutex_unlock(&accounts->mutex);
    if (r == 0)
        *ret_account = account;
    return r;
}

void account_put(struct account *account)
{
    size_t before = atomic_fetch_sub_explicit(&account->references, 1, memory_order_release);
    ASSERT(before > 0);
}

void accounts_enter(struct accounts *accounts, struct account_share *share)
{
    pthread_mutex_lock(&accounts->mutex);
    list_append(&share->account->shares, &share->link);
    pthread_mutex_unlock(&accounts->mutex);
}

void accounts_leave(struct accounts *accounts, struct account_share *share)
{
    pthread_mutex_lock(&accounts->mutex);
    list_remove(&share->link);
    pthread_mutex_unlock(&accounts->mutex);
}

/* ---- charging ---- */

int account_charge_more(struct account *account, enum account_quota quota,
                        const struct account_limits *limits, int64_t n_more,
                        struct account_charge *ret_charge)
{
    _Atomic int64_t *charged = &account->charged[quota];
    int64_t n = atomic_load_explicit(charged, memory_order_relaxed);

    ASSERT(!ret_charge->account);
    do {
        if (n >= limits->quotas[quota] + n_more)
            return ACCOUNT_E_LIMIT;
    } while (!atomic_compare_exchange_weak_explicit(charged, &n, n + 1, memory_order_relaxed,
                                                    memory_order_relaxed));
    *ret_charge = (struct account_charge){.account = account, .quota = quota};
    return 0;
}

int account_charge(struct account *account, enum account_quota quota,
                   const struct account_limits *limits, struct account_charge *ret_charge)
{
    return account_charge_more(account, quota, limits, 0, ret_charge);
}

void account_discharge(struct account_charge *charge)
{
    if (!charge->account)
        return;
    /* the account may be gone after this */
    int64_t before = atomic_fetch_sub_explicit(&charge->account->charged[charge->quota], 1,
                                               memory_order_release);
    ASSERT(before > 0);
    charge->account = NULL;
}

/* What is further ahead than the burst comes from a rate that is in force no more: it is shortened,
 * or a reload that allows more would change nothing for a long time. */
static bool take_turn(_Atomic int64_t *due, int64_t step_ns, int64_t ahead_ns, int64_t now_ns,
                      int64_t *ret_wait_ms)
{
    int64_t was_ns = atomic_load_explicit(due, memory_order_relaxed);

    for (;;) {
        int64_t from_ns = was_ns > now_ns ? was_ns : now_ns;
        if (from_ns - now_ns > ahead_ns)
            from_ns = now_ns + ahead_ns;
        int64_t over_ns = from_ns + step_ns - now_ns - ahead_ns;
        int64_t next_ns = over_ns > 0 ? from_ns : from_ns + step_ns;
        if (next_ns != was_ns &&
            !atomic_compare_exchange_weak_explicit(due, &was_ns, next_ns, memory_order_relaxed,
                                                   memory_order_relaxed))
            continue;
        if (over_ns > 0)
            *ret_wait_ms = (over_ns + 999999) / 1000000;
        return over_ns <= 0;
    }
}

bool account_pace(struct account *account, enum account_rate rate,
                  const struct account_limits *limits, int64_t now_us, int64_t *ret_wait_ms)
{
    int64_t per_second = limits->rates[rate].per_second;

    if (per_second > 0) {
        int64_t step_ns = 1000000000 / per_second, ahead_ns = step_ns * limits->rates[rate].burst;
        if (!take_turn(&account->due_ns[rate], step_ns, ahead_ns, now_us * 1000, ret_wait_ms))
            return false;
    }
    if (rate == ACCOUNT_CONNECTS)
        atomic_fetch_add_explicit(&account->n_connects, 1, memory_order_relaxed);
    return true;
}

/* ---- telling ---- */

void account_refused(struct account *account)
{
    atomic_fetch_add_explicit(&account->n_refused, 1, memory_order_relaxed);
}

static void copy_facts(struct account *account, struct account_facts *ret_facts)
{
    *ret_facts = (struct account_facts){
        .uid = account->uid,
        .lookups = (int64_t)atomic_load_explicit(&account->lookups.n_there, memory_order_relaxed),
        .n_connects = atomic_load_explicit(&account->n_connects, memory_order_relaxed),
        .n_refused = atomic_load_explicit(&account->n_refused, memory_order_relaxed),
    };
    for (size_t i = 0; i < ACCOUNT_N_QUOTAS; i++)
        ret_facts->charged[i] = atomic_load_explicit(&account->charged[i], memory_order_relaxed);
    list_for_each (link, &account->shares) {
        struct account_share *share = container_of(link, struct account_share, link);
        for (size_t i = 0; i < ACCOUNT_N_METERS; i++)
            ret_facts->used[i] +=
                atomic_load_explicit(&share->meters[i].used, memory_order_relaxed);
    }
}

int accounts_list(struct accounts *accounts, const uid_t *uid, int64_t now_us,
                  struct account_facts **ret_facts, size_t *ret_n)
{
    struct account *account;
    size_t n = 0;

    pthread_mutex_lock(&accounts->mutex);
    sweep(accounts, now_us);
    struct account_facts *facts = calloc(accounts->map.n_used + 1, sizeof(*facts));
    for (size_t i = 0; facts && (account = map_next(&accounts->map, &i, NULL));)
        if (!uid || account->uid == *uid)
            copy_facts(account, &facts[n++]);
    pthread_mutex_unlock(&accounts->mutex);
    if (!facts)
        return -ENOMEM;
    *ret_facts = facts;
    *ret_n = n;
    return 0;
}
