#include "app/watchdog.h"

static void on_timer(struct timer *timer);

static void arm(struct watchdog *watchdog)
{
    /* its place in the heap is kept since watchdog_start(), so this cannot fail */
    int r =
        timers_start(&watchdog->control->timers, &watchdog->timer, watchdog->interval_ms, on_timer);
    ASSERT(r == 0);
}

/* Runs on each loop in turn, at last on the control loop. */
static void on_ping(struct mail *mail)
{
    struct watchdog *watchdog = container_of(mail, struct watchdog, ping);

    if (watchdog->at < watchdog->n_loops) {
        loop_post(watchdog->loops[watchdog->at++], mail);
        return;
    }
    if (watchdog->at++ == watchdog->n_loops) {
        loop_post(watchdog->control, mail);
        return;
    }
    ASSERT_OWNER(watchdog->control);
    watchdog->under_way = false;
    if (watchdog->stopped)
        watchdog->on_idle(watchdog->context);
    else
        watchdog->on_alive(watchdog->context);
}

static void on_timer(struct timer *timer)
{
    struct watchdog *watchdog = container_of(timer, struct watchdog, timer);

    arm(watchdog);
    if (watchdog->under_way)
        return; /* somebody has not answered yet */
    watchdog->under_way = true;
    watchdog->at = 0;
    on_ping(&watchdog->ping);
}

int watchdog_start(struct watchdog *watchdog, struct loop *control, struct loop **loops,
                   size_t n_loops, uint64_t interval_us)
{
    watchdog->control = control;
    watchdog->loops = loops;
    watchdog->n_loops = n_loops;
    watchdog->ping.deliver = on_ping;
    if (interval_us == 0)
        return 0;
    /* twice per interval at least, and the answer must come within half of it */
    watchdog->interval_ms = interval_us / 1000 / 4 > 0 ? interval_us / 1000 / 4 : 1;
    return timers_start(&control->timers, &watchdog->timer, watchdog->interval_ms, on_timer);
}

void watchdog_stop(struct watchdog *watchdog)
{
    if (watchdog->control)
        timers_stop(&watchdog->control->timers, &watchdog->timer);
    watchdog->stopped = true;
}
