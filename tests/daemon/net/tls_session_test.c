#include "net/tls_session.h"

#include <pthread.h>

#include "support/test.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif

/* Sessions are numbers here, and so are times: from some start. */
static const struct tls_session_now start = {.up_ms = 1000000, .wall_s = 5000};
#define USUAL                                                                                      \
    {                                                                                              \
        .until_up_ms = 2000000, .from_s = 4000, .until_s = 6000                                    \
    }
static const struct tls_session_terms usual = USUAL;

static struct tls_session_key key(unsigned n)
{
    struct tls_session_key made = {{0}};
    memcpy(made.bytes + 20, &n, sizeof(n)); /* all of them meet in one bucket */
    return made;
}

static SSL_SESSION *session(unsigned n)
{
    SSL_SESSION *made = SSL_SESSION_new();
    CHECK(made);
    CHECK_INT(SSL_SESSION_set1_id(made, (const unsigned char *)&n, sizeof(n)), 1);
    return made;
}

static struct tls_sessions *store(size_t capacity)
{
    struct tls_sessions *sessions;
    CHECK_INT(tls_sessions_new(&sessions, capacity), 0);
    return sessions;
}

static const struct tls_session_item ticket = {
    .terms = USUAL, .lifetime_ms = 900000, .n_bytes = 1000, .once = true};

static void put_item(struct tls_sessions *sessions, unsigned for_key, unsigned n,
                     const struct tls_session_item *like, struct tls_session_now now)
{
    const struct tls_session_key at = key(for_key);
    struct tls_session_item item = *like;
    item.session = session(n);
    tls_sessions_put(sessions, &at, &item, now);
    SSL_SESSION_free(item.session);
}

static void put(struct tls_sessions *sessions, unsigned for_key, unsigned n)
{
    put_item(sessions, for_key, n, &ticket, start);
}

static unsigned number(const SSL_SESSION *given)
{
    unsigned length, n;
    const unsigned char *id = SSL_SESSION_get_id(given, &length);
    CHECK_INT(length, sizeof(n));
    memcpy(&n, id, sizeof(n));
    return n;
}

/* The number, or 0. */
static unsigned take_at(struct tls_sessions *sessions, unsigned for_key, struct tls_session_now now)
{
    const struct tls_session_key at = key(for_key);
    struct tls_session_terms terms = {0};
    SSL_SESSION *taken = tls_sessions_take(sessions, &at, now, &terms);
    if (!taken)
        return 0;
    unsigned n = number(taken);
    SSL_SESSION_free(taken);
    CHECK_INT(terms.until_up_ms, usual.until_up_ms);
    CHECK_INT(terms.from_s, usual.from_s);
    CHECK_INT(terms.until_s, usual.until_s);
    return n;
}

static unsigned take(struct tls_sessions *sessions, unsigned for_key)
{
    return take_at(sessions, for_key, start);
}

static struct tls_session_now later(int64_t up_ms, int64_t wall_s)
{
    return (struct tls_session_now){start.up_ms + up_ms, start.wall_s + wall_s};
}

TEST(tls_session, once_and_the_newest_first)
{
    struct tls_sessions *sessions = store(100);
    put(sessions, 1, 11);
    put(sessions, 1, 12);
    put(sessions, 2, 21);
    CHECK_INT(take(sessions, 3), 0);
    CHECK_INT(take(sessions, 1), 12);
    CHECK_INT(take(sessions, 1), 11);
    CHECK_INT(take(sessions, 1), 0);
    CHECK_INT(tls_sessions_count(sessions), 1);
    CHECK_INT(take(sessions, 2), 21);
    CHECK_INT(tls_sessions_count(sessions), 0);
    tls_sessions_free(sessions);
}

