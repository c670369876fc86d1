#include "net/watch.h"

#include <errno.h>
#include <stdlib.h>

struct watch {
    uv_poll_t uv;
    struct loop *loop;
    unsigned events; /* what uv watches */
    struct mail nudge;
    bool nudged;        /* the mail is in the box: memory must stay */
    bool freed, closed; /* by the user; by uv */
    void (*on_event)(void *context, unsigned events);
    void *context;
};

static void on_poll(uv_poll_t *uv, int status, int uv_events)
{
    struct watch *watch = uv->data;
    unsigned events = 0;

    loop_has_event(watch->loop);
    if (status < 0) {
        /* libuv has stopped watching (uv__poll_io() on POLLERR); as this is level-triggered, begin
         * again: who does not want to hear of it any more has to say so */
        events = watch->events;
        watch->events = 0;
        int r = watch_set(watch, events);
        ASSERT(r == 0);
    } else {
        events |= uv_events & UV_READABLE ? WATCH_READABLE : 0;
        events |= uv_events & UV_WRITABLE ? WATCH_WRITABLE : 0;
        /* libuv reports a bare EPOLLHUP as whatever is watched (uv__io_poll()); nothing ever makes
         * a Unix or TCP socket of ours readable out of band, so this is the hang-up */
        events |= uv_events & UV_PRIORITIZED ? WATCH_HANGUP : 0;
        events &= watch->events;
    }
    if (events)
        watch->on_event(watch->context, events);
}

int watch_new(struct watch **ret_watch, struct loop *loop, int fd,
              void (*on_event)(void *context, unsigned events), void *context)
{
    ASSERT_OWNER(loop);
    struct watch *watch = calloc(1, sizeof(*watch));
    if (!watch)
        return -ENOMEM;
    watch->loop = loop;
    watch->on_event = on_event;
    watch->context = context;
    int r = uv_poll_init(&loop->uv, &watch->uv, fd);
    if (r) {
        free(watch);
        return r;
    }
    watch->uv.data = watch;
    *ret_watch = watch;
    return 0;
}

static void on_closed(uv_handle_t *handle)
{
    struct watch *watch = handle->data;
    watch->closed = true;
    if (!watch->nudged)
        free(watch);
}

static void on_nudge(struct mail *mail)
{
    struct watch *watch = container_of(mail, struct watch, nudge);
    watch->nudged = false;
    if (!watch->freed)
        watch->on_event(watch->context, WATCH_NUDGE);
    else if (watch->closed)
        free(watch);
}

void watch_nudge(struct watch *watch)
{
    ASSERT_OWNER(watch->loop);
    if (watch->nudged)
        return;
    watch->nudged = true;
    watch->nudge.deliver = on_nudge;
    loop_post(watch->loop, &watch->nudge);
}

struct watch *watch_free(struct watch *watch)
{
    if (!watch)
        return NULL;
    ASSERT_OWNER(watch->loop);
    watch->freed = true;
    uv_close((uv_handle_t *)&watch->uv, on_closed); /* stops at once, calls back later */
    return NULL;
}

int watch_set(struct watch *watch, unsigned events)
{
    ASSERT_OWNER(watch->loop);
    int r, uv_events = 0;

    /* uv_poll_start() leaves and enters the epoll set each time, even when nothing changes */
    if (events == watch->events)
        return 0;
    if (events == 0) {
        r = uv_poll_stop(&watch->uv);
    } else {
        uv_events |= events & WATCH_READABLE ? UV_READABLE : 0;
        uv_events |= events & WATCH_WRITABLE ? UV_WRITABLE : 0;
        uv_events |= events & WATCH_HANGUP ? UV_PRIORITIZED : 0;
        r = uv_poll_start(&watch->uv, uv_events, on_poll);
    }
    if (r == 0)
        watch->events = events;
    return r;
}
