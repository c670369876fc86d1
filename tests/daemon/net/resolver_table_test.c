#include "net/resolver_table.h"

#include <errno.h>
#include <netdb.h>

#include "support/test.h"

/* Times are plain numbers here: microseconds from some start. */
static const struct table_settings usual = {
    .n_waiting_max = 8,
    .n_known_max = 4,
    .known_us = 1000,
    .negative_us = 100,
    .slow_us = 50,
    .n_busy_max = 3,
};

static struct question for_name(const char *name, int family)
{
    return (struct question){QUESTION_ADDRESSES, family, name};
}

static struct table_entry *find(struct resolver_table *table, const char *name, int64_t now_us)
{
    struct question question = for_name(name, AF_UNSPEC);
    return table_find(table, &question, now_us);
}

static struct table_entry *add(struct resolver_table *table, const char *name, int family)
{
    struct question question = for_name(name, family);
    struct table_entry *entry = NULL;
    CHECK_INT(table_ask(table, &question, NULL, 0, &entry), 0);
    CHECK_INT(entry->state, TABLE_WAITING);
    CHECK_STRING(entry->question.name, name);
    CHECK(entry->question.name != name);
    return entry;
}

static struct table_entry *take(struct resolver_table *table, const char *name, int64_t now_us)
{
    struct table_entry *entry = table_take(table, now_us);
    CHECK(entry);
    CHECK_STRING(entry->name, name);
    CHECK_INT(entry->state, TABLE_RUNNING);
    return entry;
}

static void answer(struct resolver_table *table, const char *name, int gai, int64_t now_us)
{
    add(table, name, AF_UNSPEC);
    struct table_entry *entry = take(table, name, now_us);
    entry->answer->gai = gai;
    table_done(table, entry, now_us);
}

static size_t count(const struct resolver_table *table)
{
    size_t n = 0, n_found = 0;
    for (size_t i = 0; i < TABLE_N_STATES; i++)
        n += table->n[i];
    for (size_t i = 0; i < table->n_buckets; i++)
        for (const struct table_entry *entry = table->buckets[i]; entry; entry = entry->next)
            n_found++;
    CHECK_INT(n_found, n);
    return n;
}

TEST(resolver_table, what_makes_a_question_another)
{
    struct resolver_table table;
    struct question question = {QUESTION_NAME, AF_UNSPEC, "a"};

    CHECK_INT(table_init(&table, &usual), 0);
    struct table_entry *entries[] = {add(&table, "a", AF_UNSPEC), add(&table, "a", AF_INET),
                                     add(&table, "a", AF_INET6), add(&table, "b", AF_UNSPEC)};
    CHECK(find(&table, "a", 0) == entries[0]);
    CHECK(find(&table, "b", 0) == entries[3]);
    CHECK(!find(&table, "c", 0));
    CHECK(!table_find(&table, &question, 0));
    for (size_t i = 0; i < 4; i++)
        table_forget(&table, entries[i]);
    CHECK_INT(count(&table), 0);
    table_deinit(&table);
}

TEST(resolver_table, taken_in_order_each_once)
{
    struct resolver_table table;
    char name[8];
    struct question question = {QUESTION_ADDRESSES, AF_UNSPEC, "one more"};
    struct table_entry *entry, *running[8];

    CHECK_INT(table_init(&table, &usual), 0);
    CHECK(!table_take(&table, 0));
    for (int i = 0; i < 8; i++) {
        snprintf(name, sizeof(name), "n%d", i);
        add(&table, name, AF_UNSPEC);
    }
    CHECK_INT(table_ask(&table, &question, NULL, 0, &entry), TABLE_E_FULL);
    CHECK_INT(table_n_ready(&table), 8);
    for (int i = 0; i < 8; i++) {
        snprintf(name, sizeof(name), "n%d", i);
        running[i] = take(&table, name, i);
        CHECK(find(&table, name, i) == running[i]);
    }
    CHECK(!table_take(&table, 8));
    CHECK_INT(table_n_ready(&table), 0);
    for (int i = 7; i >= 0; i--) {
        running[i]->answer->gai = EAI_AGAIN;
        table_done(&table, running[i], 9);
    }
    CHECK_INT(count(&table), 0);
    table_deinit(&table);
}

TEST(resolver_table, known_for_a_time)
{
    struct resolver_table table;

    CHECK_INT(table_init(&table, &usual), 0);
    answer(&table, "good", 0, 5000);
    CHECK_INT(find(&table, "good", 5000)->state, TABLE_KNOWN);
    CHECK(find(&table, "good", 5999));
    CHECK(!find(&table, "good", 6000));
    CHECK_INT(count(&table), 0); /* it is gone, not only hidden */
    static const int negative[] = {EAI_NONAME, EAI_NODATA, EAI_ADDRFAMILY, EAI_SERVICE};
    for (size_t i = 0; i < 4; i++) {
        answer(&table, "bad", negative[i], 5000);
        CHECK_INT(find(&table, "bad", 5099)->answer->gai, negative[i]);
        CHECK(!find(&table, "bad", 5100));
    }
    static const int not_kept[] = {EAI_AGAIN, EAI_FAIL, EAI_SYSTEM, EAI_MEMORY, EAI_OVERFLOW};
    for (size_t i = 0; i < 5; i++) {
        answer(&table, "unsure", not_kept[i], 5000);
        CHECK(!find(&table, "unsure", 5000));
    }
    CHECK_INT(count(&table), 0);
    table_deinit(&table);
}