TEST(tls_session, shared)
{
    struct tls_session_item shared = ticket;
    struct tls_sessions *sessions = store(100);
    const struct tls_session_key at = key(1);
    struct tls_session_terms terms;
    shared.once = false;
    put_item(sessions, 1, 11, &shared, start);
    CHECK_INT(take(sessions, 1), 11);
    CHECK_INT(take(sessions, 1), 11);
    /* each has its own: nothing that happens to one is seen by another */
    SSL_SESSION *a = tls_sessions_take(sessions, &at, start, &terms);
    SSL_SESSION *b = tls_sessions_take(sessions, &at, start, &terms);
    CHECK(a && b && a != b);
    SSL_SESSION_free(a);
    SSL_SESSION_free(b);
    /* one is enough: the next takes its place, but not that of a ticket */
    put(sessions, 1, 12);
    put_item(sessions, 1, 13, &shared, start);
    CHECK_INT(tls_sessions_count(sessions), 2);
    CHECK_INT(take(sessions, 1), 13);
    const SSL_SESSION *gone = session(13);
    tls_sessions_drop_like(sessions, &at, NULL, gone);
    SSL_SESSION_free((SSL_SESSION *)gone);
    CHECK_INT(take(sessions, 1), 12);
    CHECK_INT(take(sessions, 1), 0);
    tls_sessions_free(sessions);
}

TEST(tls_session, what_is_put_is_copied)
{
    struct tls_sessions *sessions = store(100);
    const struct tls_session_key at = key(1);
    struct tls_session_item item = ticket;
    const unsigned other = 99;
    item.session = session(11);
    tls_sessions_put(sessions, &at, &item, start);
    CHECK_INT(SSL_SESSION_set1_id(item.session, (const unsigned char *)&other, sizeof(other)), 1);
    SSL_SESSION_free(item.session);
    CHECK_INT(take(sessions, 1), 11);
    tls_sessions_free(sessions);
}

TEST(tls_session, time)
{
    static const struct {
        int64_t lifetime_ms, up_ms, wall_s;
        bool there;
    } cases[] = {
        {900000, 0, 0, true},
        {900000, 899999, 0, true},
        {900000, 900000, 0, false},   /* the server's word */
        {1500000, 999999, 0, true},   /* that of the store */
        {1500000, 1000000, 0, false}, /* also when the server grants more */
        {1, 0, 0, true},
        {1, 1, 0, false},
        {0, 0, 0, false}, /* a server that takes it back at once */
        {-5, 0, 0, false},
        {900000, 0, 1000, true}, /* the last second of a certificate */
        {900000, 0, 1001, false},
        {900000, 0, 1000000000, false}, /* a clock that jumps */
        {900000, 0, -1000, true},       /* the first second */
        {900000, 0, -1001, false},
    };
    struct tls_sessions *sessions = store(100);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        for (int once = 0; once < 2; once++) {
            struct tls_session_item item = ticket;
            item.lifetime_ms = cases[i].lifetime_ms;
            item.once = once;
            put_item(sessions, 1, 7, &item, start);
            unsigned got = take_at(sessions, 1, later(cases[i].up_ms, cases[i].wall_s));
            if ((got == 7) != cases[i].there)
                fprintf(stderr, "case %zu\n", i);
            CHECK_INT(got, cases[i].there ? 7 : 0);
            const struct tls_session_key at = key(1);
            tls_sessions_drop(sessions, &at);
            CHECK_INT(tls_sessions_count(sessions), 0);
        }
    }
    /* what is over is not even stored */
    put_item(sessions, 1, 8, &ticket, later(0, 2000));
    put_item(sessions, 1, 8, &ticket, later(2000000, 0));
    put_item(sessions, 1, 8, &(struct tls_session_item){.lifetime_ms = 900000, .n_bytes = 1},
             start);
    CHECK_INT(tls_sessions_count(sessions), 0);
    tls_sessions_free(sessions);
}

TEST(tls_session, what_is_over_goes_without_being_asked_for)
{
    struct tls_sessions *sessions = store(100);
    struct tls_session_item brief = ticket;
    brief.lifetime_ms = 10;
    for (unsigned i = 1; i <= 50; i++)
        put_item(sessions, i, i, &brief, start);
    CHECK_INT(tls_sessions_count(sessions), 50);
    put_item(sessions, 99, 99, &ticket, later(10, 0));
    CHECK_INT(tls_sessions_count(sessions), 1);
    CHECK_INT(take(sessions, 99), 99);
    tls_sessions_free(sessions);
}

