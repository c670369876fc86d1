/* watchdog: alive only when every loop has answered. */
#include "app/watchdog.h"
#include "support/test.h"

struct bench {
    struct watchdog watchdog;
    struct loop *control, *others[3];
    unsigned n_alive, n_hangs;
    char who[16];
};

static void on_alive(void *context)
{
    struct bench *bench = context;
    if (++bench->n_alive == 3) {
        watchdog_stop(&bench->watchdog);
        loop_stop(bench->control);
    }
}

static void on_hang(void *context, const char *thread, uint64_t waited_ms)
{
    struct bench *bench = context;

    (void)waited_ms;
    bench->n_hangs++;
    snprintf(bench->who, sizeof(bench->who), "%s", thread);
    loop_stop(bench->control);
}

static void on_idle(void *context)
{
    (void)context;
}

TEST(watchdog, visits_every_loop)
{
    struct bench bench = {.n_alive = 0};

    CHECK_INT(loop_new(&bench.control, "control", 0), 0);
    for (size_t i = 0; i < 3; i++) {
        CHECK_INT(loop_new(&bench.others[i], "other", 0), 0);
        CHECK_INT(loop_start(bench.others[i]), 0);
    }
    bench.watchdog.on_alive = on_alive;
    bench.watchdog.on_idle = on_idle;
    bench.watchdog.on_hang = on_hang;
    bench.watchdog.context = &bench;
    CHECK_INT(watchdog_start(&bench.watchdog, bench.control, bench.others, 3, NULL, 1000000), 0);
    loop_run(bench.control);
    CHECK_INT(bench.n_alive, 3);
    for (size_t i = 0; i < 3; i++) {
        loop_stop(bench.others[i]);
        loop_join(bench.others[i]);
        loop_free(bench.others[i]);
    }
    loop_free(bench.control);
}

/* A loop that does not run never answers: no sign of life, and its name, once. */
TEST(watchdog, names_the_loop_that_hangs)
{
    struct bench bench = {.n_alive = 0};

    CHECK_INT(loop_new(&bench.control, "control", 0), 0);
    CHECK_INT(loop_new(&bench.others[0], "answers", 0), 0);
    CHECK_INT(loop_new(&bench.others[1], "hangs", 0), 0);
    CHECK_INT(loop_start(bench.others[0]), 0);
    bench.watchdog.on_alive = on_alive;
    bench.watchdog.on_idle = on_idle;
    bench.watchdog.on_hang = on_hang;
    bench.watchdog.context = &bench;
    CHECK_INT(watchdog_start(&bench.watchdog, bench.control, bench.others, 2, NULL, 40000), 0);
    loop_run(bench.control); /* until on_hang() */
    CHECK_INT(bench.n_alive, 0);
    CHECK_INT(bench.n_hangs, 1);
    CHECK_STRING(bench.who, "hangs");
    CHECK(bench.watchdog.under_way);
    watchdog_stop(&bench.watchdog);
    loop_stop(bench.others[0]); /* it may still be in the middle of posting to the other */
    loop_join(bench.others[0]);
    loop_free(bench.others[1]); /* the ping goes on to control now */
    loop_free(bench.others[0]);
    loop_free(bench.control);
    CHECK(!bench.watchdog.under_way);
    CHECK_INT(bench.n_alive, 0);
}

/* An answer that comes after half the interval is none; the next ping's counts again. */
static void wake_up(struct mail *mail)
{
    (void)mail;
}

static void on_hang_then_answer(void *context, const char *thread, uint64_t waited_ms)
{
    struct bench *bench = context;
    int r;

    (void)waited_ms;
    bench->n_hangs++;
    snprintf(bench->who, sizeof(bench->who), "%s", thread);
    CHECK_INT(bench->n_alive, 0);
    r = loop_start(bench->others[0]);
    CHECK_INT(r, 0);
}

TEST(watchdog, late_is_not_alive)
{
    struct bench bench = {.n_alive = 0};
    struct mail mail = {.deliver = wake_up};

    CHECK_INT(loop_new(&bench.control, "control", 0), 0);
    CHECK_INT(loop_new(&bench.others[0], "late", 0), 0);
    bench.watchdog.on_alive = on_alive;
    bench.watchdog.on_idle = on_idle;
    bench.watchdog.on_hang = on_hang_then_answer;
    bench.watchdog.context = &bench;
    loop_post(bench.others[0], &mail);
    CHECK_INT(watchdog_start(&bench.watchdog, bench.control, bench.others, 1, NULL, 1000000), 0);
    loop_run(bench.control);
    CHECK_INT(bench.n_hangs, 1);
    CHECK_STRING(bench.who, "late");
    CHECK_INT(bench.n_alive, 3);
    loop_stop(bench.others[0]);
    loop_join(bench.others[0]);
    loop_free(bench.others[0]);
    loop_free(bench.control);
}
