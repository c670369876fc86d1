#include "loop/loop.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "util/log.h"

static void deliver_all(struct loop *loop)
{
    struct list batch = LIST_INIT(batch);

    pthread_mutex_lock(&loop->mutex);
    list_splice(&batch, &loop->mailbox);
    pthread_mutex_unlock(&loop->mutex);

    for (struct list *link; (link = list_pop(&batch));) {
        struct mail *mail = container_of(link, struct mail, link);
        mail->deliver(mail);
    }
}

/* Any thread. The counter cannot overflow, as only the first mail of an empty box counts it up. */
static void wake(struct loop *loop)
{
    uint64_t one = 1;
    ssize_t n;

    do
        n = write(loop->wakeup_fd, &one, sizeof(one));
    while (n < 0 && errno == EINTR);
    ASSERT(n == sizeof(one));
}

static void on_wakeup(uv_poll_t *wakeup, int status, int events)
{
    struct loop *loop = wakeup->data;
    uint64_t count;

    (void)status;
    (void)events;
    loop_has_event(loop);
    /* taken before the box is emptied: what is posted after that wakes anew */
    ssize_t n = read(loop->wakeup_fd, &count, sizeof(count));
    ASSERT(n == sizeof(count) || errno == EAGAIN || errno == EINTR);
    deliver_all(loop);
    if (atomic_load(&loop->stop))
        uv_stop(&loop->uv);
}

/* uv_run() has taken the time anew since the events were served. */
static void on_prepare(uv_prepare_t *prepare)
{
    struct loop *loop = prepare->data;

    if (loop->woke_ms) {
        histogram_record(&loop->lag, &histogram_scale_lag,
                         (int64_t)(loop->uv.time - loop->woke_ms) * 1000);
        loop->woke_ms = 0;
    }
    if (loop->on_iteration)
        loop->on_iteration(loop->on_iteration_context);
}

int loop_new(struct loop **ret_loop, const char *name, int nice)
{
    struct loop *loop = calloc(1, sizeof(*loop));
    if (!loop)
        return -ENOMEM;
    int r = uv_loop_init(&loop->uv);
    if (r) {
        free(loop);
        return r;
    }
    loop->wakeup_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    r = loop->wakeup_fd < 0 ? -errno : uv_poll_init(&loop->uv, &loop->wakeup, loop->wakeup_fd);
    if (r) {
        if (loop->wakeup_fd >= 0)
            close(loop->wakeup_fd);
        (void)uv_loop_close(&loop->uv);
        free(loop);
        return r;
    }
    loop->wakeup.data = loop;
    r = uv_poll_start(&loop->wakeup, UV_READABLE, on_wakeup);
    ASSERT(r == 0); /* libuv only takes a note of it */
    r = timers_init(&loop->timers, &loop->uv);
    ASSERT(r == 0); /* uv_timer_init() cannot fail */
    r = uv_prepare_init(&loop->uv, &loop->prepare);
    ASSERT(r == 0); /* nor can this */
    loop->prepare.data = loop;
    r = uv_prepare_start(&loop->prepare, on_prepare);
    ASSERT(r == 0);
    uv_unref((uv_handle_t *)&loop->prepare);
    loop->nice = nice;
    loop->owner = pthread_self();
    list_init(&loop->mailbox);
    pthread_mutex_init(&loop->mutex, NULL);
    snprintf(loop->name, sizeof(loop->name), "%s", name);
    *ret_loop = loop;
    return 0;
}

struct loop *loop_free(struct loop *loop)
{
    if (!loop)
        return NULL;
    ASSERT(!loop->spawned);
    loop->owner = pthread_self();
    deliver_all(loop);
    uv_close((uv_handle_t *)&loop->wakeup, NULL);
    uv_close((uv_handle_t *)&loop->prepare, NULL);
    timers_close(&loop->timers);
    (void)uv_run(&loop->uv, UV_RUN_DEFAULT);
    timers_deinit(&loop->timers);
    int r = uv_loop_close(&loop->uv);
    ASSERT(r == 0);
    ASSERT(list_empty(&loop->mailbox));
    close(loop->wakeup_fd);
    pthread_mutex_destroy(&loop->mutex);
    free(loop);
    return NULL;
}

void loop_run(struct loop *loop)
{
    loop->owner = pthread_self();
    while (!atomic_load(&loop->stop))
        (void)uv_run(&loop->uv, UV_RUN_DEFAULT);
    deliver_all(loop);
}

static void *run_thread(void *argument)
{
    struct loop *loop = argument;
    /* Linux: the niceness of a thread is its own (setpriority(2), NOTES) */
    if (loop->nice && setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), loop->nice) < 0)
        log_warning("thread %s: cannot set its niceness to %d: %s", loop->name, loop->nice,
                    strerror(errno));
    loop_run(loop);
    return NULL;
}

int loop_start(struct loop *loop)
{
    sigset_t all, before;

    /* signals are the control thread's business */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int r = pthread_create(&loop->thread, NULL, run_thread, loop);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (r)
        return -r;
    loop->spawned = true;
    pthread_setname_np(loop->thread, loop->name);
    return 0;
}

void loop_join(struct loop *loop)
{
    if (!loop->spawned)
        return;
    pthread_join(loop->thread, NULL);
    loop->spawned = false;
    loop->owner = pthread_self();
}

void loop_post(struct loop *loop, struct mail *mail)
{
    pthread_mutex_lock(&loop->mutex);
    bool was_empty = list_empty(&loop->mailbox);
    list_append(&loop->mailbox, &mail->link);
    pthread_mutex_unlock(&loop->mutex);
    if (was_empty)
        wake(loop);
}

void loop_stop(struct loop *loop)
{
    atomic_store(&loop->stop, true);
    wake(loop);
}

uint64_t loop_now_ms(const struct loop *loop)
{
    return uv_now(&loop->uv);
}

int64_t loop_clock_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

void loop_on_iteration(struct loop *loop, void (*callback)(void *context), void *context)
{
    ASSERT(!loop->on_iteration);
    loop->on_iteration = callback;
    loop->on_iteration_context = context;
}
