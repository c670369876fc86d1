#include "net/tls_session.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "util/list.h"

struct entry {
    struct list in_bucket; /* the newest first */
    struct list in_age;    /* the least recently used first; also of those to be freed */
    struct tls_session_key key;
    SSL_SESSION *session;
    struct tls_session_terms terms;
    int64_t until_up_ms; /* its own end, not later than that of the terms */
    const void *origin;
    size_t n_bytes;
    bool once;
};

struct tls_sessions {
    pthread_mutex_t mutex;
    size_t capacity; /* 0: closed */
    size_t n, n_bytes;
    struct list age;
    size_t n_buckets; /* a power of two */
    struct list buckets[];
};

struct tls_session_now tls_session_now(void)
{
    struct timespec up, wall;

    clock_gettime(CLOCK_BOOTTIME, &up);
    clock_gettime(CLOCK_REALTIME, &wall);
    return (struct tls_session_now){
        .up_ms = (int64_t)up.tv_sec * 1000 + up.tv_nsec / 1000000,
        .wall_s = wall.tv_sec,
    };
}

int tls_sessions_new(struct tls_sessions **ret_sessions, size_t capacity)
{
    size_t n_buckets = 16;

    ASSERT(capacity > 0);
    while (n_buckets < capacity)
        n_buckets *= 2;
    struct tls_sessions *sessions =
        calloc(1, sizeof(*sessions) + n_buckets * sizeof(sessions->buckets[0]));
    if (!sessions)
        return -ENOMEM;
    pthread_mutex_init(&sessions->mutex, NULL);
    sessions->capacity = capacity;
    sessions->n_buckets = n_buckets;
    list_init(&sessions->age);
    for (size_t i = 0; i < n_buckets; i++)
        list_init(&sessions->buckets[i]);
    *ret_sessions = sessions;
    return 0;
}

static void free_entry(struct entry *entry)
{
    SSL_SESSION_free(entry->session);
    free(entry);
}

/* What was taken out under the lock goes without it. */
static void free_all(struct list *gone)
{
    for (struct list *link; (link = list_pop(gone));)
        free_entry(container_of(link, struct entry, in_age));
}

struct tls_sessions *tls_sessions_free(struct tls_sessions *sessions)
{
    if (!sessions)
        return NULL;
    tls_sessions_close(sessions);
    pthread_mutex_destroy(&sessions->mutex);
    free(sessions);
    return NULL;
}

static struct list *bucket_of(struct tls_sessions *sessions, const struct tls_session_key *key)
{
    uint64_t number; /* the key is a digest: any part of it will do */
    memcpy(&number, key->bytes, sizeof(number));
    return &sessions->buckets[number & (sessions->n_buckets - 1)];
}

static bool has_key(const struct entry *entry, const struct tls_session_key *key)
{
    return memcmp(&entry->key, key, sizeof(*key)) == 0;
}

static void unlink_entry(struct tls_sessions *sessions, struct entry *entry)
{
    list_remove(&entry->in_bucket);
    list_remove(&entry->in_age);
    sessions->n--;
    sessions->n_bytes -= entry->n_bytes;
}

static void take_out(struct tls_sessions *sessions, struct entry *entry, struct list *gone)
{
    unlink_entry(sessions, entry);
    list_append(gone, &entry->in_age);
}

void tls_sessions_close(struct tls_sessions *sessions)
{
    struct list gone = LIST_INIT(gone);

    pthread_mutex_lock(&sessions->mutex);
    sessions->capacity = 0;
    list_for_each_safe (link, &sessions->age)
        take_out(sessions, container_of(link, struct entry, in_age), &gone);
    pthread_mutex_unlock(&sessions->mutex);
    free_all(&gone);
}

static bool is_over(const struct entry *entry, struct tls_session_now now)
{
    return now.up_ms >= entry->until_up_ms || now.wall_s < entry->terms.from_s ||
           now.wall_s > entry->terms.until_s;
}

/* ---- in ---- */

static size_t most_of_key(size_t capacity)
{
    size_t most = capacity / 4;
    return most == 0 ? 1 : most < TLS_SESSION_KEY_MAX ? most : TLS_SESSION_KEY_MAX;
}

static size_t most_bytes_of_key(size_t capacity)
{
    return capacity < 4 ? TLS_SESSION_BYTES_EACH : capacity / 4 * TLS_SESSION_BYTES_EACH;
}

static struct entry *new_entry(const struct tls_session_key *key,
                               const struct tls_session_item *item, struct tls_session_now now)
{
    struct entry *entry = calloc(1, sizeof(*entry));
    if (!entry)
        return NULL;
    entry->key = *key;
    entry->terms = item->terms;
    entry->until_up_ms = item->terms.until_up_ms;
    if (item->lifetime_ms < entry->until_up_ms - now.up_ms)
        entry->until_up_ms = now.up_ms + item->lifetime_ms;
    entry->origin = item->origin;
    entry->n_bytes = item->n_bytes;
    entry->once = item->once;
    list_init(&entry->in_bucket);
    list_init(&entry->in_age);
    if (!is_over(entry, now))
        entry->session = SSL_SESSION_dup(item->session);
    if (!entry->session) {
        free(entry);
        return NULL;
    }
    return entry;
}

/* The oldest of the key go until one more fits. */
static void make_room_in_key(struct tls_sessions *sessions, const struct entry *added,
                             struct list *gone)
{
    struct list *bucket = bucket_of(sessions, &added->key);
    size_t n = 1, n_bytes = added->n_bytes;