TEST(resolver_table, nothing_is_kept_when_told_so)
{
    struct table_settings settings = usual;
    struct resolver_table table;

    settings.known_us = settings.negative_us = 0;
    CHECK_INT(table_init(&table, &settings), 0);
    answer(&table, "good", 0, 1);
    answer(&table, "bad", EAI_NONAME, 1);
    CHECK_INT(count(&table), 0);
    table_deinit(&table);
    settings = usual;
    settings.n_known_max = 0;
    CHECK_INT(table_init(&table, &settings), 0);
    answer(&table, "good", 0, 1);
    answer(&table, "bad", EAI_NONAME, 1);
    CHECK_INT(count(&table), 0);
    table_deinit(&table);
}

TEST(resolver_table, the_oldest_makes_room)
{
    struct resolver_table table;
    char name[16];

    CHECK_INT(table_init(&table, &usual), 0);
    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof(name), "n%d", i);
        answer(&table, name, i % 3 ? 0 : EAI_NONAME, 0);
        CHECK(count(&table) <= 4);
    }
    for (int i = 990; i < 1000; i++) {
        snprintf(name, sizeof(name), "n%d", i);
        CHECK_INT(find(&table, name, 1) != NULL, i >= 996);
    }
    table_deinit(&table);
}

TEST(resolver_table, slow_ones)
{
    struct resolver_table table;

    CHECK_INT(table_init(&table, &usual), 0);
    CHECK(table_next_slow_us(&table) == INT64_MAX);
    add(&table, "a", AF_UNSPEC);
    add(&table, "b", AF_UNSPEC);
    struct table_entry *a = take(&table, "a", 100), *b = take(&table, "b", 120);
    CHECK_INT(table_next_slow_us(&table), 150);
    table_age(&table, 149);
    CHECK_INT(a->state, TABLE_RUNNING);
    table_age(&table, 150);
    CHECK_INT(a->state, TABLE_SLOW);
    CHECK_INT(b->state, TABLE_RUNNING);
    CHECK_INT(table.n[TABLE_SLOW], 1);
    CHECK_INT(table_next_slow_us(&table), 170);
    CHECK(find(&table, "a", 150) == a); /* who asks now joins it */
    table_done(&table, a, 160);         /* slow, but an answer */
    CHECK(find(&table, "a", 161) == a);
    CHECK_INT(table.n[TABLE_SLOW], 0);
    table_age(&table, 1000);
    CHECK(table_next_slow_us(&table) == INT64_MAX);
    table_done(&table, b, 1000);
    table_deinit(&table);
}

/* Another family of a name that hangs comes last, and takes no thread when many hang. */
TEST(resolver_table, behind)
{
    struct resolver_table table;

    CHECK_INT(table_init(&table, &usual), 0);
    add(&table, "bad", AF_UNSPEC);
    struct table_entry *bad = take(&table, "bad", 0);
    add(&table, "bad", AF_INET);
    struct table_entry *early = table_take(&table, 10); /* it does not hang yet */
    CHECK_INT(early->question.family, AF_INET);
    early->answer->gai = EAI_AGAIN;
    table_done(&table, early, 20);

    struct table_entry *four = add(&table, "bad", AF_INET), *six = add(&table, "bad", AF_INET6);
    add(&table, "good", AF_UNSPEC);
    struct table_entry *good = take(&table, "good", 60);
    CHECK_INT(bad->state, TABLE_SLOW);
    CHECK_INT(four->state, TABLE_BEHIND);
    CHECK_INT(six->state, TABLE_BEHIND);
    CHECK_INT(table_n_ready(&table), 2); /* two run, three may */
    CHECK(table_take(&table, 61) == four);
    CHECK_INT(table_n_ready(&table), 0);
    CHECK(!table_take(&table, 62));
    table_done(&table, good, 63);
    CHECK_INT(table_n_ready(&table), 1);
    add(&table, "other", AF_UNSPEC);
    struct table_entry *other = take(&table, "other", 64); /* it came later */
    table_age(&table, 120);
    CHECK_INT(table.n[TABLE_SLOW], 3);
    CHECK(!table_take(&table, 121));
    table_done(&table, other, 122);
    CHECK_INT(six->state, TABLE_WAITING); /* a slow one has ended: it is looked at anew */
    four->answer->gai = bad->answer->gai = EAI_AGAIN;
    table_done(&table, four, 124);
    CHECK(table_take(&table, 125) == six);
    CHECK(!table_take(&table, 125));
    table_done(&table, bad, 126);
    table_done(&table, six, 127);
    CHECK_INT(count(&table), 3); /* good, other, six */
    table_deinit(&table);
}

