#include "util/map.h"

#include <errno.h>
#include <stdlib.h>

enum { MAP_SLOTS_MIN = 16 };

/* Fibonacci hashing: consecutive numbers, which is what sockets have, spread over the table. */
static size_t slot_of(const struct map *map, uint64_t key)
{
    return (size_t)((key * UINT64_C(0x9E3779B97F4A7C15)) >> 20) & (map->n_slots - 1);
}

static size_t find(const struct map *map, uint64_t key)
{
    size_t i = slot_of(map, key);
    while (map->slots[i].key && map->slots[i].key != key)
        i = (i + 1) & (map->n_slots - 1);
    return i;
}

static int resize(struct map *map, size_t n_slots)
{
    struct map fresh = {
        .slots = calloc(n_slots, sizeof(*fresh.slots)), .n_slots = n_slots, .n_used = map->n_used};

    if (!fresh.slots)
        return -ENOMEM;
    for (size_t i = 0; i < map->n_slots; i++)
        if (map->slots[i].key)
            fresh.slots[find(&fresh, map->slots[i].key)] = map->slots[i];
    free(map->slots);
    *map = fresh;
    return 0;
}

void map_deinit(struct map *map)
{
    ASSERT(map->n_used == 0);
    free(map->slots);
    *map = MAP_INIT;
}

void *map_get(const struct map *map, uint64_t key)
{
    if (map->n_used == 0)
        return NULL;
    return map->slots[find(map, key)].value;
}

int map_put(struct map *map, uint64_t key, void *value)
{
    ASSERT(key != 0 && value);
    if ((map->n_used + 1) * 4 > map->n_slots * 3) {
        int r = resize(map, map->n_slots ? map->n_slots * 2 : MAP_SLOTS_MIN);
        if (r)
            return r;
    }
    size_t i = find(map, key);
    ASSERT(map->slots[i].key == 0);
    map->slots[i] = (struct map_slot){.key = key, .value = value};
    map->n_used++;
    return 0;
}

void *map_remove(struct map *map, uint64_t key)
{
    if (map->n_used == 0)
        return NULL;
    size_t i = find(map, key);
    void *value = map->slots[i].value;
    if (!map->slots[i].key)
        return NULL;
    /* close the gap, so that no tombstones are needed (Knuth 6.4, algorithm R) */
    size_t gap = i;
    for (size_t k = (i + 1) & (map->n_slots - 1); map->slots[k].key;
         k = (k + 1) & (map->n_slots - 1)) {
        size_t home = slot_of(map, map->slots[k].key);
        if (((k - home) & (map->n_slots - 1)) >= ((k - gap) & (map->n_slots - 1))) {
            map->slots[gap] = map->slots[k];
            gap = k;
        }
    }
    map->slots[gap] = (struct map_slot){0};
    map->n_used--;
    if (map->n_slots > MAP_SLOTS_MIN && map->n_used * 8 < map->n_slots)
        (void)resize(map, map->n_slots / 2); /* staying large is no failure */
    return value;
}

void map_replace(struct map *map, uint64_t key, void *value)
{
    ASSERT(map->n_used > 0 && value);
    size_t i = find(map, key);
    ASSERT(map->slots[i].key == key);
    map->slots[i].value = value;
}

void *map_next(const struct map *map, size_t *position, uint64_t *ret_key)
{
    for (; *position < map->n_slots; (*position)++) {
        const struct map_slot *slot = &map->slots[*position];
        if (slot->key) {
            (*position)++;
            if (ret_key)
                *ret_key = slot->key;
            return slot->value;
        }
    }
    return NULL;
}
