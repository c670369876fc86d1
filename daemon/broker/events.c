#include "broker/events.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "proto/message.h"

struct port {
    struct loop *loop;
    events_deliver deliver;
    void *context;
    atomic_uint n_listeners; /* written by the loop's thread only */
    atomic_uint n_waiting;   /* lines in its mailbox */
    _Atomic uint64_t n_lost;
};

struct events {
    atomic_uint n_listeners; /* of all ports */
    /* of class limit: the second that is counted, how many in it, how many were left out */
    _Atomic int64_t limit_s;
    atomic_uint n_limits;
    _Atomic int64_t n_limits_more;
    size_t n_ports;
    struct port ports[];
};

/* A line in a mailbox. */
struct letter {
    struct mail mail;
    struct port *port;
    struct event_line line;
    char text[];
};

static const char *const class_words[] = {"open", "close", "fail", "deny", "listen", "limit"};
enum { CLASSES = sizeof(class_words) / sizeof(class_words[0]) };

const char *event_class_word(enum event_class one)
{
    for (unsigned i = 0; i < CLASSES; i++)
        if ((unsigned)one == 1U << i)
            return class_words[i];
    return "lost";
}

unsigned event_class_by_word(const char *word)
{
    for (unsigned i = 0; i < CLASSES; i++)
        if (strcmp(class_words[i], word) == 0)
            return 1U << i;
    return 0;
}

int events_new(struct events **ret_events, size_t n_ports)
{
    struct events *events = calloc(1, sizeof(*events) + n_ports * sizeof(struct port));
    if (!events)
        return -ENOMEM;
    events->n_ports = n_ports;
    *ret_events = events;
    return 0;
}

struct events *events_free(struct events *events)
{
    if (events)
        ASSERT(!events_wanted(events));
    free(events);
    return NULL;
}

void events_set_port(struct events *events, size_t port, struct loop *loop, events_deliver deliver,
                     void *context)
{
    ASSERT(port < events->n_ports);
    events->ports[port].loop = loop;
    events->ports[port].deliver = deliver;
    events->ports[port].context = context;
}

void events_listen(struct events *events, size_t port)
{
    struct port *at = &events->ports[port];

    ASSERT_OWNER(at->loop);
    /* what was lost before is nothing to the first one */
    if (atomic_fetch_add_explicit(&at->n_listeners, 1, memory_order_relaxed) == 0)
        atomic_store_explicit(&at->n_lost, 0, memory_order_relaxed);
    (void)atomic_fetch_add_explicit(&events->n_listeners, 1, memory_order_relaxed);
}

void events_unlisten(struct events *events, size_t port)
{
    struct port *at = &events->ports[port];

    ASSERT_OWNER(at->loop);
    (void)atomic_fetch_sub_explicit(&events->n_listeners, 1, memory_order_relaxed);
    (void)atomic_fetch_sub_explicit(&at->n_listeners, 1, memory_order_relaxed);
}

bool events_wanted(const struct events *events)
{
    return events && atomic_load_explicit(&events->n_listeners, memory_order_relaxed) > 0;
}

static void on_letter(struct mail *mail)
{
    struct letter *letter = container_of(mail, struct letter, mail);
    struct port *port = letter->port;

    (void)atomic_fetch_sub_explicit(&port->n_waiting, 1, memory_order_relaxed);
    uint64_t lost = atomic_exchange_explicit(&port->n_lost, 0, memory_order_relaxed);
    port->deliver(port->context, &letter->line, lost);
    free(letter);
}

static void post(struct port *port, enum event_class one, uid_t uid, const struct writer *text)
{
    struct letter *letter = NULL;

    if (atomic_fetch_add_explicit(&port->n_waiting, 1, memory_order_relaxed) < EVENTS_WAITING_MAX)
        letter = malloc(sizeof(*letter) + text->n_data);
    if (!letter) {
        (void)atomic_fetch_sub_explicit(&port->n_waiting, 1, memory_order_relaxed);
        (void)atomic_fetch_add_explicit(&port->n_lost, 1, memory_order_relaxed);
        return;
    }
    *letter = (struct letter){
        .mail = {.deliver = on_letter},
        .port = port,
        .line = {.one = one, .uid = uid, .text = letter->text, .n_text = text->n_data}};
    memcpy(letter->text, text->data, text->n_data);
    loop_post(port->loop, &letter->mail);
}

/* Those of class limit could be as many as a client can ask. Several threads may be a little off in
 * their counting. */
static bool within_rate(struct events *events, struct proto_event *event)
{
    int64_t now_s = loop_clock_us() / 1000000;

    if (atomic_exchange_explicit(&events->limit_s, now_s, memory_order_relaxed) != now_s)
        atomic_store_explicit(&events->n_limits, 0, memory_order_relaxed);
    if (atomic_fetch_add_explicit(&events->n_limits, 1, memory_order_relaxed) >=
        EVENTS_LIMITS_PER_S) {
        (void)atomic_fetch_add_explicit(&events->n_limits_more, 1, memory_order_relaxed);
        return false;
    }
    event->more = atomic_exchange_explicit(&events->n_limits_more, 0, memory_order_relaxed);
    event->has_more = event->more > 0;
    return true;
}

static void set_time(char text[32])
{
    struct timespec now;
    struct tm utc;

    (void)clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    size_t n = strftime(text, 24, "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(text + n, 32 - n, ".%03dZ", (int)(now.tv_nsec / 1000000));
}

static void write_line(struct writer *writer, struct proto_event *event)
{
    char text[32];

    set_time(text);
    event->time = text;
    message_notification(writer, "Broker.Event", &proto_event_table, event);
    writer_raw(writer, "\n", 1);
    event->time = NULL;
}

void events_post(struct events *events, enum event_class one, uid_t uid, struct proto_event *event)
{
    struct writer writer = WRITER_INIT;

    if (!events_wanted(events) || (one == EVENTS_LIMIT && !within_rate(events, event)))
        return;
    event->event = event_class_word(one);
    write_line(&writer, event);
    for (size_t i = 0; i < events->n_ports; i++) {
        struct port *port = &events->ports[i];
        if (atomic_load_explicit(&port->n_listeners, memory_order_relaxed) == 0)
            continue;
        if (writer_failed(&writer))
            (void)atomic_fetch_add_explicit(&port->n_lost, 1, memory_order_relaxed);
        else
            post(port, one, uid, &writer);
    }
    writer_deinit(&writer);
}

void events_lost_line(uint64_t lost, char text[EVENTS_LOST_MAX], size_t *ret_n)
{
    /* it fits, so no memory is needed to say that there was none */
    struct writer writer = {.data = text, .capacity = EVENTS_LOST_MAX};
    struct proto_event event = {.event = "lost", .has_lost = true, .lost = (int64_t)lost};

    write_line(&writer, &event);
    ASSERT(writer.data == text && !writer_failed(&writer));
    *ret_n = writer.n_data;
}
