#pragma once
/*
 * events: the way of what happened to connections from wherever it happened to those who asked to
 * be told (rpc/method_events.c). An event is written once, as the line that clients get, and
 * posted to each io thread that somebody listens on.
 *
 * Threads:   events_wanted() and events_post(): any. events_listen() and events_unlisten(): the
 * thread of that port's loop, which is where deliver() is called too.
 * Ownership: the app owns it; it must live as long as its loops deliver. A line belongs to the
 * events and is gone after deliver().
 * Errors:    none: an event for which there is no memory or no place is counted as lost.
 * Limits:    EVENTS_WAITING_MAX lines wait for an io thread; of those of class limit at most
 * EVENTS_LIMITS_PER_S are posted in a second. While nobody listens an event costs one relaxed load.
 */
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "loop/loop.h"
#include "proto/methods.h"

enum { EVENTS_WAITING_MAX = 4096, EVENTS_LIMITS_PER_S = 20 };

/* Bits of a listener's wish. */
enum event_class {
    EVENTS_OPEN = 1 << 0,
    EVENTS_CLOSE = 1 << 1,
    EVENTS_FAIL = 1 << 2,
    EVENTS_DENY = 1 << 3,
    EVENTS_LISTEN = 1 << 4,
    EVENTS_LIMIT = 1 << 5,
    EVENTS_ALL = (1 << 6) - 1,
};
const char *event_class_word(enum event_class one);
/* 0: there is no such class. */
unsigned event_class_by_word(const char *word);

/* A line on its way, with its end. */
struct event_line {
    enum event_class one;
    uid_t uid; /* whom it is about; (uid_t)-1: unknown */
    const char *text;
    size_t n_text;
};

struct events;

/* What the thread of a port does with it. lost: so many were lost before this one. */
typedef void (*events_deliver)(void *context, const struct event_line *line, uint64_t lost);

NODISCARD int events_new(struct events **ret_events, size_t n_ports);
/* Nobody may listen any more, and nothing be under way. */
struct events *events_free(struct events *events);
/* Before the threads start. */
void events_set_port(struct events *events, size_t port, struct loop *loop, events_deliver deliver,
                     void *context);

/* One listener more, or less, on that port. */
void events_listen(struct events *events, size_t port);
void events_unlisten(struct events *events, size_t port);

/* Does anybody want to know? events may be NULL. */
bool events_wanted(const struct events *events);
/* Its event and time are set here; the rest is the caller's. */
void events_post(struct events *events, enum event_class one, uid_t uid, struct proto_event *event);
/* The line of class lost, in place; *ret_n with its end. */
#define EVENTS_LOST_MAX 192
void events_lost_line(uint64_t lost, char text[EVENTS_LOST_MAX], size_t *ret_n);
