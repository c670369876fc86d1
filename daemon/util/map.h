#pragma once
/*
 * map: number -> pointer, open addressing with linear probing; keys are never 0.
 *
 * Threads:   none of its own; belongs to whoever owns it.
 * Ownership: values are borrowed. map_deinit() asserts that the map is empty.
 * Errors:    map_put(): -ENOMEM, nothing changed.
 * Limits:    memory only; shrinks when it gets sparse.
 */
#include <stddef.h>
#include <stdint.h>

#include "util/assert.h"

struct map_slot {
    uint64_t key; /* 0: free */
    void *value;
};

struct map {
    struct map_slot *slots;
    size_t n_slots; /* 0 or a power of two */
    size_t n_used;
};

#define MAP_INIT ((struct map){0})

void map_deinit(struct map *map);
void *map_get(const struct map *map, uint64_t key); /* NULL: not there */
NODISCARD int map_put(struct map *map, uint64_t key,
                      void *value);              /* the key must be new, the value not NULL */
void *map_remove(struct map *map, uint64_t key); /* the value it had, or NULL */
/* Another value for a key that is there; cannot fail. */
void map_replace(struct map *map, uint64_t key, void *value);
/* Iterate: for (size_t i = 0; (value = map_next(map, &i, &key));). No put or remove meanwhile. */
void *map_next(const struct map *map, size_t *position, uint64_t *ret_key);
