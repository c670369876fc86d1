#include "net/resolver.h"

#include <netdb.h>
#include <unistd.h>

#include "net_fixture.h"
#include "support/test.h"

struct asked {
    struct lookup lookup; /* first: freed through it */
    bool *done;
    int *n_done;
};

static void on_done(struct mail *mail)
{
    struct asked *asked = container_of(mail, struct asked, lookup.done);
    *asked->done = true;
    if (asked->n_done)
        (*asked->n_done)++;
}

static struct lookup *new_lookup(struct loop *loop, enum lookup_kind kind, const char *host,
                                 const char *service, bool *done)
{
    struct asked *asked = calloc(1, sizeof(*asked));
    MUST(asked);
    *done = false;
    asked->done = done;
    asked->lookup.done.deliver = on_done;
    asked->lookup.reply_to = loop;
    asked->lookup.kind = kind;
    snprintf(asked->lookup.host, sizeof(asked->lookup.host), "%s", host);
    snprintf(asked->lookup.service, sizeof(asked->lookup.service), "%s", service);
    return &asked->lookup;
}

struct bench {
    struct loop *loop;
    struct resolver *resolver;
};

static void bench_init(struct bench *bench, unsigned n_threads, size_t n_queue)
{
    bench->loop = fixture_loop();
    MUST(resolver_new(&bench->resolver, n_threads, n_queue) == 0);
}

static void bench_deinit(struct bench *bench)
{
    resolver_stop(bench->resolver);
    CHECK(resolver_free(&bench->resolver, 10000));
    CHECK(!bench->resolver);
    fixture_loop_free(bench->loop);
}

/* The caller frees the lookup. */
static struct lookup *run(struct bench *bench, struct lookup *lookup)
{
    struct lookup *moved = lookup;
    const bool *done = container_of(lookup, struct asked, lookup)->done;
    CHECK_INT(resolver_post(bench->resolver, &moved), 0);
    CHECK(!moved);
    fixture_pump(bench->loop, done);
    return lookup;
}

static void check_gai(struct bench *bench, const char *host, const char *service, int gai)
{
    bool done;
    struct lookup *lookup =
        run(bench, new_lookup(bench->loop, LOOKUP_ADDRESSES, host, service, &done));
    if (lookup->gai != gai)
        fprintf(stderr, "host \"%.20s\", service \"%s\"\n", host, service);
    CHECK_INT(lookup->gai, gai);
    CHECK_INT(lookup->n_addresses > 0, gai == 0);
    lookup_free(lookup);
}

TEST(resolver, literals_and_localhost)
{
    struct bench bench;
    bool done;
    char text[ADDRESS_TEXT_MAX];
    bench_init(&bench, 2, 10);
    struct lookup *lookup =
        run(&bench, new_lookup(bench.loop, LOOKUP_ADDRESSES, "192.0.2.7", "8443", &done));
    CHECK_INT(lookup->gai, 0);
    CHECK_INT(lookup->n_addresses, 1);
    CHECK_STRING(address_text(&lookup->addresses[0], text, sizeof(text)), "192.0.2.7");
    CHECK_INT(address_port(&lookup->addresses[0]), 8443);
    lookup_free(lookup);
    lookup = run(&bench, new_lookup(bench.loop, LOOKUP_ADDRESSES, "localhost", "1", &done));
    CHECK_INT(lookup->gai, 0);
    for (size_t i = 0; i < lookup->n_addresses; i++)
        for (size_t k = 0; k < i; k++)
            CHECK(!address_equal(&lookup->addresses[i], &lookup->addresses[k]));
    lookup_free(lookup);
    lookup = new_lookup(bench.loop, LOOKUP_ADDRESSES, "localhost", "", &done);
    lookup->family = AF_INET;
    run(&bench, lookup);
    CHECK_INT(lookup->gai, 0);
    CHECK_STRING(address_text(&lookup->addresses[0], text, sizeof(text)), "127.0.0.1");
    CHECK_INT(address_port(&lookup->addresses[0]), 0);
    lookup_free(lookup);
    bench_deinit(&bench);
}

