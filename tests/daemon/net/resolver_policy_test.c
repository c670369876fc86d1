#include "net/resolver_policy.h"

#include <limits.h>

#include "support/test.h"

static const struct resolver_policy usual = {.n_threads = 16, .n_threads_max = 256};

TEST(resolver_policy, limit)
{
    static const struct resolver_policy fixed = {4, 4}, odd = {1, 4};

    CHECK_INT(resolver_policy_limit(&usual, 0), 16);
    CHECK_INT(resolver_policy_limit(&usual, 1), 18);
    CHECK_INT(resolver_policy_limit(&usual, 119), 254);
    CHECK_INT(resolver_policy_limit(&usual, 120), 256);
    CHECK_INT(resolver_policy_limit(&usual, 121), 256);
    CHECK_INT(resolver_policy_limit(&usual, UINT_MAX), 256);
    CHECK_INT(resolver_policy_limit(&fixed, 0), 4);
    CHECK_INT(resolver_policy_limit(&fixed, 4), 4);
    CHECK_INT(resolver_policy_limit(&odd, 1), 3);
    CHECK_INT(resolver_policy_limit(&odd, 2), 4);
    CHECK_INT(resolver_policy_limit(&odd, 3), 4);
}

TEST(resolver_policy, start)
{
    /* what waits is no more than who has nothing to do */
    CHECK_INT(resolver_policy_start(&usual, 16, 5, 0, 5), 0);
    /* busy, but not slow */
    CHECK_INT(resolver_policy_start(&usual, 16, 0, 0, 100), 0);
    /* as many as are needed, no more than are allowed */
    CHECK_INT(resolver_policy_start(&usual, 16, 0, 16, 3), 3);
    CHECK_INT(resolver_policy_start(&usual, 16, 0, 16, 100), 32);
    CHECK_INT(resolver_policy_start(&usual, 16, 2, 14, 5), 3);
    CHECK_INT(resolver_policy_start(&usual, 250, 0, 250, 100), 6);
    CHECK_INT(resolver_policy_start(&usual, 256, 0, 256, UINT_MAX), 0);
    /* more are there than may be: not one more */
    CHECK_INT(resolver_policy_start(&usual, 100, 0, 3, 10), 0);
}

TEST(resolver_policy, surplus)
{
    CHECK(!resolver_policy_surplus(&usual, 16, 0));
    CHECK(resolver_policy_surplus(&usual, 17, 0));
    CHECK(!resolver_policy_surplus(&usual, 18, 1));
    CHECK(!resolver_policy_surplus(&usual, 256, 256));
}

/* N names that hang, then one that answers: after how many times slow_us has it got a thread? */
static int rounds_behind(unsigned n_hang)
{
    unsigned n_alive = usual.n_threads, n_waiting = n_hang + 1, n_slow = 0;

    for (int round = 0; round < 100; round++) {
        unsigned n_idle = n_alive - n_slow;
        unsigned n_start = resolver_policy_start(&usual, n_alive, n_idle, n_slow, n_waiting);
        n_alive += n_start;
        CHECK(n_alive <= usual.n_threads_max);
        unsigned n_take = n_alive - n_slow < n_waiting ? n_alive - n_slow : n_waiting;
        n_waiting -= n_take;
        n_slow += n_take; /* all of them are, until the next round */
        if (n_waiting == 0)
            return round;
    }
    return -1;
}

TEST(resolver_policy, behind_names_that_hang)
{
    CHECK_INT(rounds_behind(15), 0);
    CHECK_INT(rounds_behind(16), 1);
    CHECK_INT(rounds_behind(47), 1);
    CHECK_INT(rounds_behind(100), 2);
    CHECK_INT(rounds_behind(239), 3);
    CHECK_INT(rounds_behind(255), 4);
    CHECK_INT(rounds_behind(256), -1); /* that is the bound */
}

/* All of them answer at last: who is too many goes, those that stay are as many as ever. */
TEST(resolver_policy, back_to_normal)
{
    unsigned n_alive = 116;
    for (unsigned n_slow = 100; n_slow > 0; n_slow--)
        while (n_alive > 0 && resolver_policy_surplus(&usual, n_alive, n_slow - 1))
            n_alive--;
    CHECK_INT(n_alive, 16);
}
