#include "lib/connection.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/dial.h"
#include "lib/error.h"
#include "lib/label.h"

int connection_new(struct tcpb **ret_broker, const char *path, struct tcpb_error *error)
{
    struct tcpb *broker = calloc(1, sizeof(*broker));
    if (!broker)
        return error_memory(error);
    int r = dial(path, &broker->fd, error);
    if (r) {
        free(broker);
        return r;
    }
    broker->poll_fd = broker->ready_fd = -1;
    broker->generation = label_generation();
    broker->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (broker->wake_fd < 0) {
        r = error_local(error, TCPB_LOCAL_SYSTEM, errno, "eventfd: %s", strerrordesc_np(errno));
        close(broker->fd);
        free(broker);
        return r;
    }
    pthread_mutex_init(&broker->lock, NULL);
    frame_init(&broker->input, CONNECTION_LINE_MAX);
    *ret_broker = broker;
    return 0;
}

struct tcpb *connection_free(struct tcpb *broker)
{
    if (broker->poll_fd >= 0)
        close(broker->poll_fd);
    if (broker->ready_fd >= 0)
        close(broker->ready_fd);
    close(broker->wake_fd);
    close(broker->fd);
    arrivals_deinit(&broker->arrivals);
    events_deinit(&broker->events);
    frame_deinit(&broker->input);
    writer_deinit(&broker->output);
    /* in a forked child the lock may be held by a thread that is not there */
    if (broker->generation == label_generation())
        pthread_mutex_destroy(&broker->lock);
    free(broker);
    return NULL;
}

static void signal_eventfd(int fd)
{
    uint64_t one = 1;
    if (fd >= 0)
        (void)!write(fd, &one, sizeof(one)); /* EAGAIN: it is signalled already */
}

static void clear_eventfd(int fd)
{
    uint64_t count;
    if (fd >= 0)
        (void)!read(fd, &count, sizeof(count));
}

/* ---- pendings ---- */

static struct pending **bucket(struct tcpb *broker, int64_t id)
{
    return &broker->buckets[(uint64_t)id % CONNECTION_BUCKETS];
}

static void pending_done(struct tcpb *broker, struct pending *pending)
{
    pending->done = true;
    if (pending->wakeup) {
        if (pending == broker->leader)
            signal_eventfd(
                broker->wake_fd); /* somebody else read the leader's answer while it polls */
        else
            pthread_cond_signal(pending->wakeup);
        return;
    }
    if (broker->last_ready)
        broker->last_ready->next_ready = pending;
    else
        broker->first_ready = pending;
    broker->last_ready = pending;
    signal_eventfd(broker->ready_fd);
}

static struct pending *take_pending(struct tcpb *broker, int64_t id)
{
    for (struct pending **p = bucket(broker, id); *p; p = &(*p)->next_in_bucket)
        if ((*p)->reply->id == id) {
            struct pending *pending = *p;
            *p = pending->next_in_bucket;
            return pending;
        }
    return NULL;
}

struct pending *connection_take_ready(struct tcpb *broker)
{
    struct pending *pending = broker->first_ready;
    if (pending) {
        broker->first_ready = pending->next_ready;
        if (!broker->first_ready)
            broker->last_ready = NULL;
    } else if (!broker->failed) {
        clear_eventfd(broker->ready_fd);
    }
    return pending;
}

void connection_fail(struct tcpb *broker, const struct tcpb_error *why)
{
    if (broker->failed)
        return;
    broker->failed = true;
    broker->failure = *why;
    shutdown(broker->fd, SHUT_RDWR);
    if (broker->poll_fd >= 0)
        epoll_ctl(broker->poll_fd, EPOLL_CTL_DEL, broker->fd,
                  NULL); /* it would be ready for ever */
    signal_eventfd(broker->ready_fd);
    signal_eventfd(broker->wake_fd);
    for (size_t i = 0; i < CONNECTION_BUCKETS; i++)
        for (struct pending *pending; (pending = broker->buckets[i]) != NULL;) {
            broker->buckets[i] = pending->next_in_bucket;
            pending_done(broker, pending);
        }
}

__attribute__((format(printf, 4, 5))) static void
fail(struct tcpb *broker, enum tcpb_local_code code, int sys_errno, const char *format, ...)
{
    struct tcpb_error why;
    char text[512];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof(text), format, list);
    va_end(list);
    error_local(&why, code, sys_errno, "%s", text);
    connection_fail(broker, &why);
}

static void fail_lost(struct tcpb *broker, int sys_errno)
{
    if (sys_errno == 0 || sys_errno == ECONNRESET || sys_errno == EPIPE)
        fail(broker, TCPB_LOCAL_LOST, sys_errno,
             "the broker closed the connection: it was stopped or it refused this client (its log "
             "tells); open a "
             "new connection");
    else
        fail(broker, TCPB_LOCAL_LOST, sys_errno, "the connection to the broker was lost: %s",
             strerrordesc_np(sys_errno));
}