TEST(tls_session, capacity)
{
    struct tls_session_item shared = ticket;
    struct tls_sessions *sessions = store(8);
    shared.once = false;
    for (unsigned i = 1; i <= 8; i++)
        put_item(sessions, i, i, &shared, start);
    CHECK_INT(tls_sessions_count(sessions), 8);
    CHECK_INT(take(sessions, 1), 1); /* used: now 2 is the least recently used */
    put_item(sessions, 9, 9, &shared, start);
    put_item(sessions, 10, 10, &shared, start);
    CHECK_INT(tls_sessions_count(sessions), 8);
    for (unsigned i = 1; i <= 10; i++)
        CHECK_INT(take(sessions, i), i == 2 || i == 3 ? 0 : i);
    tls_sessions_free(sessions);
}

TEST(tls_session, capacity_of_a_key)
{
    static const struct {
        size_t capacity;
        unsigned most;
    } cases[] = {{1, 1}, {2, 1}, {4, 1}, {8, 2}, {100, 25}, {256, 64}, {1000, 64}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct tls_sessions *sessions = store(cases[i].capacity);
        if (cases[i].capacity > 1)
            put(sessions, 2, 5);
        for (unsigned n = 1; n <= 10000; n++)
            put(sessions, 1, n);
        CHECK_INT(tls_sessions_count(sessions), cases[i].most + (cases[i].capacity > 1));
        for (unsigned n = 0; n < cases[i].most; n++)
            CHECK_INT(take(sessions, 1), 10000 - n);
        CHECK_INT(take(sessions, 1), 0);
        CHECK_INT(take(sessions, 2), cases[i].capacity > 1 ? 5 : 0);
        tls_sessions_free(sessions);
    }
}

TEST(tls_session, bytes)
{
    struct tls_session_item big = ticket;
    struct tls_sessions *sessions = store(16); /* 128 KiB, 32 KiB of them for a key */
    put(sessions, 1, 1);
    big.n_bytes = 32769;
    put_item(sessions, 1, 2, &big, start); /* too large, and nothing else goes for it */
    CHECK_INT(take(sessions, 1), 1);
    big.n_bytes = 16384;
    for (unsigned i = 1; i <= 3; i++)
        put_item(sessions, 1, i, &big, start);
    CHECK_INT(tls_sessions_count(sessions), 2);
    for (unsigned i = 2; i <= 9; i++)
        put_item(sessions, i, 10 * i, &big, start);
    CHECK_INT(tls_sessions_count(sessions), 8);
    CHECK_INT(take(sessions, 1), 0);
    CHECK_INT(take(sessions, 2), 20);
    put(sessions, 20, 1); /* there is room for a small one now */
    CHECK_INT(tls_sessions_count(sessions), 8);
    tls_sessions_free(sessions);
}

TEST(tls_session, dropping)
{
    struct tls_sessions *sessions = store(100);
    struct tls_session_item item = ticket;
    const struct tls_session_key first = key(1);
    int a, b;
    SSL_SESSION *like = session(12);
    item.origin = &a;
    put_item(sessions, 1, 11, &item, start);
    put_item(sessions, 2, 12, &item, start);
    item.origin = &b;
    put_item(sessions, 1, 12, &item, start);
    put_item(sessions, 1, 13, &item, start);
    tls_sessions_drop_like(sessions, &first, NULL, NULL);
    CHECK_INT(tls_sessions_count(sessions), 4);
    tls_sessions_drop_like(sessions, &first, &a, NULL);
    CHECK_INT(tls_sessions_count(sessions), 3);
    tls_sessions_drop_like(sessions, &first, NULL, like);
    CHECK_INT(tls_sessions_count(sessions), 2);
    CHECK_INT(take(sessions, 1), 13);
    CHECK_INT(take(sessions, 2), 12); /* of another key: not touched */
    put(sessions, 1, 14);
    put(sessions, 1, 15);
    put(sessions, 2, 22);
    tls_sessions_drop(sessions, &first);
    CHECK_INT(take(sessions, 1), 0);
    CHECK_INT(take(sessions, 2), 22);
    SSL_SESSION_free(like);
    tls_sessions_free(sessions);
    CHECK(!tls_sessions_free(NULL));
}

TEST(tls_session, closed)
{
    struct tls_sessions *sessions = store(100);
    put(sessions, 1, 11);
    tls_sessions_close(sessions);
    CHECK_INT(tls_sessions_count(sessions), 0);
    put(sessions, 1, 12);
    CHECK_INT(tls_sessions_count(sessions), 0);
    CHECK_INT(take(sessions, 1), 0);
    tls_sessions_close(sessions);
    tls_sessions_free(sessions);
}

