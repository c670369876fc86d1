#include "app/watchdog.h"

#include "net/resolver.h"

enum { TICKS_PER_INTERVAL = 4, TICKS_TO_ANSWER = TICKS_PER_INTERVAL / 2 };

static void on_timer(struct timer *timer);

static void arm(struct watchdog *watchdog)
{
    /* its place in the heap is kept since watchdog_start(), so this cannot fail */
    int r = timers_start(&watchdog->control->timers, &watchdog->timer, watchdog->tick_ms, on_timer);
    ASSERT(r == 0);
}

static void send_to(struct watchdog *watchdog, size_t at)
{
    atomic_store(&watchdog->at, at);
    if (at < watchdog->n_loops)
        loop_post(watchdog->loops[at], &watchdog->ping);
    else if (at == watchdog->n_loops && watchdog->resolver)
        resolver_visit(watchdog->resolver, &watchdog->ping);
    else
        loop_post(watchdog->control, &watchdog->ping);
}

static const char *thread_name(const struct watchdog *watchdog)
{
    size_t at = atomic_load(&watchdog->at);

    if (at < watchdog->n_loops)
        return watchdog->loops[at]->name;
    return at == watchdog->n_loops && watchdog->resolver ? "resolver" : watchdog->control->name;
}

static void on_back(struct mail *mail)
{
    struct watchdog *watchdog = container_of(mail, struct watchdog, ping);

    ASSERT_OWNER(watchdog->control);
    watchdog->under_way = false;
    if (watchdog->stopped)
        watchdog->on_idle(watchdog->context);
    else if (watchdog->n_ticks < TICKS_TO_ANSWER)
        watchdog->on_alive(watchdog->context);
}

/* On each thread in turn. */
static void on_ping(struct mail *mail)
{
    struct watchdog *watchdog = container_of(mail, struct watchdog, ping);
    size_t at = atomic_load(&watchdog->at) + 1;

    if (at > watchdog->n_loops || (at == watchdog->n_loops && !watchdog->resolver))
        watchdog->ping.deliver = on_back;
    send_to(watchdog, at);
}

static void on_timer(struct timer *timer)
{
    struct watchdog *watchdog = container_of(timer, struct watchdog, timer);

    arm(watchdog);
    if (watchdog->under_way) {
        if (++watchdog->n_ticks == TICKS_TO_ANSWER)
            watchdog->on_hang(watchdog->context, thread_name(watchdog),
                              watchdog->n_ticks * watchdog->tick_ms);
        return;
    }
    watchdog->under_way = true;
    watchdog->n_ticks = 0;
    watchdog->ping.deliver = on_ping;
    send_to(watchdog, 0);
}

int watchdog_start(struct watchdog *watchdog, struct loop *control, struct loop **loops,
                   size_t n_loops, struct resolver *resolver, uint64_t interval_us)
{
    watchdog->control = control;
    watchdog->loops = loops;
    watchdog->n_loops = n_loops;
    watchdog->resolver = resolver;
    if (interval_us == 0)
        return 0;
    watchdog->tick_ms = interval_us / 1000 / TICKS_PER_INTERVAL;
    if (watchdog->tick_ms == 0)
        watchdog->tick_ms = 1;
    return timers_start(&control->timers, &watchdog->timer, watchdog->tick_ms, on_timer);
}

void watchdog_stop(struct watchdog *watchdog)
{
    if (watchdog->control)
        timers_stop(&watchdog->control->timers, &watchdog->timer);
    watchdog->stopped = true;
}
