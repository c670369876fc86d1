/* account: quotas, rates, shares; from several threads at once. */
#include <pthread.h>

#include "broker/account_share.h"
#include "support/test.h"

static const struct account_limits limits = {
    .quotas = {[ACCOUNT_CLIENTS] = 3, [ACCOUNT_SOCKETS] = 40, [ACCOUNT_TOKENS] = 1},
    .rates = {[ACCOUNT_CONNECTS] = {.per_second = 10, .burst = 3},
              [ACCOUNT_PINGING] = {.per_second = 0, .burst = 1}},
    .meters = {[ACCOUNT_REQUESTS] = 640, [ACCOUNT_BYTES] = 10000},
    .lookups = 2,
};

static size_t count(struct accounts *accounts, const uid_t *uid, int64_t now_us,
                    struct account_facts *ret_first)
{
    struct account_facts *facts;
    size_t n;

    CHECK_INT(accounts_list(accounts, uid, now_us, &facts, &n), 0);
    if (n > 0 && ret_first)
        *ret_first = facts[0];
    free(facts);
    return n;
}

TEST(account, charges)
{
    struct accounts *accounts;
    struct account *account, *other;
    struct account_charge charges[4] = {{.account = NULL}}, moved = {.account = NULL},
                          empty = {.account = NULL};
    struct account_facts facts;
    uid_t uid = 7;

    CHECK_INT(accounts_new(&accounts, 10, 1), 0);
    CHECK_INT(accounts_get(accounts, 7, 0, &account), 0);
    CHECK_INT(accounts_get(accounts, ACCOUNT_NOBODY, 0, &other), 0);
    for (size_t i = 0; i < 3; i++)
        CHECK_INT(account_charge(account, ACCOUNT_CLIENTS, &limits, &charges[i]), 0);
    CHECK_INT(account_charge(account, ACCOUNT_CLIENTS, &limits, &charges[3]), ACCOUNT_E_LIMIT);
    CHECK(!charges[3].account);
    /* another user, and another quota of his */
    CHECK_INT(account_charge(other, ACCOUNT_CLIENTS, &limits, &charges[3]), 0);
    account_discharge(&charges[3]);
    CHECK_INT(account_charge(account, ACCOUNT_TOKENS, &limits, &charges[3]), 0);
    account_refused(account);
    CHECK_INT(count(accounts, &uid, 0, &facts), 1);
    CHECK_INT(facts.charged[ACCOUNT_CLIENTS], 3);
    CHECK_INT(facts.charged[ACCOUNT_TOKENS], 1);
    CHECK_INT(facts.n_refused, 1);
    account_charge_move(&moved, &charges[0]);
    account_discharge(&charges[0]); /* nothing any more */
    CHECK_INT(account_charge(account, ACCOUNT_CLIENTS, &limits, &empty), ACCOUNT_E_LIMIT);
    account_discharge(&moved);
    account_discharge(&moved);
    CHECK_INT(account_charge(account, ACCOUNT_CLIENTS, &limits, &moved), 0);
    account_discharge(&moved);
    for (size_t i = 1; i < 4; i++)
        account_discharge(&charges[i]);
    account_put(account);
    account_put(other);
    CHECK(accounts_free(accounts) == NULL);
}

/* A limit that a reload has lowered lets nothing more in until enough has gone. */
TEST(account, lowered)
{
    struct accounts *accounts;
    struct account *account;
    struct account_charge charges[3] = {{.account = NULL}}, more = {.account = NULL};
    struct account_limits lower = limits;

    lower.quotas[ACCOUNT_CLIENTS] = 1;
    CHECK_INT(accounts_new(&accounts, 10, 1), 0);
    CHECK_INT(accounts_get(accounts, 0, 0, &account), 0);
    for (size_t i = 0; i < 3; i++)
        CHECK_INT(account_charge(account, ACCOUNT_CLIENTS, &limits, &charges[i]), 0);
    for (size_t i = 0; i < 3; i++) {
        CHECK_INT(account_charge(account, ACCOUNT_CLIENTS, &lower, &more), ACCOUNT_E_LIMIT);
        account_discharge(&charges[i]);
    }
    CHECK_INT(account_charge(account, ACCOUNT_CLIENTS, &lower, &more), 0);
    account_discharge(&more);
    account_put(account);
    accounts_free(accounts);
}

