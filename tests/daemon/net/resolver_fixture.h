#pragma once
/*
 * resolver_fixture: what the tests of the resolver share: look-ups that tell when they are back,
 * and somebody to ask who hangs on demand.
 *
 * Threads: the test's; stub_*() any.
 */
#include "net/resolver.h"
#include "net_fixture.h"

/* Longer than any test takes. */
enum { LONG_MS = 1000 * 1000 };

/* ---- who asks ---- */

struct asked {
    struct lookup lookup; /* first: freed through it */
    bool done;
    int n_done;
};

struct bench {
    struct loop *loop;
    struct resolver *resolver;
};

void bench_init(struct bench *bench, const struct resolver_settings *settings);
/* The stub below is asked; two threads and a long queue unless told otherwise. */
void bench_init_stub(struct bench *bench, struct resolver_settings settings);
void bench_deinit(struct bench *bench);

struct asked *asked_new(struct bench *bench, enum lookup_kind kind, const char *host,
                        const char *service);
void asked_drop(struct asked *asked);
struct asked *bench_post(struct bench *bench, struct asked *asked);
struct asked *bench_ask(struct bench *bench, const char *host, const char *service);
struct asked *bench_ask_family(struct bench *bench, const char *host, int family);
/* Until it is back. */
struct asked *bench_wait(struct bench *bench, struct asked *asked);
/* Ask, wait, compare. */
void bench_check_gai(struct bench *bench, const char *host, const char *service, int gai);

/* ---- who is asked: hang* waits for stub_let_go(), bad* does not exist, again* fails; all others
 * are 192.0.2.1 and 2001:db8::1, or one of them, and services have port 77 ---- */

struct resolver_stub {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    bool released;
    int n_asked, n_hanging, n_most;
    char last[256];
};
extern struct resolver_stub stub;

void stub_let_go(void);
/* Until so many hang at once; ends the process after 20 s. */
void stub_wait_hanging(int n);
int stub_n_asked(void);
