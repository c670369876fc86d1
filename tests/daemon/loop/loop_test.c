#include "loop/loop.h"

#include <sched.h>

#include "support/test.h"

enum { N_ROUNDS = 5000 };

struct ball {
    struct mail mail;
    struct loop *loops[2];
    int at, n_rounds;
    struct loop *home;
    struct mail arrived;
    bool done;
};

static void on_ball(struct mail *mail)
{
    struct ball *ball = container_of(mail, struct ball, mail);
    ASSERT_OWNER(ball->loops[ball->at]);
    if (++ball->n_rounds == N_ROUNDS) {
        loop_post(ball->home, &ball->arrived);
        return;
    }
    ball->at = !ball->at;
    loop_post(ball->loops[ball->at], &ball->mail);
}

static void on_arrived(struct mail *mail)
{
    struct ball *ball = container_of(mail, struct ball, arrived);
    ball->done = true;
    loop_stop(ball->home);
}

TEST(loop, ping_pong)
{
    struct ball ball = {.mail.deliver = on_ball, .arrived.deliver = on_arrived};
    CHECK_INT(loop_new(&ball.home, "home", 0), 0);
    for (int i = 0; i < 2; i++) {
        CHECK_INT(loop_new(&ball.loops[i], "player", 0), 0);
        CHECK_INT(loop_start(ball.loops[i]), 0);
    }
    loop_post(ball.loops[0], &ball.mail);
    loop_run(ball.home);
    CHECK(ball.done);
    CHECK_INT(ball.n_rounds, N_ROUNDS);
    for (int i = 0; i < 2; i++) {
        loop_stop(ball.loops[i]);
        loop_join(ball.loops[i]);
        loop_free(ball.loops[i]);
    }
    loop_free(ball.home);
}

struct letter {
    struct mail mail;
    int number;
    int *n_delivered, *last;
    bool *in_order;
};

static void on_letter(struct mail *mail)
{
    struct letter *letter = container_of(mail, struct letter, mail);
    if (letter->number != *letter->last + 1)
        *letter->in_order = false;
    *letter->last = letter->number;
    (*letter->n_delivered)++;
}

TEST(loop, mail_in_the_box_is_delivered_in_order_when_it_stops)
{
    enum { N = 1000 };
    static struct letter letters[N];
    int n_delivered = 0, last = -1;
    bool in_order = true;
    struct loop *loop;
    CHECK_INT(loop_new(&loop, "stops", 0), 0);
    for (int i = 0; i < N; i++)
        letters[i] = (struct letter){{.deliver = on_letter}, i, &n_delivered, &last, &in_order};
    for (int i = 0; i < N / 2; i++)
        loop_post(loop, &letters[i].mail);
    CHECK_INT(n_delivered, 0); /* never inside loop_post() */
    CHECK_INT(loop_start(loop), 0);
    for (int i = N / 2; i < N - 1; i++)
        loop_post(loop, &letters[i].mail);
    loop_stop(loop);
    loop_join(loop);
    CHECK_INT(n_delivered, N - 1);
    loop_post(loop, &letters[N - 1].mail); /* after the end: loop_free() delivers it */
    loop_free(loop);
    CHECK_INT(n_delivered, N);
    CHECK(in_order);
}

struct counted {
    struct mail again; /* keeps the loop going */
    struct loop *loop;
    int n_iterations;
};

static void ignore(struct mail *mail)
{
    (void)mail;
}

static void count_iteration(void *context)
{
    struct counted *counted = context;
    if (++counted->n_iterations == 3)
        loop_stop(counted->loop);
    else
        loop_post(counted->loop, &counted->again);
}

TEST(loop, calls_each_iteration)
{
    struct counted counted = {.again = {.deliver = ignore}};
    CHECK_INT(loop_new(&counted.loop, "iterates", 0), 0);
    loop_on_iteration(counted.loop, count_iteration, &counted);
    loop_run(counted.loop);
    CHECK_INT(counted.n_iterations, 3);
    loop_free(counted.loop);
}

enum { BUSY_MS = 30 };

static void on_busy(struct mail *mail)
{
    int64_t until_us = loop_clock_us() + BUSY_MS * 1000;

    (void)mail;
    while (loop_clock_us() < until_us)
        ;
}

struct stopping {
    struct mail mail;
    struct loop *loop;
};

static void on_stopping(struct mail *mail)
{
    loop_stop(container_of(mail, struct stopping, mail)->loop);
}

/* A round that takes long is seen in the figures; the clock is one of milliseconds. */
TEST(loop, lag)
{
    struct mail busy = {.deliver = on_busy};
    struct stopping last = {.mail = {.deliver = on_stopping}};
    struct histogram_sum sum = {.count = 0};
    struct loop *loop;

    CHECK_INT(loop_new(&loop, "busy", 0), 0);
    CHECK_INT(loop_start(loop), 0);
    last.loop = loop;
    loop_post(loop, &busy);
    /* a round of its own, as the busy one is over only when the next begins */
    for (;;) {
        sum = (struct histogram_sum){.count = 0};
        histogram_add(&sum, loop_lag(loop));
        if (sum.count > 0)
            break;
        sched_yield();
    }
    loop_post(loop, &last.mail);
    loop_join(loop);
    CHECK_INT(sum.count, 1);
    CHECK(sum.sum_us >= (BUSY_MS - 2) * 1000);
    CHECK_INT(sum.buckets[0], 0);
    loop_free(loop);
}
