/* table: numbers are unique, bounded, not used again while anyone could hold them. */
#include <pthread.h>

#include "broker/table.h"
#include "support/test.h"

TEST(table, reserve_find_release)
{
    struct table *table;
    uint32_t a, b;
    uint64_t session;

    CHECK_INT(table_new(&table, 10), 0);
    CHECK_INT(table_reserve(table, 7, &a), 0);
    CHECK_INT(table_reserve(table, 8, &b), 0);
    CHECK_INT(a, 1);
    CHECK_INT(b, 2);
    CHECK_INT(table_session(table, a, &session), 0);
    CHECK_INT(session, 7);
    table_release(table, a);
    CHECK_INT(table_session(table, a, &session), TABLE_E_NONE);
    CHECK_INT(table_reserve(table, 9, &a), 0);
    CHECK_INT(a, 3); /* not 1 again */
    table_release(table, a);
    table_release(table, b);
    CHECK_INT(table_count(table), 0);
    CHECK(table_free(table) == NULL);
}

TEST(table, full)
{
    struct table *table;
    uint32_t numbers[3], more;

    CHECK_INT(table_new(&table, 3), 0);
    for (size_t i = 0; i < 3; i++)
        CHECK_INT(table_reserve(table, 1, &numbers[i]), 0);
    CHECK_INT(table_reserve(table, 1, &more), TABLE_E_FULL);
    table_release(table, numbers[1]);
    CHECK_INT(table_reserve(table, 1, &more), 0);
    table_release(table, more);
    table_release(table, numbers[0]);
    table_release(table, numbers[2]);
    table_free(table);
}

/* After 2^31 - 1 it begins at 1 again and leaves out what is still open. */
TEST(table, wraps_around)
{
    struct table *table;
    uint32_t first, last, next;

    CHECK_INT(table_new(&table, 10), 0);
    CHECK_INT(table_reserve(table, 1, &first), 0);
    table_set_next(table, INT32_MAX);
    CHECK_INT(table_reserve(table, 1, &last), 0);
    CHECK_INT(last, INT32_MAX);
    CHECK_INT(table_reserve(table, 1, &next), 0);
    CHECK_INT(next, 2);
    table_release(table, first);
    table_release(table, last);
    table_release(table, next);
    table_free(table);
}

enum { THREADS = 8, ROUNDS = 5000, HELD = 16 };

struct worker {
    pthread_t thread;
    struct table *table;
    uint64_t session;
    unsigned wrong;
};

static void *work(void *argument)
{
    struct worker *worker = argument;
    uint32_t held[HELD] = {0};
    uint64_t session;

    for (size_t i = 0; i < ROUNDS; i++) {
        uint32_t *slot = &held[i % HELD];
        if (*slot) {
            worker->wrong +=
                table_session(worker->table, *slot, &session) != 0 || session != worker->session;
            table_release(worker->table, *slot);
        }
        worker->wrong += table_reserve(worker->table, worker->session, slot) != 0;
    }
    for (size_t i = 0; i < HELD; i++)
        table_release(worker->table, held[i]);
    return NULL;
}

TEST(table, many_threads)
{
    struct worker workers[THREADS] = {0};
    struct table *table;

    CHECK_INT(table_new(&table, THREADS * HELD), 0);
    for (size_t i = 0; i < THREADS; i++) {
        workers[i].table = table;
        workers[i].session = i + 1;
        CHECK_INT(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        pthread_join(workers[i].thread, NULL);
        CHECK_INT(workers[i].wrong, 0);
    }
    CHECK_INT(table_count(table), 0);
    table_free(table);
}

TEST(table, moves)
{
    struct table *table;
    uint32_t number;
    uint64_t session;

    CHECK_INT(table_new(&table, 2), 0);
    CHECK_INT(table_reserve(table, 7, &number), 0);
    table_move(table, number, TABLE_NOBODY);
    CHECK_INT(table_session(table, number, &session), 0);
    CHECK(session == TABLE_NOBODY);
    table_move(table, number, 8);
    CHECK_INT(table_session(table, number, &session), 0);
    CHECK_INT(session, 8);
    table_release(table, number);
    table_free(table);
}
