#include "app/accepting.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "net/watch.h"
#include "util/log.h"

enum { ACCEPTS_MAX = 64, PAUSE_MS = 100 };

void accepting_go(struct accepting *accepting)
{
    int r = watch_set(accepting->watch, WATCH_READABLE);
    ASSERT(r == 0); /* libuv only notes the wish here */
}

static void on_go_on(struct arrivals_waiter *waiter)
{
    struct accepting *accepting = container_of(waiter, struct accepting, waiter);
    if (!timer_running(&accepting->pause))
        accepting_go(accepting);
}

static void on_pause_over(struct timer *timer)
{
    accepting_go(container_of(timer, struct accepting, pause));
}

/* Out of file descriptors or memory: the backlog keeps them until there are some again. */
static void pause_accepting(struct accepting *accepting, int error)
{
    unsigned n_silent;

    if (seldom_now(&accepting->warnings, loop_clock_us(), &n_silent))
        log_warning("cannot accept %s for the moment: %s", accepting->whom, strerror(error));
    if (timers_start(&accepting->loop->timers, &accepting->pause, PAUSE_MS, on_pause_over) == 0) {
        int r = watch_set(accepting->watch, 0);
        ASSERT(r == 0);
    }
}

static void on_readable(void *context, unsigned events)
{
    struct accepting *accepting = context;

    (void)events;
    ASSERT_OWNER(accepting->loop);
    for (int i = 0; i < ACCEPTS_MAX; i++) {
        if (arrivals_must_wait(accepting->arrivals, &accepting->waiter)) {
            int r = watch_set(accepting->watch, 0);
            ASSERT(r == 0);
            return;
        }
        int fd = accept4(accepting->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0) {
            accepting->on_accepted(accepting->context, fd);
            continue;
        }
        if (errno == EINTR || errno == ECONNABORTED)
            continue;
        if (errno != EAGAIN && errno != EWOULDBLOCK)
            pause_accepting(accepting, errno);
        return;
    }
}

int accepting_begin(struct accepting *accepting, struct loop *loop)
{
    accepting->loop = loop;
    list_init(&accepting->waiter.link);
    accepting->waiter.go_on = on_go_on;
    return watch_new(&accepting->watch, loop, accepting->fd, on_readable, accepting);
}

void accepting_stop(struct accepting *accepting)
{
    if (!accepting->watch)
        return;
    timers_stop(&accepting->loop->timers, &accepting->pause);
    list_remove(&accepting->waiter.link);
    accepting->watch = watch_free(accepting->watch);
}
