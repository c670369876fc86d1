#include "loop/timers.h"

#include <errno.h>
#include <stdlib.h>

static void place(struct timers *timers, size_t position, struct timer *timer)
{
    timers->heap[position] = timer;
    timer->position = position;
}

static void sift_up(struct timers *timers, size_t i, struct timer *timer)
{
    for (; i > 1 && timers->heap[i / 2]->at_ms > timer->at_ms; i /= 2)
        place(timers, i, timers->heap[i / 2]);
    place(timers, i, timer);
}

static void sift_down(struct timers *timers, size_t i, struct timer *timer)
{
    for (;;) {
        size_t child = i * 2;
        if (child > timers->n)
            break;
        if (child < timers->n && timers->heap[child + 1]->at_ms < timers->heap[child]->at_ms)
            child++;
        if (timers->heap[child]->at_ms >= timer->at_ms)
            break;
        place(timers, i, timers->heap[child]);
        i = child;
    }
    place(timers, i, timer);
}

static void on_uv_timer(uv_timer_t *uv);

/* The uv timer follows the earliest deadline; it is left alone when it fires too early, which is
 * cheaper than moving it. */
static void arm(struct timers *timers, uint64_t at_least_ms)
{
    if (timers->n == 0) {
        int r = uv_timer_stop(&timers->uv);
        ASSERT(r == 0);
        return;
    }
    uint64_t now = uv_now(timers->uv.loop), at = timers->heap[1]->at_ms;
    uint64_t delay_ms = at > now ? at - now : 0;
    if (delay_ms < at_least_ms)
        delay_ms = at_least_ms;
    int r = uv_timer_start(&timers->uv, on_uv_timer, delay_ms, 0);
    ASSERT(r == 0);
}

static void remove_at(struct timers *timers, size_t i)
{
    struct timer *last = timers->heap[timers->n];
    timers->heap[i]->position = 0;
    timers->n--;
    if (i > timers->n)
        return;
    if (i > 1 && timers->heap[i / 2]->at_ms > last->at_ms)
        sift_up(timers, i, last);
    else
        sift_down(timers, i, last);
}

static void on_uv_timer(uv_timer_t *uv)
{
    struct timers *timers = uv->data;
    uint64_t now = uv_now(uv->loop);

    /* no more than there were: a timer that starts itself anew with no delay must not keep the
     * loop from everything else */
    for (size_t i = timers->n; i > 0 && timers->n > 0 && timers->heap[1]->at_ms <= now; i--) {
        struct timer *timer = timers->heap[1];
        remove_at(timers, 1);
        timer->on_expiry(timer);
    }
    arm(timers, 1); /* uv would call this again at once, in the same round */
}

int timers_init(struct timers *timers, uv_loop_t *uv)
{
    *timers = (struct timers){0};
    int r = uv_timer_init(uv, &timers->uv);
    if (r)
        return r;
    timers->uv.data = timers;
    return 0;
}

void timers_close(struct timers *timers)
{
    uv_close((uv_handle_t *)&timers->uv, NULL);
}

void timers_deinit(struct timers *timers)
{
    ASSERT(timers->n == 0);
    free(timers->heap);
    timers->heap = NULL;
    timers->capacity = 0;
}

int timers_start(struct timers *timers, struct timer *timer, uint64_t delay_ms,
                 void (*on_expiry)(struct timer *timer))
{
    timers_stop(timers, timer);
    if (timers->n + 1 >= timers->capacity) {
        size_t capacity = timers->capacity ? timers->capacity * 2 : 64;
        struct timer **heap = realloc(timers->heap, capacity * sizeof(struct timer *));
        if (!heap)
            return -ENOMEM;
        timers->heap = heap;
        timers->capacity = capacity;
    }
    /* uv_now() is as old as this iteration: rounding up keeps a deadline from passing early */
    timer->at_ms = uv_now(timers->uv.loop) + delay_ms;
    timer->on_expiry = on_expiry;
    timers->n++;
    sift_up(timers, timers->n, timer);
    if (timer->position == 1)
        arm(timers, 0);
    return 0;
}

void timers_stop(struct timers *timers, struct timer *timer)
{
    if (!timer->position)
        return;
    remove_at(timers, timer->position);
    if (timers->n == 0)
        arm(timers, 0);
}
