#include <netdb.h>
#include <unistd.h>

#include "resolver_fixture.h"
#include "support/test.h"

/* ---- the system's resolver ---- */

static const struct resolver_settings real = {.n_threads = 2, .n_queue_max = 10};

TEST(resolver, literals_and_localhost)
{
    struct bench bench;
    char text[ADDRESS_TEXT_MAX];

    bench_init(&bench, &real);
    struct asked *asked = bench_wait(&bench, bench_ask(&bench, "192.0.2.7", "8443"));
    struct lookup *lookup = &asked->lookup;
    CHECK_INT(lookup->gai, 0);
    CHECK_INT(lookup->source, LOOKUP_GIVEN);
    CHECK_INT(lookup->n_addresses, 1);
    CHECK_STRING(address_text(&lookup->addresses[0], text, sizeof(text)), "192.0.2.7");
    CHECK_INT(address_port(&lookup->addresses[0]), 8443);
    asked_drop(asked);
    asked = bench_wait(&bench, bench_ask(&bench, "localhost", "1"));
    lookup = &asked->lookup;
    CHECK_INT(lookup->gai, 0);
    CHECK_INT(lookup->source, LOOKUP_ASKED);
    for (size_t i = 0; i < lookup->n_addresses; i++)
        for (size_t k = 0; k < i; k++)
            CHECK(!address_equal(&lookup->addresses[i], &lookup->addresses[k]));
    asked_drop(asked);
    asked = asked_new(&bench, LOOKUP_ADDRESSES, "LocalHost", "");
    asked->lookup.family = AF_INET;
    lookup = &bench_wait(&bench, bench_post(&bench, asked))->lookup;
    CHECK_INT(lookup->gai, 0);
    CHECK_STRING(address_text(&lookup->addresses[0], text, sizeof(text)), "127.0.0.1");
    CHECK_INT(address_port(&lookup->addresses[0]), 0);
    CHECK_STRING(lookup->host, "LocalHost"); /* as it was asked */
    asked_drop(asked);
    asked = bench_wait(&bench, bench_ask_family(&bench, "192.0.2.7", AF_INET6));
    CHECK_INT(asked->lookup.gai, EAI_ADDRFAMILY);
    asked_drop(asked);
    bench_deinit(&bench);
}

TEST(resolver, services_and_bad_names)
{
    struct bench bench;
    char long_name[255];

    bench_init(&bench, &real);
    memset(long_name, 'a', 254);
    long_name[254] = '\0';
    bench_check_gai(&bench, "127.0.0.1", "0", 0);
    bench_check_gai(&bench, "127.0.0.1", "65535", 0);
    bench_check_gai(&bench, "127.0.0.1", "65536", EAI_SERVICE);
    bench_check_gai(&bench, "127.0.0.1", "99999999999999999999999", EAI_SERVICE);
    bench_check_gai(&bench, "127.0.0.1", "-1", EAI_SERVICE);
    bench_check_gai(&bench, "127.0.0.1", "+80", EAI_SERVICE);
    bench_check_gai(&bench, "127.0.0.1", " 80", EAI_SERVICE);
    bench_check_gai(&bench, "127.0.0.1", "no-such-service", EAI_SERVICE);
    bench_check_gai(&bench, "localhost", "no-such-service", EAI_SERVICE);
    bench_check_gai(&bench, "", "80", EAI_NONAME);
    bench_check_gai(&bench, ".", "80", EAI_NONAME);
    bench_check_gai(&bench, ".localhost", "80", EAI_NONAME);
    bench_check_gai(&bench, long_name, "80", EAI_NONAME);
    bench_check_gai(&bench, "\xff.example", "80", EAI_IDN_ENCODE);
    bench_check_gai(&bench, "127.1", "80", 0); /* as inet_aton(3) has it */
    bench_deinit(&bench);
}

TEST(resolver, own_name)
{
    struct bench bench;
    char name[256];

    bench_init(&bench, &real);
    struct asked *asked =
        bench_wait(&bench, bench_post(&bench, asked_new(&bench, LOOKUP_SELF, "", "")));
    MUST(gethostname(name, sizeof(name)) == 0);
    CHECK_STRING(asked->lookup.name, name);
    asked_drop(asked);
    asked = asked_new(&bench, LOOKUP_NAME, "", "");
    CHECK_INT(address_parse(&asked->lookup.address, "127.0.0.1", 0), 0);
    bench_wait(&bench, bench_post(&bench, asked));
    CHECK_INT(asked->lookup.gai == 0, *asked->lookup.name != '\0');
    asked_drop(asked);
    bench_deinit(&bench);
}

/* ---- sharing ---- */

TEST(resolver, one_question_for_all_who_ask)
{
    static const char *const spellings[] = {"hang.BÜCHER.example", "HANG.bücher.example",
                                            "hang.xn--bcher-kva.EXAMPLE"};
    enum { N = 60 };
    struct asked *asked[N];
    struct bench bench;
    char port[8];

    bench_init_stub(&bench, (struct resolver_settings){.cache_ms = 0});
    for (int i = 0; i < N; i++) {
        snprintf(port, sizeof(port), "%d", 1000 + i);
        asked[i] = bench_ask(&bench, spellings[i % 3], port);
    }
    stub_wait_hanging(1);
    stub_let_go();
    for (int i = 0; i < N; i++) {
        struct lookup *lookup = &bench_wait(&bench, asked[i])->lookup;
        CHECK_INT(lookup->gai, 0);
        CHECK_INT(lookup->n_addresses, 2);
        CHECK_INT(lookup->source, i == 0 ? LOOKUP_ASKED : LOOKUP_SHARED);
        for (size_t k = 0; k < 2; k++) /* the port is each one's own */
            CHECK_INT(address_port(&lookup->addresses[k]), 1000 + i);
        asked_drop(asked[i]);
    }
    CHECK_INT(stub_n_asked(), 1);
    CHECK_STRING(stub.last, "hang.xn--bcher-kva.example"); /* what goes on the wire */
    bench_deinit(&bench);
}

