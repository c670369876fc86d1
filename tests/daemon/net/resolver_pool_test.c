/* Giving up, threads that hang, the end: what the resolver does while nobody answers. */
#include <netdb.h>

#include "resolver_fixture.h"
#include "support/test.h"

/* ---- giving up ---- */

TEST(resolver, abandoned_ones_are_back_at_once)
{
    enum { N = 500 };
    static struct asked *asked[N];
    struct bench bench;

    bench_init_stub(&bench, (struct resolver_settings){.cache_ms = LONG_MS, .n_cache_max = 10});
    for (int i = 0; i < N; i++)
        asked[i] = bench_ask(&bench, "hang", "1");
    struct asked *other = bench_ask(&bench, "hang", "1");
    stub_wait_hanging(1);
    for (int i = 0; i < N; i++) {
        lookup_abandon(&asked[i]->lookup);
        lookup_abandon(&asked[i]->lookup); /* it is on its way: nothing happens */
    }
    for (int i = 0; i < N; i++) {
        CHECK_INT(bench_wait(&bench, asked[i])->lookup.gai, EAI_AGAIN);
        asked_drop(asked[i]);
    }
    CHECK(!other->done);
    lookup_abandon(&other->lookup);
    asked_drop(bench_wait(&bench, other));
    /* nobody waits any more: it goes on, and is good for those who come later */
    stub_wait_hanging(1);
    struct asked *late = bench_ask(&bench, "hang", "1");
    stub_let_go();
    CHECK_INT(bench_wait(&bench, late)->lookup.gai, 0);
    CHECK(late->lookup.source != LOOKUP_ASKED);
    CHECK_INT(stub_n_asked(), 1);
    asked_drop(late);
    bench_deinit(&bench);
}

/* What has not begun is not begun any more, and makes room. */
TEST(resolver, abandoned_in_the_queue)
{
    struct bench bench;

    bench_init_stub(
        &bench, (struct resolver_settings){.n_threads = 1, .n_threads_max = 1, .n_queue_max = 1});
    struct asked *first = bench_ask(&bench, "hang-1", "1");
    stub_wait_hanging(1);
    struct asked *second = bench_ask(&bench, "hang-2", "1");
    struct asked *third = asked_new(&bench, LOOKUP_ADDRESSES, "hang-3", "1");
    struct lookup *moved = &third->lookup;
    CHECK_INT(resolver_post(bench.resolver, &moved), RESOLVER_E_FULL);
    CHECK(moved == &third->lookup);                        /* it is still ours */
    struct asked *same = bench_ask(&bench, "hang-2", "1"); /* needs no room */
    lookup_abandon(&second->lookup);
    asked_drop(bench_wait(&bench, second));
    CHECK_INT(resolver_post(bench.resolver, &moved), RESOLVER_E_FULL);
    lookup_abandon(&same->lookup);
    asked_drop(bench_wait(&bench, same));
    bench_post(&bench, third);
    stub_let_go();
    asked_drop(bench_wait(&bench, first));
    asked_drop(bench_wait(&bench, third));
    CHECK_INT(stub_n_asked(), 2);
    bench_deinit(&bench);
}

TEST(resolver, no_queue)
{
    struct resolver_settings settings = {.n_threads = 1, .n_queue_max = 0};
    struct bench bench;

    bench_init(&bench, &settings);
    struct asked *asked = asked_new(&bench, LOOKUP_ADDRESSES, "localhost", "1");
    struct lookup *moved = &asked->lookup;
    CHECK_INT(resolver_post(bench.resolver, &moved), RESOLVER_E_FULL);
    asked_drop(asked);
    bench_check_gai(&bench, "127.0.0.1", "1", 0); /* needs no queue */
    bench_deinit(&bench);
}

/* ---- threads ---- */

/* 100 names hang, asked for in three families each; one that answers is not held up, and the
 * threads are what they were when all is over. */
TEST(resolver, names_that_hang_do_not_hold_up_others)
{
    enum { N = 100 };
    static const int families[] = {AF_UNSPEC, AF_INET, AF_INET6};
    static struct asked *asked[N * 3];
    struct bench bench;
    char name[32];

    bench_init_stub(
        &bench, (struct resolver_settings){.n_threads = 16, .n_threads_max = 256, .slow_ms = 5});
    for (int i = 0; i < N; i++) {
        snprintf(name, sizeof(name), "hang-%d", i);
        asked[i] = bench_ask_family(&bench, name, families[0]);
    }
    struct asked *good = bench_wait(&bench, bench_ask(&bench, "good", "1"));
    CHECK_INT(good->lookup.gai, 0);
    asked_drop(good);
    stub_wait_hanging(N);
    for (int i = N; i < N * 3; i++) {
        snprintf(name, sizeof(name), "hang-%d", i % N);
        asked[i] = bench_ask_family(&bench, name, families[i / N]);
    }
    for (int i = 0; i < 50; i++) {
        snprintf(name, sizeof(name), "good-%d", i);
        bench_check_gai(&bench, name, "1", 0);
    }
    stub_let_go();
    for (int i = 0; i < N * 3; i++) {
        CHECK_INT(bench_wait(&bench, asked[i])->lookup.gai, 0);
        asked_drop(asked[i]);
    }
    CHECK(stub.n_most >= N);
    CHECK(stub.n_most < 256);
    bench_deinit(&bench);
}