TEST(account, pace)
{
    struct accounts *accounts;
    struct account *account;
    int64_t now_us = 5000000, wait_ms;

    CHECK_INT(accounts_new(&accounts, 10, 1), 0);
    CHECK_INT(accounts_get(accounts, 1, now_us, &account), 0);
    for (int i = 0; i < 3; i++)
        CHECK(account_pace(account, ACCOUNT_CONNECTS, &limits, now_us, &wait_ms));
    CHECK(!account_pace(account, ACCOUNT_CONNECTS, &limits, now_us, &wait_ms));
    CHECK_INT(wait_ms, 100);
    CHECK(!account_pace(account, ACCOUNT_CONNECTS, &limits, now_us + 99000, &wait_ms));
    CHECK_INT(wait_ms, 1);
    CHECK(account_pace(account, ACCOUNT_CONNECTS, &limits, now_us + 100000, &wait_ms));
    CHECK(!account_pace(account, ACCOUNT_CONNECTS, &limits, now_us + 100000, &wait_ms));
    /* a long time gives no more than the burst */
    for (int i = 0; i < 3; i++)
        CHECK(account_pace(account, ACCOUNT_CONNECTS, &limits, now_us + 60000000, &wait_ms));
    CHECK(!account_pace(account, ACCOUNT_CONNECTS, &limits, now_us + 60000000, &wait_ms));
    for (int i = 0; i < 1000; i++)
        CHECK(account_pace(account, ACCOUNT_PINGING, &limits, now_us, &wait_ms));
    account_put(account);
    accounts_free(accounts);
}

/* After a slow rate a reload brings a quick one: what was owed to the slow one is not waited for.
 */
TEST(account, pace_after_a_reload)
{
    struct accounts *accounts;
    struct account *account;
    struct account_limits slow = limits;
    int64_t now_us = 5000000, wait_ms;

    slow.rates[ACCOUNT_CONNECTS].per_second = 1;
    slow.rates[ACCOUNT_CONNECTS].burst = 4000;
    CHECK_INT(accounts_new(&accounts, 10, 1), 0);
    CHECK_INT(accounts_get(accounts, 1, now_us, &account), 0);
    for (int i = 0; i < 4000; i++)
        CHECK(account_pace(account, ACCOUNT_CONNECTS, &slow, now_us, &wait_ms));
    CHECK(!account_pace(account, ACCOUNT_CONNECTS, &slow, now_us, &wait_ms));
    CHECK_INT(wait_ms, 1000);
    CHECK(!account_pace(account, ACCOUNT_CONNECTS, &limits, now_us, &wait_ms));
    CHECK_INT(wait_ms, 100);
    CHECK(account_pace(account, ACCOUNT_CONNECTS, &limits, now_us + 100000, &wait_ms));
    CHECK(!account_pace(account, ACCOUNT_CONNECTS, &limits, now_us + 100000, &wait_ms));
    account_put(account);
    accounts_free(accounts);
}

/* Who goes and comes back does not begin anew; who has nothing to remember goes. */
TEST(account, forgotten)
{
    struct accounts *accounts;
    struct account *account, *again;
    struct account_charge charge = {.account = NULL};
    int64_t wait_ms;

    CHECK_INT(accounts_new(&accounts, 2, 1), 0);
    CHECK_INT(accounts_get(accounts, 1, 0, &account), 0);
    for (int i = 0; i < 3; i++)
        CHECK(account_pace(account, ACCOUNT_CONNECTS, &limits, 0, &wait_ms));
    account_put(account);
    CHECK_INT(count(accounts, NULL, 299999, NULL), 1);
    CHECK_INT(accounts_get(accounts, 1, 1000, &again), 0);
    CHECK(!account_pace(again, ACCOUNT_CONNECTS, &limits, 1000, &wait_ms));
    CHECK_INT(account_charge(again, ACCOUNT_SOCKETS, &limits, &charge), 0);
    account_put(again);
    CHECK_INT(count(accounts, NULL, 300000, NULL), 1); /* it has a socket */
    /* the table is full of such that cannot go */
    CHECK_INT(accounts_get(accounts, 2, 300000, &account), 0);
    CHECK_INT(accounts_get(accounts, 3, 300000, &again), ACCOUNT_E_FULL);
    account_discharge(&charge);
    CHECK_INT(accounts_get(accounts, 3, 300000, &again), 0);
    account_put(account);
    account_put(again);
    CHECK_INT(count(accounts, NULL, 300000, NULL), 0);
    accounts_free(accounts);
}

