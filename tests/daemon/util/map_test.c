#include "util/map.h"

#include "support/test.h"

enum { N_KEYS = 2000, N_STEPS = 200000 };

static void compare(const struct map *map, char *const *model, size_t n)
{
    size_t position = 0, n_seen = 0;
    uint64_t key;
    for (char *value; (value = map_next(map, &position, &key)); n_seen++)
        CHECK(key > 0 && key <= N_KEYS && model[key - 1] == value);
    CHECK_INT(n_seen, n);
    CHECK_INT(map->n_used, n);
}

/* Removals move entries in a table with linear probing; keys are spread so that they collide. */
TEST(map, random_against_a_model)
{
    static char values[N_KEYS], *model[N_KEYS];
    struct map map = MAP_INIT;
    unsigned random = 3;
    size_t n = 0, most = 0;
    memset(model, 0, sizeof(model));
    for (int i = 0; i < N_STEPS; i++) {
        random = random * 1103515245u + 12345u;
        size_t k = (random >> 9) % N_KEYS;
        bool add = (random >> 5) % 100 < ((i / 20000) % 2 ? 20u : 80u); /* grows and shrinks */
        CHECK(map_get(&map, k + 1) == model[k]);
        if (add && !model[k]) {
            CHECK_INT(map_put(&map, k + 1, &values[k]), 0);
            model[k] = &values[k];
            n++;
        } else if (!add) {
            CHECK(map_remove(&map, k + 1) == model[k]);
            n -= model[k] != NULL;
            model[k] = NULL;
        }
        most = map.n_slots > most ? map.n_slots : most;
        if (i % 5000 == 0)
            compare(&map, model, n);
    }
    for (size_t k = 0; k < N_KEYS; k++)
        map_remove(&map, k + 1);
    CHECK_INT(map.n_used, 0);
    CHECK(map.n_slots < most);
    map_deinit(&map);
}

TEST(map, large_keys_and_none)
{
    struct map map = MAP_INIT;
    int value;
    CHECK(!map_get(&map, 1));
    CHECK(!map_remove(&map, 1));
    CHECK_INT(map_put(&map, UINT64_MAX, &value), 0);
    CHECK_INT(map_put(&map, 1, &value), 0);
    CHECK(map_get(&map, UINT64_MAX) == &value);
    CHECK(!map_get(&map, UINT64_MAX - 1));
    CHECK(map_remove(&map, UINT64_MAX) == &value);
    CHECK(!map_remove(&map, UINT64_MAX));
    CHECK(map_remove(&map, 1) == &value);
    map_deinit(&map);
}