TEST(tls_session, the_clocks_run)
{
    struct tls_session_now now = tls_session_now(), then = tls_session_now();
    CHECK(now.up_ms > 0 && then.up_ms >= now.up_ms);
    CHECK(now.wall_s > 1700000000);
}

/* ---- many threads ---- */

enum { N_THREADS = 8, N_ROUNDS = 2000 };

static struct {
    struct tls_sessions *sessions;
    _Atomic unsigned n_taken[N_THREADS * N_ROUNDS + 1];
} crowd;

static void *crowd_work(void *argument)
{
    const unsigned me = *(const unsigned *)argument;
    for (unsigned i = 0; i < N_ROUNDS; i++) {
        unsigned for_key = i % 5, n = me * N_ROUNDS + i + 1;
        struct tls_session_item item = ticket;
        item.once = i % 7 != 0;
        put_item(crowd.sessions, for_key, n, &item, start);
        unsigned taken = take(crowd.sessions, for_key);
        if (taken && (taken - 1) % N_ROUNDS % 7 != 0)
            crowd.n_taken[taken]++;
        if (i % 100 == 99) {
            const struct tls_session_key at = key(for_key);
            tls_sessions_drop(crowd.sessions, &at);
        }
    }
    return NULL;
}

TEST(tls_session, many_threads)
{
    static unsigned numbers[N_THREADS];
    pthread_t threads[N_THREADS];
    memset(&crowd, 0, sizeof(crowd));
    crowd.sessions = store(64);
    for (unsigned i = 0; i < N_THREADS; i++) {
        numbers[i] = i;
        CHECK_INT(pthread_create(&threads[i], NULL, crowd_work, &numbers[i]), 0);
    }
    for (unsigned i = 0; i < N_THREADS; i++)
        pthread_join(threads[i], NULL);
    unsigned n_used = 0;
    for (size_t i = 0; i <= N_THREADS * N_ROUNDS; i++) {
        CHECK(crowd.n_taken[i] <= 1); /* no ticket twice */
        n_used += crowd.n_taken[i];
    }
    CHECK(n_used > N_ROUNDS);
    CHECK(tls_sessions_count(crowd.sessions) <= 64);
    tls_sessions_free(crowd.sessions);
}

/* ---- no memory ---- */

#ifndef SANITIZED
void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);

static _Thread_local size_t n_until_failure; /* 1: the next one fails */

static bool fails(void)
{
    return n_until_failure > 0 && --n_until_failure == 0;
}

/* In the executable these stand before the C library's, for OpenSSL too. */
__attribute__((visibility("default"))) void *malloc(size_t n)
{
    return fails() ? NULL : __libc_malloc(n);
}

__attribute__((visibility("default"))) void *calloc(size_t n, size_t size)
{
    return fails() ? NULL : __libc_calloc(n, size);
}

TEST(tls_session, without_memory)
{
    const struct tls_session_key at = key(1);
    struct tls_sessions *sessions = NULL;
    struct tls_session_item item = ticket;
    struct tls_session_terms terms;
    bool failed = true;

    n_until_failure = 1;
    CHECK(tls_sessions_new(&sessions, 10) < 0);
    sessions = store(10);
    item.session = session(11);
    size_t n_puts = 0;
    for (; failed; n_puts++) { /* each allocation in turn: it is there, or nothing is */
        n_until_failure = n_puts + 1;
        tls_sessions_put(sessions, &at, &item, start);
        failed = n_until_failure == 0;
        n_until_failure = 0;
        if (failed)
            CHECK_INT(tls_sessions_count(sessions), 0);
    }
    CHECK(n_puts > 2);
    CHECK_INT(tls_sessions_count(sessions), 1);
    item.once = false;
    tls_sessions_drop(sessions, &at);
    tls_sessions_put(sessions, &at, &item, start);
    n_until_failure = 1;
    CHECK(!tls_sessions_take(sessions, &at, start, &terms));
    n_until_failure = 0;
    CHECK_INT(take(sessions, 1), 11); /* it is still there */
    SSL_SESSION_free(item.session);
    tls_sessions_free(sessions);
}
#endif
