/* watchdog: alive only when every loop has answered. */
#include "app/watchdog.h"
#include "support/test.h"

struct bench {
    struct watchdog watchdog;
    struct loop *control, *others[3];
    unsigned n_alive;
};

static void on_alive(void *context)
{
    struct bench *bench = context;
    if (++bench->n_alive == 3) {
        watchdog_stop(&bench->watchdog);
        loop_stop(bench->control);
    }
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
    bench.watchdog.context = &bench;
    CHECK_INT(watchdog_start(&bench.watchdog, bench.control, bench.others, 3, 20000), 0);
    loop_run(bench.control);
    CHECK_INT(bench.n_alive, 3);
    for (size_t i = 0; i < 3; i++) {
        loop_stop(bench.others[i]);
        loop_join(bench.others[i]);
        loop_free(bench.others[i]);
    }
    loop_free(bench.control);
}

static void give_up(struct timer *timer)
{
    struct loop *control = *(struct loop **)(timer + 1);
    loop_stop(control);
}

/* A loop that does not run never answers: no sign of life. */
TEST(watchdog, silent_when_one_hangs)
{
    struct bench bench = {.n_alive = 0};
    struct {
        struct timer timer;
        struct loop *control;
    } end = {0};

    CHECK_INT(loop_new(&bench.control, "control", 0), 0);
    CHECK_INT(loop_new(&bench.others[0], "hangs", 0), 0);
    bench.watchdog.on_alive = on_alive;
    bench.watchdog.on_idle = on_idle;
    bench.watchdog.context = &bench;
    end.control = bench.control;
    CHECK_INT(watchdog_start(&bench.watchdog, bench.control, bench.others, 1, 8000), 0);
    CHECK_INT(timers_start(&bench.control->timers, &end.timer, 50, give_up), 0);
    loop_run(bench.control);
    CHECK_INT(bench.n_alive, 0);
    CHECK(bench.watchdog.under_way);
    watchdog_stop(&bench.watchdog);
    loop_free(bench.others[0]); /* the ping goes on to control now */
    loop_free(bench.control);
}
