#include "lib/events.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/call.h"
#include "lib/error.h"
#include "proto/json.h"
#include "proto/methods.h"

static struct event *event_new(const char *json, size_t n)
{
    struct event *event = malloc(sizeof(*event) + n + 1);
    if (!event)
        return NULL;
    event->next = NULL;
    memcpy(event->json, json, n);
    event->json[n] = '\0';
    return event;
}

void events_add(struct event_queue *queue, const char *json, size_t n)
{
    if (!queue->callback)
        return;
    struct event *event = queue->n < LIB_EVENTS_MAX ? event_new(json, n) : NULL;
    if (!event) {
        queue->lost++;
        return;
    }
    if (queue->last)
        queue->last->next = event;
    else
        queue->first = event;
    queue->last = event;
    queue->n++;
}

/* As the daemon would say it. */
static struct event *lost_event(uint64_t lost)
{
    struct writer writer = WRITER_INIT;
    struct event *event = NULL;
    char text[32] = "";
    struct tm utc;
    time_t now = time(NULL);

    gmtime_r(&now, &utc);
    strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S.000Z", &utc);
    fields_write(&proto_event_table,
                 &(struct proto_event){
                     .event = "lost", .time = text, .has_lost = true, .lost = (int64_t)lost},
                 &writer);
    if (!writer_failed(&writer))
        event = event_new(writer.data, writer.n_data);
    writer_deinit(&writer);
    return event;
}

struct event *events_take(struct event_queue *queue)
{
    struct event *event = queue->first;

    if (!event && queue->lost > 0) {
        event = lost_event(queue->lost);
        if (event)
            queue->lost = 0;
        return event;
    }
    if (!event)
        return NULL;
    queue->first = event->next;
    if (!queue->first)
        queue->last = NULL;
    queue->n--;
    return event;
}

void events_tell(struct tcpb *broker, struct event *event, tcpb_event_callback callback,
                 void *userdata)
{
    struct json_fault fault;
    struct field_fault found;
    struct json_arena arena = {0};
    struct tcpb_event fields;
    struct json *tree = NULL;

    /* the structs are laid out alike: typed.c */
    if (callback && json_parse(&tree, event->json, strlen(event->json), 64, &fault) == 0 &&
        fields_read(&proto_event_table, tree, &arena, FIELDS_LENIENT, &fields, &found) == 0)
        callback(broker, &fields, event->json, userdata);
    json_free(tree);
    json_arena_deinit(&arena);
    free(event);
}

void events_deinit(struct event_queue *queue)
{
    for (struct event *next, *event = queue->first; event; event = next) {
        next = event->next;
        free(event);
    }
    *queue = (struct event_queue){0};
}

int tcpb_on_event(struct tcpb *broker, tcpb_event_callback callback, void *userdata,
                  struct tcpb_error *error)
{
    int r = call_check(broker, error);
    if (r)
        return r;
    pthread_mutex_lock(&broker->lock);
    broker->events.callback = callback;
    broker->events.userdata = userdata;
    pthread_mutex_unlock(&broker->lock);
    return 0;
}