TEST(account, many_users_come_and_go)
{
    struct accounts *accounts;
    struct account *account, *stays;

    CHECK_INT(accounts_new(&accounts, 100, 1), 0);
    CHECK_INT(accounts_get(accounts, 0, 0, &stays), 0);
    for (uid_t uid = 1; uid < 5000; uid++) {
        CHECK_INT(accounts_get(accounts, uid, 0, &account), 0);
        account_put(account);
    }
    CHECK_INT(count(accounts, NULL, 0, NULL), 1);
    account_put(stays);
    accounts_free(accounts);
}

/* ---- shares ---- */

static int64_t drawn(struct account_share *share, enum account_meter meter)
{
    return atomic_load(&share->account->drawn[meter]);
}

TEST(account, share_draws_in_blocks)
{
    struct accounts *accounts;
    struct account_share *share, *other;
    struct account_facts facts;

    CHECK_INT(accounts_new(&accounts, 10, 2), 0);
    CHECK_INT(account_share_new(&share, accounts, 1, 0), 0);
    CHECK_INT(account_share_new(&other, accounts, 1, 0), 0);
    CHECK(share->account == other->account);
    CHECK_INT(account_share_take(share, ACCOUNT_REQUESTS, 1, &limits), 0);
    CHECK_INT(drawn(share, ACCOUNT_REQUESTS), 21); /* 640 / 32 beside */
    for (int i = 0; i < 1000; i++) {
        CHECK_INT(account_share_take(share, ACCOUNT_REQUESTS, 1, &limits), 0);
        account_share_give(share, ACCOUNT_REQUESTS, 1);
        CHECK_INT(drawn(share, ACCOUNT_REQUESTS), 21);
    }
    /* all there is, but for what rests with the other one */
    CHECK_INT(account_share_take(other, ACCOUNT_REQUESTS, 1, &limits), 0);
    for (int i = 1; i < 640 - 21; i++)
        CHECK_INT(account_share_take(share, ACCOUNT_REQUESTS, 1, &limits), 0);
    CHECK_INT(account_share_take(share, ACCOUNT_REQUESTS, 1, &limits), ACCOUNT_E_LIMIT);
    CHECK_INT(drawn(share, ACCOUNT_REQUESTS), 640);
    CHECK_INT(count(accounts, NULL, 0, &facts), 1);
    CHECK_INT(facts.used[ACCOUNT_REQUESTS], 640 - 20);
    account_share_give(other, ACCOUNT_REQUESTS, 1);
    account_share_give(share, ACCOUNT_REQUESTS, 619);
    CHECK_INT(drawn(share, ACCOUNT_REQUESTS), 20 + 21);
    other->n_users = share->n_users = 0;
    CHECK(account_share_free(other, accounts) == NULL);
    CHECK_INT(drawn(share, ACCOUNT_REQUESTS), 20);
    account_share_free(share, accounts);
    CHECK_INT(count(accounts, NULL, 0, NULL), 0);
    accounts_free(accounts);
}

/* With a small limit nothing rests anywhere. */
TEST(account, share_exact)
{
    struct accounts *accounts;
    struct account_share *share, *other;
    struct account_limits small = limits;

    small.meters[ACCOUNT_REQUESTS] = 4;
    CHECK_INT(accounts_new(&accounts, 10, 2), 0);
    CHECK_INT(account_share_new(&share, accounts, 1, 0), 0);
    CHECK_INT(account_share_new(&other, accounts, 1, 0), 0);
    CHECK_INT(account_share_take(share, ACCOUNT_REQUESTS, 1, &small), 0);
    account_share_give(share, ACCOUNT_REQUESTS, 1);
    for (int i = 0; i < 4; i++)
        CHECK_INT(account_share_take(other, ACCOUNT_REQUESTS, 1, &small), 0);
    CHECK_INT(account_share_take(share, ACCOUNT_REQUESTS, 1, &small), ACCOUNT_E_LIMIT);
    account_share_force(share, ACCOUNT_REQUESTS, 2);
    CHECK_INT(account_share_excess(share, ACCOUNT_REQUESTS, &small), 2);
    account_share_give(other, ACCOUNT_REQUESTS, 1);
    CHECK_INT(account_share_take(share, ACCOUNT_REQUESTS, 1, &small), ACCOUNT_E_LIMIT);
    account_share_give(other, ACCOUNT_REQUESTS, 3);
    CHECK_INT(account_share_take(share, ACCOUNT_REQUESTS, 2, &small), 0);
    CHECK_INT(account_share_excess(share, ACCOUNT_REQUESTS, &small), 0);
    account_share_give(share, ACCOUNT_REQUESTS, 4);
    CHECK_INT(drawn(share, ACCOUNT_REQUESTS), 0);
    share->n_users = other->n_users = 0;
    account_share_free(share, accounts);
    account_share_free(other, accounts);
    accounts_free(accounts);
}

