/*
 * async: opening, closing, and the functions for event loops.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "lib/call.h"
#include "lib/error.h"
#include "lib/label.h"
#include "lib/request.h"

int tcpb_open(struct tcpb **ret_broker, const char *path, struct tcpb_error *error)
{
    if (!ret_broker)
        return error_local(error, TCPB_LOCAL_ARGUMENT, 0,
                           "there is no place for the connection (NULL)");
    return connection_new(ret_broker, path, error);
}

static struct pending *pending_free(struct pending *pending)
{
    tcpb_reply_free(pending->reply);
    free(pending);
    return NULL;
}

static struct pending *pending_new(int64_t id, enum method method, tcpb_callback callback,
                                   void *userdata)
{
    struct pending *pending = calloc(1, sizeof(*pending));
    if (!pending)
        return NULL;
    pending->reply = reply_new(id, method);
    pending->callback = callback;
    pending->userdata = userdata;
    return pending->reply ? pending : pending_free(pending);
}

/* Call the callback and free the pending. */
static void complete(struct tcpb *broker, struct pending *pending, const struct tcpb_error *failure)
{
    struct tcpb_error error;
    int64_t id = pending->reply->id;
    if (!pending->answered)
        pending->callback(broker, id, NULL, failure, pending->userdata);
    else if (reply_read(pending->reply, &error) || tcpb_reply_failed(pending->reply, &error))
        pending->callback(broker, id, NULL, &error, pending->userdata);
    else
        pending->callback(broker, id, pending->reply, NULL, pending->userdata);
    pending_free(pending);
}

/* Those that have come, in their order. One that cannot be read is none of this version. */
static void tell_events(struct tcpb *broker)
{
    for (;;) {
        pthread_mutex_lock(&broker->lock);
        struct event *event = events_take(&broker->events);
        tcpb_event_callback callback = broker->events.callback;
        void *userdata = broker->events.userdata;
        pthread_mutex_unlock(&broker->lock);
        if (!event)
            return;
        events_tell(broker, event, callback, userdata);
    }
}

static struct pending *take_ready(struct tcpb *broker)
{
    pthread_mutex_lock(&broker->lock);
    struct pending *pending = connection_take_ready(broker);
    pthread_mutex_unlock(&broker->lock);
    return pending;
}

/* In a child: free what was submitted in the parent without a word; blocking calls' pendings were
 * on stacks. */
static void forget(struct tcpb *broker)
{
    for (size_t i = 0; i < CONNECTION_BUCKETS; i++)
        for (struct pending *next, *pending = broker->buckets[i]; pending; pending = next) {
            next = pending->next_in_bucket;
            if (!pending->wakeup)
                pending_free(pending);
        }
    for (struct pending *next, *pending = broker->first_ready; pending; pending = next) {
        next = pending->next_ready;
        pending_free(pending);
    }
}

struct tcpb *tcpb_close(struct tcpb *broker)
{
    if (!broker)
        return NULL;
    if (broker->generation != label_generation()) {
        forget(broker);
        return connection_free(broker);
    }
    struct tcpb_error closed;
    error_local(&closed, TCPB_LOCAL_CLOSED, 0, "the connection was closed by tcpb_close()");
    pthread_mutex_lock(&broker->lock);
    connection_fail(broker, &closed);
    pthread_mutex_unlock(&broker->lock);
    for (struct pending *pending; (pending = take_ready(broker)) != NULL;)
        complete(broker, pending, &broker->failure);
    return connection_free(broker);
}

/* Takes the pending: it is the connection's, or freed on failure. */
static int submit(struct tcpb *broker, struct pending *pending, const struct writer *line,
                  struct tcpb_error *error)
{
    pthread_mutex_lock(&broker->lock);
    int r = connection_send(broker, pending, line, error);
    pthread_mutex_unlock(&broker->lock);
    if (r)
        pending_free(pending);
    return r;
}

int tcpb_submit(struct tcpb *broker, const char *method, const char *params, tcpb_callback callback,
                void *userdata, int64_t *ret_id, struct tcpb_error *error)
{
    int r = call_check(broker, error);
    if (r)
        return r;
    if (!callback)
        return error_local(error, TCPB_LOCAL_ARGUMENT, 0, "there is no callback (NULL)");
    int64_t id = call_next_id(broker);
    struct writer line = WRITER_INIT;
    r = request_raw(&line, id, method, params, true, error);
    if (r == 0) {
        struct pending *pending = pending_new(id, method_by_name(method), callback, userdata);
        r = pending ? submit(broker, pending, &line, error) : error_memory(error);
    }
    if (r == 0 && ret_id)
        *ret_id = id;
    writer_deinit(&line);
    return r;
}

int tcpb_get_fd(struct tcpb *broker)
{
    if (call_check(broker, NULL))
        return -1;
    pthread_mutex_lock(&broker->lock);
    int r = connection_make_poll_fd(broker);
    int fd = r ? -1 : broker->poll_fd;
    pthread_mutex_unlock(&broker->lock);
    if (r)
        errno = -r;
    return fd;
}

int tcpb_get_events(struct tcpb *broker)
{
    (void)broker;
    return POLLIN;
}

int tcpb_process(struct tcpb *broker, struct tcpb_error *error)
{
    int r = call_check(broker, error);
    if (r)
        return r;
    pthread_mutex_lock(&broker->lock);
    if (!broker->failed)
        connection_process(broker);
    pthread_mutex_unlock(&broker->lock);
    for (struct pending *pending; (pending = take_ready(broker)) != NULL;)
        complete(broker, pending, &broker->failure);
    tell_events(broker);
    pthread_mutex_lock(&broker->lock);
    r = broker->failed ? error_copy(error, &broker->failure) : 0;
    pthread_mutex_unlock(&broker->lock);
    return r;
}