/* Those behind count as waiting, and can be given up. */
TEST(resolver_table, behind_is_bounded)
{
    struct table_settings settings = usual;
    struct resolver_table table;
    struct question question = for_name("more", AF_UNSPEC);
    struct table_entry *entry;

    settings.n_waiting_max = 2;
    settings.n_busy_max = 1;
    CHECK_INT(table_init(&table, &settings), 0);
    add(&table, "bad", AF_UNSPEC);
    struct table_entry *bad = take(&table, "bad", 0);
    struct table_entry *four = add(&table, "bad", AF_INET), *six = add(&table, "bad", AF_INET6);
    CHECK(!table_take(&table, 50));
    CHECK_INT(table_ask(&table, &question, NULL, 0, &entry), TABLE_E_FULL);
    table_forget(&table, four);
    entry = add(&table, "more", AF_UNSPEC);
    table_forget(&table, entry);
    table_forget(&table, six);
    table_done(&table, bad, 60);
    table_deinit(&table);
}

/* ---- payers ---- */

static struct table_entry *add_for(struct resolver_table *table, const char *name,
                                   struct lookup_payer *payer)
{
    struct question question = for_name(name, AF_UNSPEC);
    struct table_entry *entry = NULL;
    CHECK_INT(table_ask(table, &question, payer, 10, &entry), 0);
    return entry;
}

static void init_shared(struct resolver_table *table, size_t n_threads)
{
    struct table_settings settings = usual;
    settings.n_threads_max = n_threads;
    CHECK_INT(table_init(table, &settings), 0);
}

/* One gets half of the threads, the next half of the rest; when one ends it goes on. */
TEST(resolver_table, a_payer_gets_his_share)
{
    struct resolver_table table;
    struct lookup_payer greedy = {.n_there = 0}, modest = {.n_there = 0};
    struct table_entry *entries[5];
    static const char *const names[] = {"g0", "g1", "g2", "g3", "g4"};

    init_shared(&table, 4);
    for (size_t i = 0; i < 5; i++)
        entries[i] = add_for(&table, names[i], &greedy);
    (void)take(&table, "g0", 0);
    (void)take(&table, "g1", 0);
    CHECK(table_take(&table, 0) == NULL);
    CHECK_INT(table.n[TABLE_HELD], 3);
    CHECK_INT(table_n_ready(&table), 0);
    CHECK_INT(greedy.n_running, 2);
    CHECK_INT(greedy.n_there, 5);
    struct table_entry *other = add_for(&table, "m0", &modest);
    CHECK_INT(table_n_ready(&table), 1);
    CHECK(take(&table, "m0", 0) == other);
    CHECK(table_take(&table, 0) == NULL);
    /* one thread is left, and it is for who comes new */
    (void)add_for(&table, "m1", &modest);
    CHECK(table_take(&table, 0) == NULL);
    table_done(&table, other, 1);
    CHECK_INT(modest.n_there, 1);
    CHECK(take(&table, "m1", 1));
    CHECK(table_take(&table, 1) == NULL);
    table_done(&table, entries[0], 2);
    CHECK_INT(table_n_ready(&table), 1);
    CHECK(take(&table, "g2", 2) == entries[2]);
    CHECK(table_take(&table, 2) == NULL);
    table_forget(&table, entries[4]); /* one that is held */
    CHECK_INT(greedy.n_there, 3);
    table_done(&table, entries[1], 3);
    table_done(&table, entries[2], 3);
    (void)take(&table, "g3", 3);
    table_done(&table, entries[3], 4);
    struct question question = for_name("m1", AF_UNSPEC);
    table_done(&table, table_find(&table, &question, 4), 4);
    CHECK_INT(greedy.n_there + greedy.n_running + modest.n_there + modest.n_running, 0);
    table_deinit(&table);
}

TEST(resolver_table, a_payer_has_a_limit)
{
    struct resolver_table table;
    struct lookup_payer payer = {.n_there = 0}, other = {.n_there = 0};
    struct question question = for_name("c", AF_UNSPEC);
    struct table_entry *entry;

    init_shared(&table, 8);
    struct table_entry *a = add_for(&table, "a", &payer), *b = add_for(&table, "b", &payer);
    CHECK_INT(table_ask(&table, &question, &payer, 2, &entry), TABLE_E_PAYER);
    CHECK_INT(table_ask(&table, &question, &other, 2, &entry), 0);
    (void)take(&table, "a", 0);
    /* somebody else pays, for one that runs and one that waits */
    table_pay(a, &other);
    table_pay(b, NULL);
    CHECK_INT(payer.n_there + payer.n_running, 0);
    CHECK_INT(other.n_there, 2);
    CHECK_INT(other.n_running, 1);
    table_forget(&table, b);
    table_forget(&table, entry);
    table_done(&table, a, 1);
    CHECK_INT(other.n_there + other.n_running, 0);
    table_deinit(&table);
}