/* ---- writing ---- */

static ssize_t send_some(struct tcpb *broker, const char *data, size_t n)
{
    ssize_t sent;
    do
        sent = send(broker->fd, data, n, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (sent < 0 && errno == EINTR);
    if (sent >= 0)
        return sent;
    if (errno != EAGAIN && errno != EWOULDBLOCK) {
        /* what the daemon said before it closed is still to be read: reading will find the end and
         * fail */
        if (errno != EPIPE && errno != ECONNRESET)
            fail_lost(broker, errno);
        return -1;
    }
    return 0;
}

static void watch_output(struct tcpb *broker)
{
    bool wanted = broker->output.n_data > 0;
    if (broker->poll_fd < 0 || broker->failed || wanted == broker->polls_output)
        return;
    struct epoll_event event = {.events = EPOLLIN | (wanted ? EPOLLOUT : 0)};
    if (epoll_ctl(broker->poll_fd, EPOLL_CTL_MOD, broker->fd, &event) == 0)
        broker->polls_output = wanted;
}

static void flush(struct tcpb *broker)
{
    while (broker->output.n_data > 0 && !broker->failed) {
        ssize_t sent = send_some(broker, broker->output.data, broker->output.n_data);
        if (sent < 0)
            broker->output.n_data = 0; /* nobody will read it */
        if (sent <= 0)
            break;
        writer_consume(&broker->output, (size_t)sent);
    }
    watch_output(broker);
}

int connection_send(struct tcpb *broker, struct pending *pending, const struct writer *line,
                    struct tcpb_error *error)
{
    if (broker->failed)
        return error_copy(error, &broker->failure);
    struct pending **first = bucket(broker, pending->reply->id);
    pending->n_line = line->n_data;
    pending->next_in_bucket = *first;
    *first = pending;

    ssize_t sent = 0;
    if (broker->output.n_data == 0)
        sent = send_some(broker, line->data, line->n_data);
    if (sent < 0 || broker->failed || (size_t)sent == line->n_data)
        return 0; /* a failure reaches the pending by the way of all answers */
    writer_raw(&broker->output, line->data + sent, line->n_data - (size_t)sent);
    if (writer_failed(&broker->output))
        fail(broker, TCPB_LOCAL_MEMORY, 0, "out of memory with a request sent half");
    if (broker->leader)
        signal_eventfd(broker->wake_fd); /* it does not wait for output yet */
    watch_output(broker);
    return 0;
}

/* ---- reading ---- */

/* An error without id: a line of ours could not be read as a request at all. Valid as they are,
 * that is the one over the limit of a line: the longest. */
static struct pending *take_longest(struct tcpb *broker)
{
    struct pending *longest = NULL;
    for (size_t i = 0; i < CONNECTION_BUCKETS; i++)
        for (struct pending *p = broker->buckets[i]; p; p = p->next_in_bucket)
            if (!longest || p->n_line > longest->n_line)
                longest = p;
    return longest ? take_pending(broker, longest->reply->id) : NULL;
}

/* An event; or something that a later daemon has to tell. Returns 0, > 0: it is nothing of the
 * kind, or -ENOMEM. */
static int take_notification(struct tcpb *broker, const char *line, size_t n)
{
    const char *params;
    size_t n_params;
    bool other;
    int r = notification_parse(line, n, "Broker.Event", &params, &n_params, &other);
    if (r == 0) {
        events_add(&broker->events, params, n_params);
        signal_eventfd(broker->ready_fd);
    }
    return other ? 0 : r;
}

/* Whose answer is it? Leaves *ret_pending NULL for a line to ignore. Returns 0, > 0: the line is
 * nonsense, or -ENOMEM. */
static int find_pending(struct tcpb *broker, const char *line, size_t n,
                        struct pending **ret_pending)
{
    struct answer answer = {0};
    int64_t id;
    *ret_pending = NULL;
    if (reply_peek_id(line, n, &id)) {
        *ret_pending = take_pending(broker, id);
        return *ret_pending ? 0 : 1;
    }
    int r = answer_parse(&answer, line, n);
    if (r)
        return r < 0 ? r : take_notification(broker, line, n);
    if (answer.id.kind == PROTO_ID_INTEGER)
        *ret_pending = take_pending(broker, answer.id.number);
    else if (answer.id.kind == PROTO_ID_NULL && !answer.result)
        *ret_pending = take_longest(broker);
    answer_deinit(&answer);
    return *ret_pending ? 0 : 1;
}

static void dispatch(struct tcpb *broker)
{
    const char *line;
    size_t n;
    struct pending *pending;
    int r = 0;
    while (!broker->failed && (r = frame_next(&broker->input, &line, &n)) == 0) {
        r = find_pending(broker, line, n, &pending);
        if (r > 0)
            fail(broker, TCPB_LOCAL_PROTOCOL, 0, "that is no answer of a broker: %.*s",
                 (int)(n < 80 ? n : 80), line);
        if (r)
            break;
        if (!pending)
            continue;
        reply_fill(pending->reply, line, n);
        if (arrivals_give(&broker->arrivals, pending->reply))
            fail(broker, TCPB_LOCAL_MEMORY, 0, "out of memory for an answer with a descriptor");
        pending->answered = true;
        pending_done(broker, pending);
    }
    if (broker->failed)
        return;
    if (r == FRAME_E_TOO_LONG)
        fail(broker, TCPB_LOCAL_PROTOCOL, 0, "an answer is longer than %d bytes",
             CONNECTION_LINE_MAX);
    else if (r < 0)
        fail(broker, TCPB_LOCAL_MEMORY, 0, "out of memory for an answer");
}

static void receive(struct tcpb *broker)
{
    char *space;
    size_t n_space;
    ssize_t n = 0;
    while (!broker->failed) {
        if (frame_space(&broker->input, &space, &n_space)) {
            fail(broker, TCPB_LOCAL_MEMORY, 0, "out of memory for an answer");
            return;
        }
        do
            n = arrivals_receive(&broker->arrivals, broker->fd, space, n_space);
        while (n < 0 && errno == EINTR);
        if (n <= 0)
            break;
        frame_filled(&broker->input, (size_t)n);
        dispatch(broker);
        if ((size_t)n < n_space)
            return;
    }
    if (broker->failed || (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)))
        return;
    /* a line without its end was cut off: the daemon ends every line */
    fail_lost(broker, n < 0 ? errno : 0);
}