TEST(resolver, threads_are_bounded)
{
    enum { N = 40 };
    static struct asked *asked[N];
    struct bench bench;
    char name[32];

    bench_init_stub(&bench,
                    (struct resolver_settings){.n_threads = 2, .n_threads_max = 7, .slow_ms = 1});
    for (int i = 0; i < N; i++) {
        snprintf(name, sizeof(name), "hang-%d", i);
        asked[i] = bench_ask(&bench, name, "1");
    }
    stub_wait_hanging(7);
    stub_let_go();
    for (int i = 0; i < N; i++) {
        CHECK_INT(bench_wait(&bench, asked[i])->lookup.gai, 0);
        asked_drop(asked[i]);
    }
    CHECK_INT(stub.n_most, 7);
    bench_deinit(&bench);
}

/* Many at once from one thread, short slow times, so that threads come and go all the time. */
TEST(resolver, storm)
{
    enum { N = 3000 };
    static struct asked *asked[N];
    struct bench bench;
    char name[32];

    bench_init_stub(&bench, (struct resolver_settings){.n_threads = 2,
                                                       .n_threads_max = 32,
                                                       .n_queue_max = N,
                                                       .cache_ms = 1,
                                                       .negative_cache_ms = 1,
                                                       .n_cache_max = 20,
                                                       .slow_ms = 1});
    for (int i = 0; i < N; i++) {
        snprintf(name, sizeof(name), "%s-%d", i % 7 ? "good" : "hang", i % 150);
        asked[i] = bench_ask(&bench, name, i % 5 ? "1" : "service");
        if (i % 3 == 0)
            lookup_abandon(&asked[i]->lookup);
        if (i == N / 2)
            stub_let_go();
        if (i % 10 == 0)
            fixture_spin(bench.loop);
    }
    for (int i = 0; i < N; i++) {
        int gai = bench_wait(&bench, asked[i])->lookup.gai;
        CHECK(gai == 0 || (i % 3 == 0 && gai == EAI_AGAIN));
        asked_drop(asked[i]);
    }
    bench_deinit(&bench);
}

/* ---- the end ---- */

TEST(resolver, stop_gives_all_back)
{
    enum { N = 30 };
    struct asked *asked[N];
    struct bench bench;
    char name[32];

    bench_init_stub(&bench, (struct resolver_settings){.n_threads = 2, .n_threads_max = 4});
    for (int i = 0; i < N; i++) {
        snprintf(name, sizeof(name), "hang-%d", i / 3);
        asked[i] = bench_ask(&bench, name, "1");
    }
    stub_wait_hanging(4);
    resolver_stop(bench.resolver);
    for (int i = 0; i < N; i++) { /* also those whose thread hangs */
        CHECK_INT(bench_wait(&bench, asked[i])->lookup.gai, EAI_AGAIN);
        asked_drop(asked[i]);
    }
    struct asked *late = asked_new(&bench, LOOKUP_ADDRESSES, "127.0.0.1", "1");
    struct lookup *moved = &late->lookup;
    CHECK_INT(resolver_post(bench.resolver, &moved), RESOLVER_E_STOPPED);
    CHECK(moved == &late->lookup);
    asked_drop(late);
    stub_let_go();
    CHECK(resolver_free(&bench.resolver, 10000));
    fixture_loop_free(bench.loop);
}

/* A thread that hangs is left behind, and touches nobody's loop afterwards. */
TEST(resolver, left_behind)
{
    struct bench bench;

    bench_init_stub(&bench, (struct resolver_settings){.n_threads = 1});
    struct resolver *behind = bench.resolver;
    struct asked *asked = bench_ask(&bench, "hang", "1");
    stub_wait_hanging(1);
    resolver_stop(bench.resolver);
    CHECK(!resolver_free(&bench.resolver, 20));
    CHECK(!bench.resolver);
    asked_drop(bench_wait(&bench, asked));
    fixture_loop_free(bench.loop);
    stub_let_go();
    CHECK(resolver_free(&behind, 10000)); /* for the leak checkers; a process would end */
}

/* ---- a sign of life ---- */

struct visit {
    struct mail mail;
    struct loop *loop;
    pthread_t where;
    int n;
};

static void on_visit_back(struct mail *mail)
{
    container_of(mail, struct visit, mail)->n++;
}

static void on_visit(struct mail *mail)
{
    struct visit *visit = container_of(mail, struct visit, mail);

    visit->where = pthread_self();
    mail->deliver = on_visit_back;
    loop_post(visit->loop, mail);
}

/* However many look-ups hang: the thread that watches over them is not one of those. */
TEST(resolver, is_visited_while_all_hang)
{
    struct bench bench;
    struct visit visit = {.mail = {.deliver = on_visit}};

    bench_init_stub(&bench, (struct resolver_settings){.n_threads = 2, .n_threads_max = 2});
    struct asked *one = bench_ask(&bench, "hang-1", "1");
    struct asked *two = bench_ask(&bench, "hang-2", "1");
    stub_wait_hanging(2);
    visit.loop = bench.loop;
    for (int i = 1; i <= 3; i++) {
        visit.mail.deliver = on_visit;
        resolver_visit(bench.resolver, &visit.mail);
        while (visit.n < i)
            (void)uv_run(&bench.loop->uv, UV_RUN_ONCE);
        CHECK(!pthread_equal(visit.where, pthread_self()));
    }
    stub_let_go();
    asked_drop(bench_wait(&bench, one));
    asked_drop(bench_wait(&bench, two));
    resolver_stop(bench.resolver);
    visit.mail.deliver = on_visit_back;
    resolver_visit(bench.resolver, &visit.mail);
    CHECK_INT(visit.n, 4);
    bench_deinit(&bench);
}