TEST(resolver, families_are_questions_of_their_own)
{
    static const int families[] = {AF_UNSPEC, AF_INET, AF_INET6};
    struct bench bench;

    bench_init_stub(&bench, (struct resolver_settings){.cache_ms = LONG_MS, .n_cache_max = 10});
    for (int i = 0; i < 6; i++) {
        struct asked *asked = bench_wait(&bench, bench_ask_family(&bench, "name", families[i % 3]));
        CHECK_INT(asked->lookup.n_addresses, i % 3 ? 1 : 2);
        CHECK_INT(asked->lookup.source, i < 3 ? LOOKUP_ASKED : LOOKUP_CACHED);
        asked_drop(asked);
    }
    CHECK_INT(stub_n_asked(), 3);
    bench_deinit(&bench);
}

/* The name of a service is asked for once, and before the host's. */
TEST(resolver, services_are_shared)
{
    struct bench bench;

    bench_init_stub(&bench, (struct resolver_settings){.cache_ms = LONG_MS,
                                                       .negative_cache_ms = LONG_MS,
                                                       .n_cache_max = 10});
    static const struct {
        const char *host, *service;
        int gai, port, n_asked;
        enum lookup_source source;
    } rows[] = {
        {"one", "https", 0, 77, 2, LOOKUP_ASKED},
        {"two", "https", 0, 77, 3, LOOKUP_ASKED},
        {"two", "https", 0, 77, 3, LOOKUP_CACHED},
        {"two", "81", 0, 81, 3, LOOKUP_CACHED},
        {"192.0.2.9", "https", 0, 77, 3, LOOKUP_CACHED},
        {"three", "bad", EAI_SERVICE, 0, 4, LOOKUP_ASKED},
        {"four", "bad", EAI_SERVICE, 0, 4, LOOKUP_CACHED},
        {"bad.example", "https", EAI_NONAME, 0, 5, LOOKUP_ASKED},
        {"bad.example", "99", EAI_NONAME, 0, 5, LOOKUP_CACHED},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct asked *asked = bench_wait(&bench, bench_ask(&bench, rows[i].host, rows[i].service));
        CHECK_INT(asked->lookup.gai, rows[i].gai);
        CHECK_INT(asked->lookup.source, rows[i].source);
        CHECK_INT(stub_n_asked(), rows[i].n_asked);
        if (rows[i].port)
            CHECK_INT(address_port(&asked->lookup.addresses[0]), rows[i].port);
        asked_drop(asked);
    }
    bench_deinit(&bench);
}

TEST(resolver, names_of_addresses_are_shared)
{
    struct bench bench;

    bench_init_stub(&bench, (struct resolver_settings){.cache_ms = LONG_MS, .n_cache_max = 10});
    for (int i = 0; i < 3; i++) {
        struct asked *asked = asked_new(&bench, LOOKUP_NAME, "", "");
        CHECK_INT(address_parse(&asked->lookup.address, "2001:DB8::5", 0), 0);
        bench_wait(&bench, bench_post(&bench, asked));
        CHECK_STRING(asked->lookup.name, "stub.example");
        asked_drop(asked);
    }
    CHECK_INT(stub_n_asked(), 1);
    CHECK_STRING(stub.last, "2001:db8::5");
    bench_deinit(&bench);
}

/* ---- what is kept ---- */

TEST(resolver, kept_or_not)
{
    struct bench bench;

    bench_init_stub(&bench, (struct resolver_settings){.cache_ms = LONG_MS,
                                                       .negative_cache_ms = LONG_MS,
                                                       .n_cache_max = 10});
    for (int i = 0; i < 5; i++) {
        bench_check_gai(&bench, "good", "1", 0);
        bench_check_gai(&bench, "bad", "1", EAI_NONAME);
        bench_check_gai(&bench, "again", "1", EAI_AGAIN);
    }
    CHECK_INT(stub_n_asked(), 1 + 1 + 5);
    bench_deinit(&bench);
}

/* Real time once, so that settings in milliseconds are what they say. */
TEST(resolver, kept_for_a_while)
{
    struct bench bench;
    struct asked *asked;

    bench_init_stub(&bench, (struct resolver_settings){.cache_ms = 30, .n_cache_max = 10});
    int64_t started_us = loop_clock_us();
    bench_check_gai(&bench, "good", "1", 0);
    bool asked_again = false;
    while (!asked_again) {
        asked = bench_wait(&bench, bench_ask(&bench, "good", "1"));
        asked_again = asked->lookup.source == LOOKUP_ASKED;
        CHECK_INT(asked->lookup.source == LOOKUP_CACHED, !asked_again);
        asked_drop(asked);
        CHECK(loop_clock_us() - started_us < 20000000);
    }
    CHECK(loop_clock_us() - started_us >= 30000);
    CHECK_INT(stub_n_asked(), 2);
    bench_deinit(&bench);
}
