#include "resolver_fixture.h"

#include <netdb.h>
#include <stdio.h>
#include <time.h>

#include "support/test.h"

/* ---- who asks ---- */

static void on_done(struct mail *mail)
{
    struct asked *asked = container_of(mail, struct asked, lookup.done);
    asked->done = true;
    asked->n_done++;
}

struct asked *asked_new(struct bench *bench, enum lookup_kind kind, const char *host,
                        const char *service)
{
    struct asked *asked = calloc(1, sizeof(*asked));
    MUST(asked);
    asked->lookup.done.deliver = on_done;
    asked->lookup.reply_to = bench->loop;
    asked->lookup.kind = kind;
    snprintf(asked->lookup.host, sizeof(asked->lookup.host), "%s", host);
    snprintf(asked->lookup.service, sizeof(asked->lookup.service), "%s", service);
    return asked;
}

void bench_init(struct bench *bench, const struct resolver_settings *settings)
{
    bench->loop = fixture_loop();
    MUST(resolver_new(&bench->resolver, settings) == 0);
}

void bench_deinit(struct bench *bench)
{
    resolver_stop(bench->resolver);
    CHECK(resolver_free(&bench->resolver, 10000));
    CHECK(!bench->resolver);
    fixture_loop_free(bench->loop);
}

struct asked *bench_post(struct bench *bench, struct asked *asked)
{
    struct lookup *moved = &asked->lookup;
    CHECK_INT(resolver_post(bench->resolver, &moved), 0);
    CHECK(!moved);
    CHECK(!asked->done); /* never inside the call */
    return asked;
}

struct asked *bench_ask(struct bench *bench, const char *host, const char *service)
{
    return bench_post(bench, asked_new(bench, LOOKUP_ADDRESSES, host, service));
}

struct asked *bench_ask_family(struct bench *bench, const char *host, int family)
{
    struct asked *asked = asked_new(bench, LOOKUP_ADDRESSES, host, "1");
    asked->lookup.family = family;
    return bench_post(bench, asked);
}

struct asked *bench_wait(struct bench *bench, struct asked *asked)
{
    fixture_pump(bench->loop, &asked->done);
    CHECK_INT(asked->n_done, 1);
    return asked;
}

void asked_drop(struct asked *asked)
{
    lookup_free(&asked->lookup);
}

void bench_check_gai(struct bench *bench, const char *host, const char *service, int gai)
{
    struct asked *asked = bench_wait(bench, bench_ask(bench, host, service));
    if (asked->lookup.gai != gai)
        fprintf(stderr, "host \"%.20s\", service \"%s\"\n", host, service);
    CHECK_INT(asked->lookup.gai, gai);
    CHECK_INT(asked->lookup.n_addresses > 0, gai == 0);
    asked_drop(asked);
}

/* ---- who is asked ---- */

struct resolver_stub stub = {.mutex = PTHREAD_MUTEX_INITIALIZER,
                             .changed = PTHREAD_COND_INITIALIZER};

static void stub_reset(void)
{
    stub.released = false;
    stub.n_asked = stub.n_hanging = stub.n_most = 0;
    stub.last[0] = '\0';
}

static void hang(void)
{
    stub.n_hanging++;
    stub.n_most = stub.n_hanging > stub.n_most ? stub.n_hanging : stub.n_most;
    pthread_cond_broadcast(&stub.changed);
    while (!stub.released)
        pthread_cond_wait(&stub.changed, &stub.mutex);
    stub.n_hanging--;
    pthread_cond_broadcast(&stub.changed);
}

static void stub_ask(const struct question *question, struct lookup_answer *answer)
{
    pthread_mutex_lock(&stub.mutex);
    stub.n_asked++;
    snprintf(stub.last, sizeof(stub.last), "%s", question->name);
    if (strncmp(question->name, "hang", 4) == 0)
        hang();
    pthread_mutex_unlock(&stub.mutex);
    if (strncmp(question->name, "again", 5) == 0)
        answer->gai = EAI_AGAIN;
    else if (strncmp(question->name, "bad", 3) == 0)
        answer->gai = question->kind == QUESTION_PORT ? EAI_SERVICE : EAI_NONAME;
    if (answer->gai)
        return;
    switch (question->kind) {
    case QUESTION_PORT:
        answer->port = 77;
        break;
    case QUESTION_NAME:
        answer->name = strdup("stub.example");
        break;
    case QUESTION_ADDRESSES:
        answer->addresses = calloc(2, sizeof(*answer->addresses));
        MUST(answer->addresses);
        if (question->family != AF_INET6)
            MUST(address_parse(&answer->addresses[answer->n_addresses++], "192.0.2.1", 0) == 0);
        if (question->family != AF_INET)
            MUST(address_parse(&answer->addresses[answer->n_addresses++], "2001:db8::1", 0) == 0);
        break;
    }
}

void stub_let_go(void)
{
    pthread_mutex_lock(&stub.mutex);
    stub.released = true;
    pthread_cond_broadcast(&stub.changed);
    pthread_mutex_unlock(&stub.mutex);
}

/* Until so many hang at once; ends the process after 20 s. */
void stub_wait_hanging(int n)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 20;
    pthread_mutex_lock(&stub.mutex);
    while (stub.n_hanging != n)
        MUST(pthread_cond_timedwait(&stub.changed, &stub.mutex, &until) == 0);
    pthread_mutex_unlock(&stub.mutex);
}

int stub_n_asked(void)
{
    pthread_mutex_lock(&stub.mutex);
    int n = stub.n_asked;
    pthread_mutex_unlock(&stub.mutex);
    return n;
}

void bench_init_stub(struct bench *bench, struct resolver_settings settings)
{
    stub_reset();
    settings.ask = stub_ask;
    if (!settings.n_threads)
        settings.n_threads = 2;
    if (!settings.n_queue_max)
        settings.n_queue_max = 1000;
    bench_init(bench, &settings);
}
