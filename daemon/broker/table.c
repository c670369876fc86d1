#include "broker/table.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "broker/stats.h"
#include "util/map.h"

enum { TABLE_SHARDS = 64 };

struct shard {
    _Alignas(64) pthread_mutex_t mutex; /* leaf; a cache line of its own */
    struct map sessions;                /* number -> session id, as a pointer-sized integer */
};

struct table {
    struct shard shards[TABLE_SHARDS];
    uint32_t max_sockets;
    atomic_uint count;
    _Atomic uint64_t next; /* the number is next mod (2^31 - 1), plus 1 */
};

_Static_assert(sizeof(void *) >= sizeof(uint64_t), "session ids are kept in the map's value");

static struct shard *shard_of(struct table *table, uint32_t number)
{
    return &table->shards[number % TABLE_SHARDS];
}

int table_new(struct table **ret_table, uint32_t max_sockets)
{
    struct table *table = aligned_alloc(64, sizeof(*table));
    if (!table)
        return -ENOMEM;
    for (size_t i = 0; i < TABLE_SHARDS; i++) {
        pthread_mutex_init(&table->shards[i].mutex, NULL);
        table->shards[i].sessions = MAP_INIT;
    }
    table->max_sockets = max_sockets;
    atomic_init(&table->count, 0);
    atomic_init(&table->next, 0);
    *ret_table = table;
    return 0;
}

struct table *table_free(struct table *table)
{
    if (!table)
        return NULL;
    ASSERT(atomic_load(&table->count) == 0);
    for (size_t i = 0; i < TABLE_SHARDS; i++) {
        map_deinit(&table->shards[i].sessions);
        pthread_mutex_destroy(&table->shards[i].mutex);
    }
    free(table);
    return NULL;
}

static int try_number(struct table *table, uint32_t number, uint64_t session)
{
    struct shard *shard = shard_of(table, number);
    int r;

    pthread_mutex_lock(&shard->mutex);
    if (map_get(&shard->sessions, number))
        r = -EEXIST;
    else
        r = map_put(&shard->sessions, number, (void *)(uintptr_t)session);
    pthread_mutex_unlock(&shard->mutex);
    return r;
}

int table_reserve(struct table *table, uint64_t session, uint32_t *ret_number)
{
    ASSERT(session != 0);
    if (atomic_fetch_add(&table->count, 1) >= table->max_sockets) {
        atomic_fetch_sub(&table->count, 1);
        return TABLE_E_FULL;
    }
    for (;;) {
        uint64_t next = atomic_fetch_add_explicit(&table->next, 1, memory_order_relaxed);
        uint32_t number = (uint32_t)(next % INT32_MAX) + 1;
        int r = try_number(table, number, session);
        if (r == -EEXIST)
            continue; /* once around, and this one is still open */
        if (r) {
            atomic_fetch_sub(&table->count, 1);
            return r;
        }
        *ret_number = number;
        stats_changed();
        return 0;
    }
}

int table_reserve_number(struct table *table, uint32_t number, uint64_t session)
{
    ASSERT(session != 0 && number >= 1 && number <= INT32_MAX);
    if (atomic_fetch_add(&table->count, 1) >= table->max_sockets) {
        atomic_fetch_sub(&table->count, 1);
        return TABLE_E_FULL;
    }
    int r = try_number(table, number, session);
    if (r)
        atomic_fetch_sub(&table->count, 1);
    return r;
}

uint32_t table_next(struct table *table)
{
    return (uint32_t)(atomic_load(&table->next) % INT32_MAX) + 1;
}

void table_release(struct table *table, uint32_t number)
{
    struct shard *shard = shard_of(table, number);

    pthread_mutex_lock(&shard->mutex);
    void *session = map_remove(&shard->sessions, number);
    pthread_mutex_unlock(&shard->mutex);
    ASSERT(session);
    atomic_fetch_sub(&table->count, 1);
    stats_changed();
}

void table_move(struct table *table, uint32_t number, uint64_t session)
{
    struct shard *shard = shard_of(table, number);

    ASSERT(session != 0);
    pthread_mutex_lock(&shard->mutex);
    map_replace(&shard->sessions, number, (void *)(uintptr_t)session);
    pthread_mutex_unlock(&shard->mutex);
}

int table_session(struct table *table, uint32_t number, uint64_t *ret_session)
{
    struct shard *shard = shard_of(table, number);

    pthread_mutex_lock(&shard->mutex);
    void *session = map_get(&shard->sessions, number);
    pthread_mutex_unlock(&shard->mutex);
    if (!session)
        return TABLE_E_NONE;
    *ret_session = (uint64_t)(uintptr_t)session;
    return 0;
}

uint32_t table_count(struct table *table)
{
    return atomic_load(&table->count);
}

void table_set_next(struct table *table, uint32_t number)
{
    ASSERT(number >= 1);
    atomic_store(&table->next, number - 1);
}