void connection_process(struct tcpb *broker)
{
    flush(broker);
    receive(broker);
    if (!broker->failed && frame_pending(&broker->input) == 0)
        frame_trim(&broker->input);
}

/* ---- waiting ---- */

static void lead(struct tcpb *broker, struct pending *pending)
{
    broker->leader = pending;
    while (!pending->done) {
        struct pollfd fds[] = {
            {.fd = broker->fd,
             .events = (short)(POLLIN | (broker->output.n_data > 0 ? POLLOUT : 0))},
            {.fd = broker->wake_fd, .events = POLLIN},
        };
        pthread_mutex_unlock(&broker->lock);
        int r = poll(fds, 2, -1);
        int sys_errno = errno;
        pthread_mutex_lock(&broker->lock);
        if (r < 0 && sys_errno != EINTR && sys_errno != EAGAIN)
            fail(broker, TCPB_LOCAL_SYSTEM, sys_errno, "poll: %s", strerrordesc_np(sys_errno));
        if (r > 0 && fds[1].revents)
            clear_eventfd(broker->wake_fd);
        if (!broker->failed)
            connection_process(broker);
    }
    broker->leader = NULL;
    for (struct pending *next = broker->waiters; next; next = next->next_waiter)
        if (!next->done) {
            pthread_cond_signal(next->wakeup);
            break;
        }
}

void connection_wait(struct tcpb *broker, struct pending *pending)
{
    pending->previous_waiter = NULL;
    pending->next_waiter = broker->waiters;
    if (broker->waiters)
        broker->waiters->previous_waiter = pending;
    broker->waiters = pending;

    while (!pending->done)
        if (broker->leader)
            pthread_cond_wait(pending->wakeup, &broker->lock);
        else
            lead(broker, pending);

    if (pending->next_waiter)
        pending->next_waiter->previous_waiter = pending->previous_waiter;
    if (pending->previous_waiter)
        pending->previous_waiter->next_waiter = pending->next_waiter;
    else
        broker->waiters = pending->next_waiter;
}

int connection_make_poll_fd(struct tcpb *broker)
{
    if (broker->poll_fd >= 0)
        return 0;
    int ready_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int poll_fd = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN};
    if (ready_fd < 0 || poll_fd < 0 || epoll_ctl(poll_fd, EPOLL_CTL_ADD, ready_fd, &event) < 0 ||
        (!broker->failed && epoll_ctl(poll_fd, EPOLL_CTL_ADD, broker->fd, &event) < 0)) {
        int r = -errno;
        if (ready_fd >= 0)
            close(ready_fd);
        if (poll_fd >= 0)
            close(poll_fd);
        return r;
    }
    broker->ready_fd = ready_fd;
    broker->poll_fd = poll_fd;
    broker->polls_output = false;
    if (broker->first_ready || broker->events.first || broker->failed)
        signal_eventfd(ready_fd);
    watch_output(broker);
    return 0;
}