    list_for_each_safe (link, bucket) {
        struct entry *entry = container_of(link, struct entry, in_bucket);
        if (!has_key(entry, &added->key))
            continue;
        n++;
        n_bytes += entry->n_bytes;
        if ((!added->once && !entry->once) || n > most_of_key(sessions->capacity) ||
            n_bytes > most_bytes_of_key(sessions->capacity)) {
            n--;
            n_bytes -= entry->n_bytes;
            take_out(sessions, entry, gone);
        }
    }
}

static void make_room(struct tls_sessions *sessions, const struct entry *added,
                      struct tls_session_now now, struct list *gone)
{
    make_room_in_key(sessions, added, gone);
    for (struct list *link; (link = list_first(&sessions->age));) {
        struct entry *oldest = container_of(link, struct entry, in_age);
        if (sessions->n < sessions->capacity &&
            sessions->n_bytes + added->n_bytes <= sessions->capacity * TLS_SESSION_BYTES_EACH &&
            !is_over(oldest, now))
            break;
        take_out(sessions, oldest, gone);
    }
}

void tls_sessions_put(struct tls_sessions *sessions, const struct tls_session_key *key,
                      const struct tls_session_item *item, struct tls_session_now now)
{
    struct list gone = LIST_INIT(gone);

    struct entry *entry = new_entry(key, item, now);
    if (!entry)
        return;
    pthread_mutex_lock(&sessions->mutex);
    if (sessions->capacity == 0 || entry->n_bytes > most_bytes_of_key(sessions->capacity)) {
        list_append(&gone, &entry->in_age);
    } else {
        struct list *bucket = bucket_of(sessions, key);
        make_room(sessions, entry, now, &gone);
        list_append(bucket->next, &entry->in_bucket); /* before the first */
        list_append(&sessions->age, &entry->in_age);
        sessions->n++;
        sessions->n_bytes += entry->n_bytes;
    }
    pthread_mutex_unlock(&sessions->mutex);
    free_all(&gone);
}

/* ---- out ---- */

/* The lock is held. What is over is taken out on the way. */
static struct entry *find(struct tls_sessions *sessions, const struct tls_session_key *key,
                          struct tls_session_now now, struct list *gone)
{
    list_for_each_safe (link, bucket_of(sessions, key)) {
        struct entry *entry = container_of(link, struct entry, in_bucket);
        if (!has_key(entry, key))
            continue;
        if (!is_over(entry, now))
            return entry;
        take_out(sessions, entry, gone);
    }
    return NULL;
}

SSL_SESSION *tls_sessions_take(struct tls_sessions *sessions, const struct tls_session_key *key,
                               struct tls_session_now now, struct tls_session_terms *ret_terms)
{
    struct list gone = LIST_INIT(gone);
    SSL_SESSION *session = NULL, *shared = NULL;

    pthread_mutex_lock(&sessions->mutex);
    struct entry *entry = find(sessions, key, now, &gone);
    if (entry) {
        *ret_terms = entry->terms;
        if (entry->once) {
            session = entry->session;
            entry->session = NULL;
            take_out(sessions, entry, &gone);
        } else if (SSL_SESSION_up_ref(entry->session) == 1) {
            shared = entry->session;
            list_remove(&entry->in_age);
            list_append(&sessions->age, &entry->in_age);
        }
    }
    pthread_mutex_unlock(&sessions->mutex);
    free_all(&gone);
    if (shared) {
        session = SSL_SESSION_dup(shared);
        SSL_SESSION_free(shared);
    }
    return session;
}

void tls_sessions_drop(struct tls_sessions *sessions, const struct tls_session_key *key)
{
    struct list gone = LIST_INIT(gone);

    pthread_mutex_lock(&sessions->mutex);
    list_for_each_safe (link, bucket_of(sessions, key)) {
        struct entry *entry = container_of(link, struct entry, in_bucket);
        if (has_key(entry, key))
            take_out(sessions, entry, &gone);
    }
    pthread_mutex_unlock(&sessions->mutex);
    free_all(&gone);
}

static bool same_id(const SSL_SESSION *a, const SSL_SESSION *b)
{
    unsigned n_a, n_b;
    const unsigned char *id_a = SSL_SESSION_get_id(a, &n_a), *id_b = SSL_SESSION_get_id(b, &n_b);
    return n_a > 0 && n_a == n_b && memcmp(id_a, id_b, n_a) == 0;
}

void tls_sessions_drop_like(struct tls_sessions *sessions, const struct tls_session_key *key,
                            const void *origin, const SSL_SESSION *session)
{
    struct list gone = LIST_INIT(gone);

    pthread_mutex_lock(&sessions->mutex);
    list_for_each_safe (link, bucket_of(sessions, key)) {
        struct entry *entry = container_of(link, struct entry, in_bucket);
        if (has_key(entry, key) &&
            ((origin && entry->origin == origin) || (session && same_id(entry->session, session))))
            take_out(sessions, entry, &gone);
    }
    pthread_mutex_unlock(&sessions->mutex);
    free_all(&gone);
}

size_t tls_sessions_count(struct tls_sessions *sessions)
{
    pthread_mutex_lock(&sessions->mutex);
    size_t n = sessions->n;
    pthread_mutex_unlock(&sessions->mutex);
    return n;
}
