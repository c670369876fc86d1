#include "loop/loop.h"

#include "support/test.h"

enum { N_TIMERS = 10000 };

struct fixture {
    struct loop *loop;
    struct entry {
        struct timer timer;
        struct fixture *fixture;
        bool wanted; /* the model: it must expire */
        uint64_t at_ms;
        int n_expired;
    } entries[N_TIMERS];
    uint64_t last_at_ms;
    size_t n_wanted;
    unsigned random;
    bool out_of_order, early;
};

static unsigned draw(struct fixture *fixture, unsigned below)
{
    fixture->random = fixture->random * 1103515245u + 12345u;
    return (fixture->random >> 8) % below;
}

static void on_expiry(struct timer *timer);

static void start(struct entry *entry, unsigned delay_ms)
{
    struct fixture *fixture = entry->fixture;
    fixture->n_wanted += !entry->wanted;
    entry->wanted = true;
    entry->at_ms = loop_now_ms(fixture->loop) + delay_ms;
    CHECK_INT(timers_start(&fixture->loop->timers, &entry->timer, delay_ms, on_expiry), 0);
}

static void stop(struct entry *entry)
{
    struct fixture *fixture = entry->fixture;
    fixture->n_wanted -= entry->wanted;
    entry->wanted = false;
    timers_stop(&fixture->loop->timers, &entry->timer);
}

static void on_expiry(struct timer *timer)
{
    struct entry *entry = container_of(timer, struct entry, timer);
    struct fixture *fixture = entry->fixture;
    fixture->out_of_order |= entry->at_ms < fixture->last_at_ms;
    fixture->early |= entry->at_ms > loop_now_ms(fixture->loop);
    fixture->last_at_ms = entry->at_ms;
    entry->n_expired++;
    CHECK(entry->wanted);
    CHECK(!timer_running(timer));
    entry->wanted = false;
    fixture->n_wanted--;
    /* others are stopped and started from inside */
    if (draw(fixture, 4) == 0)
        stop(&fixture->entries[draw(fixture, N_TIMERS)]);
    if (draw(fixture, 8) == 0) {
        struct entry *other = &fixture->entries[draw(fixture, N_TIMERS)];
        if (other->wanted)
            start(other, 1 + draw(fixture, 50));
    }
}

TEST(timers, random_against_a_model)
{
    static struct fixture fixture;
    fixture = (struct fixture){.random = 7};
    CHECK_INT(loop_new(&fixture.loop, "timers", 0), 0);
    for (size_t i = 0; i < N_TIMERS; i++)
        fixture.entries[i].fixture = &fixture;
    for (int i = 0; i < 4 * N_TIMERS; i++) {
        struct entry *entry = &fixture.entries[draw(&fixture, N_TIMERS)];
        if (draw(&fixture, 3) == 0)
            stop(entry);
        else
            start(entry, draw(&fixture, 100));
        CHECK_INT(timer_running(&entry->timer), entry->wanted);
    }
    CHECK_INT(fixture.loop->timers.n, fixture.n_wanted);
    while (fixture.n_wanted > 0)
        uv_run(&fixture.loop->uv, UV_RUN_ONCE);
    CHECK(!fixture.out_of_order);
    CHECK(!fixture.early);
    for (size_t i = 0; i < N_TIMERS; i++)
        CHECK(!timer_running(&fixture.entries[i].timer));
    loop_free(fixture.loop);
}

struct greedy {
    struct timer timer;
    struct loop *loop;
    int n_expired;
};

static void on_greedy(struct timer *timer)
{
    struct greedy *greedy = container_of(timer, struct greedy, timer);
    greedy->n_expired++;
    CHECK(greedy->n_expired < 1000);
    CHECK_INT(timers_start(&greedy->loop->timers, timer, 0, on_greedy), 0);
}

static void on_mail(struct mail *mail)
{
    mail->deliver = NULL;
}

/* A timer without delay that starts itself anew lets others have their turn. */
TEST(timers, no_starving)
{
    struct greedy greedy = {0};
    struct mail mail = {.deliver = on_mail};
    CHECK_INT(loop_new(&greedy.loop, "greedy", 0), 0);
    CHECK_INT(timers_start(&greedy.loop->timers, &greedy.timer, 0, on_greedy), 0);
    loop_post(greedy.loop, &mail);
    while (mail.deliver || greedy.n_expired < 3)
        uv_run(&greedy.loop->uv, UV_RUN_ONCE);
    timers_stop(&greedy.loop->timers, &greedy.timer);
    loop_free(greedy.loop);
}
