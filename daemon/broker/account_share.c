#include "broker/account_share.h"

#include <errno.h>
#include <stdlib.h>

int account_share_new(struct account_share **ret_share, struct accounts *accounts, uid_t uid,
                      int64_t now_us)
{
    struct account_share *share = calloc(1, sizeof(*share));
    if (!share)
        return -ENOMEM;
    int r = accounts_get(accounts, uid, now_us, &share->account);
    if (r) {
        free(share);
        return r;
    }
    share->n_users = 1;
    list_init(&share->turn.link);
    list_init(&share->turn.clients);
    accounts_enter(accounts, share);
    *ret_share = share;
    return 0;
}

static int64_t used_of(const struct account_share *share, enum account_meter meter)
{
    return atomic_load_explicit(&share->meters[meter].used, memory_order_relaxed);
}

static void set_used(struct account_share *share, enum account_meter meter, int64_t used)
{
    atomic_store_explicit(&share->meters[meter].used, used, memory_order_relaxed);
}

static void give_back(struct account_share *share, enum account_meter meter, int64_t n)
{
    int64_t before =
        atomic_fetch_sub_explicit(&share->account->drawn[meter], n, memory_order_relaxed);
    ASSERT(before >= n);
    share->meters[meter].drawn -= n;
}

struct account_share *account_share_free(struct account_share *share, struct accounts *accounts)
{
    if (!share)
        return NULL;
    ASSERT(share->n_users == 0 && list_empty(&share->turn.clients));
    list_remove(&share->turn.link);
    for (int i = 0; i < ACCOUNT_N_METERS; i++) {
        enum account_meter meter = (enum account_meter)i;
        ASSERT(used_of(share, meter) == 0);
        give_back(share, meter, share->meters[meter].drawn);
    }
    accounts_leave(accounts, share);
    account_put(share->account);
    free(share);
    return NULL;
}

/* n from the account, or nothing. */
static bool draw(struct account_share *share, enum account_meter meter, int64_t n, int64_t max)
{
    _Atomic int64_t *drawn = &share->account->drawn[meter];
    int64_t before = atomic_load_explicit(drawn, memory_order_relaxed);

    do {
        if (before > max || n > max - before)
            return false;
    } while (!atomic_compare_exchange_weak_explicit(drawn, &before, before + n,
                                                    memory_order_relaxed, memory_order_relaxed));
    share->meters[meter].drawn += n;
    return true;
}

static int64_t block_of(const struct account_share *share, enum account_meter meter,
                        const struct account_limits *limits)
{
    static const int64_t most[] = {
        [ACCOUNT_REQUESTS] = ACCOUNT_BLOCK_REQUESTS, [ACCOUNT_BYTES] = ACCOUNT_BLOCK_BYTES};
    int64_t part = limits->meters[meter] / (16 * (int64_t)share->account->n_shares);
    return part < most[meter] ? part : most[meter];
}

int account_share_take(struct account_share *share, enum account_meter meter, int64_t n,
                       const struct account_limits *limits)
{
    int64_t used = used_of(share, meter), missing = used + n - share->meters[meter].drawn;

    if (missing > 0) {
        int64_t block = block_of(share, meter, limits), max = limits->meters[meter];
        share->meters[meter].block = block;
        if (!draw(share, meter, missing + block, max) && !draw(share, meter, missing, max))
            return ACCOUNT_E_LIMIT;
    }
    set_used(share, meter, used + n);
    return 0;
}

void account_share_force(struct account_share *share, enum account_meter meter, int64_t n)
{
    int64_t used = used_of(share, meter), missing = used + n - share->meters[meter].drawn;

    if (missing > 0)
        (void)draw(share, meter, missing, INT64_MAX);
    set_used(share, meter, used + n);
}

void account_share_give(struct account_share *share, enum account_meter meter, int64_t n)
{
    int64_t used = used_of(share, meter) - n, block = share->meters[meter].block;
    int64_t spare = share->meters[meter].drawn - used;

    ASSERT(used >= 0);
    set_used(share, meter, used);
    if (spare > 2 * block)
        give_back(share, meter, spare - block);
}

void account_share_follow(struct account_share *share, const struct account_limits *limits)
{
    for (int i = 0; i < ACCOUNT_N_METERS; i++) {
        enum account_meter meter = (enum account_meter)i;
        int64_t spare = share->meters[meter].drawn - used_of(share, meter);
        int64_t block = block_of(share, meter, limits);
        share->meters[meter].block = block;
        if (spare > block)
            give_back(share, meter, spare - block);
    }
}

int64_t account_share_excess(const struct account_share *share, enum account_meter meter,
                             const struct account_limits *limits)
{
    return atomic_load_explicit(&share->account->drawn[meter], memory_order_relaxed) -
           limits->meters[meter];
}