TEST(resolver, services_and_bad_names)
{
    struct bench bench;
    char long_name[255];
    bench_init(&bench, 1, 10);
    memset(long_name, 'a', 254);
    long_name[254] = '\0';
    check_gai(&bench, "127.0.0.1", "0", 0);
    check_gai(&bench, "127.0.0.1", "65535", 0);
    check_gai(&bench, "127.0.0.1", "65536", EAI_SERVICE);
    check_gai(&bench, "127.0.0.1", "99999999999999999999999", EAI_SERVICE);
    check_gai(&bench, "127.0.0.1", "-1", EAI_SERVICE);
    check_gai(&bench, "127.0.0.1", "+80", EAI_SERVICE);
    check_gai(&bench, "127.0.0.1", " 80", EAI_SERVICE);
    check_gai(&bench, "127.0.0.1", "no-such-service", EAI_SERVICE);
    check_gai(&bench, "", "80", EAI_NONAME);
    check_gai(&bench, ".", "80", EAI_NONAME);
    check_gai(&bench, ".localhost", "80", EAI_NONAME);
    check_gai(&bench, long_name, "80", EAI_NONAME);
    bench_deinit(&bench);
}

TEST(resolver, own_name)
{
    struct bench bench;
    bool done;
    char name[256];
    bench_init(&bench, 1, 10);
    struct lookup *lookup = run(&bench, new_lookup(bench.loop, LOOKUP_SELF, "", "", &done));
    MUST(gethostname(name, sizeof(name)) == 0);
    CHECK_STRING(lookup->name, name);
    lookup_free(lookup);
    lookup = new_lookup(bench.loop, LOOKUP_NAME, "", "", &done);
    CHECK_INT(address_parse(&lookup->address, "127.0.0.1", 0), 0);
    run(&bench, lookup);
    CHECK_INT(lookup->gai == 0, *lookup->name != '\0');
    lookup_free(lookup);
    bench_deinit(&bench);
}

/* Many look-ups from one thread: each comes back once; the queue is bounded; abandoned ones make
 * room; those that still wait at the end come back with EAI_AGAIN. */
TEST(resolver, queue)
{
    enum { N = 300 };
    static bool done[N];
    static struct lookup *lookups[N];
    struct bench bench;
    int n_full = 0, n_posted = 0, n_done = 0, n_again = 0;

    bench_init(&bench, 1, 8);
    for (int i = 0; i < N; i++) {
        lookups[i] = new_lookup(bench.loop, LOOKUP_ADDRESSES, "127.0.0.1", "1", &done[i]);
        container_of(lookups[i], struct asked, lookup)->n_done = &n_done;
        struct lookup *moved = lookups[i];
        int r = resolver_post(bench.resolver, &moved);
        if (r == RESOLVER_E_FULL) {
            CHECK(moved == lookups[i]); /* it is still ours */
            lookup_free(lookups[i]);
            lookups[i] = NULL;
            n_full++;
            continue;
        }
        CHECK_INT(r, 0);
        n_posted++;
        if (i % 2)
            lookup_abandon(lookups[i]);
    }
    resolver_stop(bench.resolver);
    struct lookup *late = new_lookup(bench.loop, LOOKUP_ADDRESSES, "127.0.0.1", "1", &done[0]);
    struct lookup *moved = late;
    CHECK_INT(resolver_post(bench.resolver, &moved), RESOLVER_E_STOPPED);
    CHECK(moved == late);
    lookup_free(late);
    for (int i = 0; i < N; i++)
        if (lookups[i]) {
            fixture_pump(bench.loop, &done[i]);
            CHECK(lookups[i]->gai == 0 || lookups[i]->gai == EAI_AGAIN);
            n_again += lookups[i]->gai == EAI_AGAIN;
            lookup_free(lookups[i]);
        }
    CHECK_INT(n_done, n_posted);
    CHECK_INT(n_posted + n_full, N);
    CHECK(n_again > 0); /* at least abandoned ones */
    CHECK(resolver_free(&bench.resolver, 10000));
    fixture_loop_free(bench.loop);
}

/* A queue without room refuses. */
TEST(resolver, no_queue)
{
    struct bench bench;
    bool done;
    bench_init(&bench, 1, 0);
    struct lookup *lookup = new_lookup(bench.loop, LOOKUP_ADDRESSES, "127.0.0.1", "1", &done);
    struct lookup *moved = lookup;
    CHECK_INT(resolver_post(bench.resolver, &moved), RESOLVER_E_FULL);
    lookup_free(lookup);
    bench_deinit(&bench);
}
