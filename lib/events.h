#pragma once
/*
 * events: the notifications of a connection, from the line that was read to the callback.
 *
 * Threads:   events_add() and events_take() with the connection's lock held; events_tell() without.
 * Ownership: those that wait are the connection's, one that was taken its taker's.
 * Errors:    none: what there is no memory or place for is counted, and told as lost.
 * Limits:    LIB_EVENTS_MAX wait.
 */
#include "lib/tcpbroker.h"

enum { LIB_EVENTS_MAX = 4096 };

struct event {
    struct event *next;
    char json[];
};

struct event_queue {
    tcpb_event_callback callback; /* NULL: nobody wants them */
    void *userdata;
    struct event *first, *last;
    size_t n;
    uint64_t lost;
};

/* The params of a Broker.Event. */
void events_add(struct event_queue *queue, const char *json, size_t n);
/* The next, or NULL. After the last, one that says how many were lost, if any were. */
struct event *events_take(struct event_queue *queue);
/* Calls the callback; frees the event. */
void events_tell(struct tcpb *broker, struct event *event, tcpb_event_callback callback,
                 void *userdata);
void events_deinit(struct event_queue *queue);
