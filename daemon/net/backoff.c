#include "net/backoff.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct entry {
    struct address address;
    unsigned n_refused; /* 0: the entry is free */
    int64_t refused_us; /* the last one that counted */
};

struct backoff {
    pthread_mutex_t mutex;
    struct entry entries[BACKOFF_SETS][BACKOFF_WAYS];
};

int backoff_new(struct backoff **ret_backoff)
{
    struct backoff *backoff = calloc(1, sizeof(*backoff));
    if (!backoff)
        return -ENOMEM;
    pthread_mutex_init(&backoff->mutex, NULL);
    *ret_backoff = backoff;
    return 0;
}

struct backoff *backoff_free(struct backoff *backoff)
{
    if (!backoff)
        return NULL;
    pthread_mutex_destroy(&backoff->mutex);
    free(backoff);
    return NULL;
}

/* ::ffff:192.0.2.1 is reached as 192.0.2.1 is: one place. */
static struct address plain_of(const struct address *address)
{
    struct address plain = *address;

    address_unmap(&plain);
    return plain;
}

/* Who chooses addresses so that they fall into one set spoils the memory of that set, no more. */
static struct entry *set_of(struct backoff *backoff, const struct address *address)
{
    const unsigned char *bytes = (const unsigned char *)&address->v4.sin_addr;
    size_t n_bytes = sizeof(address->v4.sin_addr);
    uint32_t hash = 2166136261u ^ address_port(address); /* FNV-1a */

    if (address_family(address) == AF_INET6) {
        bytes = (const unsigned char *)&address->v6.sin6_addr;
        n_bytes = sizeof(address->v6.sin6_addr);
    }
    hash *= 16777619u;
    for (size_t i = 0; i < n_bytes; i++)
        hash = (hash ^ bytes[i]) * 16777619u;
    return backoff->entries[(hash ^ hash >> 16) % BACKOFF_SETS];
}

static bool has_pause(const struct entry *entry, const struct backoff_settings *settings)
{
    return settings->after > 0 && entry->n_refused >= settings->after;
}

/* When it may be tried again: the end of the pause; without one, since its last refusal. */
static int64_t pause_end(const struct entry *entry, const struct backoff_settings *settings)
{
    int64_t pause_ms = settings->min_ms;

    if (!has_pause(entry, settings))
        return entry->refused_us;
    if (!address_is_loopback(&entry->address))
        for (unsigned n = entry->n_refused; n > settings->after && pause_ms < settings->max_ms; n--)
            pause_ms *= 2;
    return entry->refused_us + (pause_ms < settings->max_ms ? pause_ms : settings->max_ms) * 1000;
}

static bool is_forgotten(const struct entry *entry, const struct backoff_settings *settings,
                         int64_t now_us)
{
    return entry->n_refused == 0 || now_us - pause_end(entry, settings) >= settings->max_ms * 1000;
}

static struct entry *find(struct entry *set, const struct address *address)
{
    for (size_t i = 0; i < BACKOFF_WAYS; i++)
        if (set[i].n_refused && address_equal(&set[i].address, address))
            return &set[i];
    return NULL;
}

/* The entry that is of least use. */
static struct entry *make_room(struct entry *set, const struct backoff_settings *settings,
                               int64_t now_us)
{
    struct entry *oldest = &set[0];

    for (size_t i = 0; i < BACKOFF_WAYS; i++) {
        if (is_forgotten(&set[i], settings, now_us))
            return &set[i];
        if (set[i].refused_us < oldest->refused_us)
            oldest = &set[i];
    }
    return oldest;
}

bool backoff_pausing(struct backoff *backoff, const struct address *address,
                     const struct backoff_settings *settings, int64_t now_us,
                     struct backoff_pause *ret_pause)
{
    const struct address plain = plain_of(address);
    bool pausing = false;

    if (settings->after == 0)
        return false;
    pthread_mutex_lock(&backoff->mutex);
    const struct entry *entry = find(set_of(backoff, &plain), &plain);
    /* another thread's refusal may be later than the caller's now */
    if (entry && has_pause(entry, settings) && now_us < pause_end(entry, settings)) {
        *ret_pause = (struct backoff_pause){.n_refused = entry->n_refused,
                                            .until_us = pause_end(entry, settings)};
        pausing = true;
    }
    pthread_mutex_unlock(&backoff->mutex);
    return pausing;
}

void backoff_refused(struct backoff *backoff, const struct address *address,
                     const struct backoff_settings *settings, int64_t began_us, int64_t now_us)
{
    const struct address plain = plain_of(address);

    if (settings->after == 0)
        return;
    pthread_mutex_lock(&backoff->mutex);
    struct entry *set = set_of(backoff, &plain);
    struct entry *entry = find(set, &plain);
    if (!entry || is_forgotten(entry, settings, now_us)) {
        if (!entry)
            entry = make_room(set, settings, now_us);
        *entry = (struct entry){.address = plain, .n_refused = 1, .refused_us = now_us};
    } else if (began_us >= entry->refused_us) {
        if (entry->n_refused < UINT32_MAX)
            entry->n_refused++;
        entry->refused_us = now_us;
    }
    pthread_mutex_unlock(&backoff->mutex);
}

void backoff_connected(struct backoff *backoff, const struct address *address)
{
    const struct address plain = plain_of(address);

    pthread_mutex_lock(&backoff->mutex);
    struct entry *entry = find(set_of(backoff, &plain), &plain);
    if (entry)
        *entry = (struct entry){0};
    pthread_mutex_unlock(&backoff->mutex);
}