/* ---- threads ---- */

enum { N_THREADS = 4, N_ROUNDS = 3000, N_USERS = 5 };

struct party {
    struct accounts *accounts;
    unsigned seed;
    pthread_t thread;
};

static int64_t allowed(void)
{
    return limits.meters[ACCOUNT_REQUESTS];
}

static void charge_and_take(struct account_share *share, unsigned *seed)
{
    struct account_charge charges[20] = {{.account = NULL}};
    int64_t n = 0, wait_ms;

    for (size_t i = 0; i < 20; i++) {
        (void)!account_charge(share->account, ACCOUNT_SOCKETS, &limits, &charges[i]);
        (void)!account_pace(share->account, ACCOUNT_CONNECTS, &limits, (int64_t)*seed, &wait_ms);
        int64_t more = rand_r(seed) % 60 + 1;
        if (account_share_take(share, ACCOUNT_REQUESTS, more, &limits) == 0)
            n += more;
        CHECK(atomic_load(&share->account->drawn[ACCOUNT_REQUESTS]) <= allowed());
        CHECK(atomic_load(&share->account->charged[ACCOUNT_SOCKETS]) <= 40);
    }
    for (size_t i = 0; i < 20; i++)
        account_discharge(&charges[i]);
    account_share_give(share, ACCOUNT_REQUESTS, n);
}

static void *run(void *argument)
{
    struct party *party = argument;
    struct account_share *share;

    for (int i = 0; i < N_ROUNDS; i++) {
        uid_t uid = (uid_t)rand_r(&party->seed) % N_USERS;
        CHECK_INT(account_share_new(&share, party->accounts, uid, i), 0);
        charge_and_take(share, &party->seed);
        if (i % 50 == 0)
            CHECK(count(party->accounts, NULL, i, NULL) > 0);
        share->n_users = 0;
        account_share_free(share, party->accounts);
    }
    return NULL;
}

TEST(account, threads)
{
    struct party parties[N_THREADS];
    struct accounts *accounts;

    CHECK_INT(accounts_new(&accounts, N_USERS, N_THREADS), 0);
    for (unsigned i = 0; i < N_THREADS; i++) {
        parties[i] = (struct party){.accounts = accounts, .seed = i + 1};
        CHECK_INT(pthread_create(&parties[i].thread, NULL, run, &parties[i]), 0);
    }
    for (size_t i = 0; i < N_THREADS; i++)
        pthread_join(parties[i].thread, NULL);
    CHECK_INT(count(accounts, NULL, INT64_MAX / 2000, NULL), 0);
    accounts_free(accounts);
}

/* A reload lowers the limits: what a share has in reserve must not keep the others from theirs. */
TEST(account, shares_after_a_reload)
{
    struct accounts *accounts;
    struct account_share *one, *two;
    struct account_limits high = limits, low = limits;

    high.meters[ACCOUNT_REQUESTS] = 16384;
    low.meters[ACCOUNT_REQUESTS] = 8;
    CHECK_INT(accounts_new(&accounts, 10, 2), 0);
    CHECK_INT(account_share_new(&one, accounts, 1, 0), 0);
    CHECK_INT(account_share_new(&two, accounts, 1, 0), 0);
    CHECK_INT(account_share_take(one, ACCOUNT_REQUESTS, 2, &high), 0);
    account_share_give(one, ACCOUNT_REQUESTS, 1);
    account_share_follow(one, &low);
    account_share_follow(two, &low);
    for (int i = 0; i < 7; i++)
        CHECK_INT(account_share_take(two, ACCOUNT_REQUESTS, 1, &low), 0);
    CHECK_INT(account_share_take(two, ACCOUNT_REQUESTS, 1, &low), ACCOUNT_E_LIMIT);
    CHECK_INT(account_share_take(one, ACCOUNT_REQUESTS, 1, &low), ACCOUNT_E_LIMIT);
    account_share_give(one, ACCOUNT_REQUESTS, 1);
    CHECK_INT(account_share_take(two, ACCOUNT_REQUESTS, 1, &low), 0);
    account_share_give(two, ACCOUNT_REQUESTS, 8);
    one->n_users = two->n_users = 0;
    account_share_free(one, accounts);
    account_share_free(two, accounts);
    accounts_free(accounts);
}
