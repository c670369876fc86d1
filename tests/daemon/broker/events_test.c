/* The way of events to the threads that listen: who gets them, what is lost, how much can wait. */
#include "broker/events.h"

#include <semaphore.h>
#include <string.h>

#include "support/test.h"

enum { PORTS = 2 };

struct bench;

/* A thread with a loop. Fields are its own until it has ended or answered an order. */
struct end {
    struct bench *bench;
    size_t index;
    struct loop *loop;
    unsigned n;
    uint64_t lost;
    char last[512];
    uid_t uid;
    enum event_class one;
};

struct bench {
    struct events *events;
    struct end ends[PORTS];
};

static void on_line(void *context, const struct event_line *line, uint64_t lost)
{
    struct end *end = context;

    CHECK(line->n_text < sizeof(end->last) && line->text[line->n_text - 1] == '\n');
    end->n++;
    end->lost += lost;
    end->uid = line->uid;
    end->one = line->one;
    memcpy(end->last, line->text, line->n_text);
    end->last[line->n_text] = '\0';
}

/* Something to be done by a loop's thread; waited for. */
struct order {
    struct mail mail;
    struct end *end;
    void (*work)(struct end *end);
    sem_t done;
};

static void on_order(struct mail *mail)
{
    struct order *order = container_of(mail, struct order, mail);
    order->work(order->end);
    sem_post(&order->done);
}

static void run(struct end *end, void (*work)(struct end *end))
{
    struct order order = {.mail = {.deliver = on_order}, .end = end, .work = work};
    sem_init(&order.done, 0, 0);
    loop_post(end->loop, &order.mail);
    sem_wait(&order.done);
    sem_destroy(&order.done);
}

static void listen_once(struct end *end)
{
    events_listen(end->bench->events, end->index);
}

static void unlisten_once(struct end *end)
{
    events_unlisten(end->bench->events, end->index);
}

static void nothing(struct end *end)
{
    (void)end;
}

static void start(struct bench *bench)
{
    memset(bench, 0, sizeof(*bench));
    CHECK_INT(events_new(&bench->events, PORTS), 0);
    for (size_t i = 0; i < PORTS; i++) {
        struct end *end = &bench->ends[i];
        end->bench = bench;
        end->index = i;
        CHECK_INT(loop_new(&end->loop, "test", 0), 0);
        events_set_port(bench->events, i, end->loop, on_line, end);
        CHECK_INT(loop_start(end->loop), 0);
    }
}

static void stop(struct bench *bench)
{
    for (size_t i = 0; i < PORTS; i++) {
        loop_stop(bench->ends[i].loop);
        loop_join(bench->ends[i].loop);
        loop_free(bench->ends[i].loop);
    }
    events_free(bench->events);
}

static void post(struct bench *bench, enum event_class one, uid_t uid)
{
    struct proto_event event = {.has_socket = true, .socket = 7};
    events_post(bench->events, one, uid, &event);
}

TEST(events, words_and_classes)
{
    unsigned all = 0;
    for (unsigned one = 1; one < EVENTS_ALL; one <<= 1) {
        CHECK_INT(event_class_by_word(event_class_word((enum event_class)one)), one);
        all |= one;
    }
    CHECK_INT(all, EVENTS_ALL);
    CHECK_INT(event_class_by_word("lost"), 0);
    CHECK_INT(event_class_by_word(""), 0);
}

TEST(events, only_to_who_listens)
{
    struct bench bench;
    start(&bench);
    CHECK(!events_wanted(NULL));
    CHECK(!events_wanted(bench.events));
    post(&bench, EVENTS_OPEN, 1);
    run(&bench.ends[1], listen_once);
    run(&bench.ends[1], listen_once);
    CHECK(events_wanted(bench.events));
    post(&bench, EVENTS_CLOSE, 1000);
    run(&bench.ends[0], nothing);
    run(&bench.ends[1], nothing);
    CHECK_INT(bench.ends[0].n, 0);
    CHECK_INT(bench.ends[1].n, 1); /* one for the thread, however many listen there */
    CHECK_INT(bench.ends[1].uid, 1000);
    CHECK_INT(bench.ends[1].one, EVENTS_CLOSE);
    static const char begin[] = "{\"jsonrpc\":\"2.0\",\"method\":\"Broker.Event\",\"params\":"
                                "{\"event\":\"close\",\"time\":\"20";
    CHECK(strncmp(bench.ends[1].last, begin, sizeof(begin) - 1) == 0);
    CHECK(strstr(bench.ends[1].last, "Z\",\"socket\":7}}\n") != NULL);
    run(&bench.ends[1], unlisten_once);
    CHECK(events_wanted(bench.events));
    run(&bench.ends[1], unlisten_once);
    CHECK(!events_wanted(bench.events));
    post(&bench, EVENTS_CLOSE, 1);
    run(&bench.ends[1], nothing);
    CHECK_INT(bench.ends[1].n, 1);
    stop(&bench);
}

static sem_t held, go_on;

static void hold_up(struct end *end)
{
    (void)end;
    sem_post(&held);
    sem_wait(&go_on);
}

/* A thread that is held up: so many wait, the others are counted, and told with the next. */
TEST(events, bounded)
{
    struct bench bench;
    struct order order = {.mail = {.deliver = on_order}, .work = hold_up};
    start(&bench);
    sem_init(&held, 0, 0);
    sem_init(&go_on, 0, 0);
    sem_init(&order.done, 0, 0);
    for (size_t i = 0; i < PORTS; i++)
        run(&bench.ends[i], listen_once);
    order.end = &bench.ends[0];
    loop_post(bench.ends[0].loop, &order.mail);
    sem_wait(&held);
    for (unsigned i = 0; i < EVENTS_WAITING_MAX + 100; i++) {
        post(&bench, EVENTS_FAIL, 1);
        run(&bench.ends[1], nothing);
    }
    sem_post(&go_on);
    sem_wait(&order.done);
    run(&bench.ends[0], nothing);
    CHECK_INT(bench.ends[0].n, EVENTS_WAITING_MAX);
    CHECK_INT(bench.ends[0].lost, 100);
    CHECK_INT(bench.ends[1].n, EVENTS_WAITING_MAX + 100);
    CHECK_INT(bench.ends[1].lost, 0);
    post(&bench, EVENTS_FAIL, 1);
    for (size_t i = 0; i < PORTS; i++)
        run(&bench.ends[i], unlisten_once);
    CHECK_INT(bench.ends[0].n, EVENTS_WAITING_MAX + 1);
    CHECK_INT(bench.ends[0].lost, 100);
    stop(&bench);
}

TEST(events, limits_are_few)
{
    struct bench bench;
    start(&bench);
    run(&bench.ends[0], listen_once);
    for (int i = 0; i < 1000; i++)
        post(&bench, EVENTS_LIMIT, 1);
    run(&bench.ends[0], unlisten_once);
    CHECK(bench.ends[0].n >= EVENTS_LIMITS_PER_S);
    CHECK(bench.ends[0].n <= 5 * EVENTS_LIMITS_PER_S); /* a second or two may have begun */
    stop(&bench);
}

TEST(events, the_line_of_the_lost)
{
    char text[EVENTS_LOST_MAX];
    size_t n;
    events_lost_line(INT64_MAX, text, &n);
    CHECK(n < sizeof(text) && text[n - 1] == '\n');
    text[n] = '\0';
    CHECK(strstr(text, "\"event\":\"lost\"") && strstr(text, "\"lost\":9223372036854775807}}\n"));
}
