#include "net/stream_internal.h"

#include <errno.h>
#include <linux/sockios.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "net/tls_engine.h"

static unsigned events_wanted(const struct stream *stream)
{
    unsigned events = 0;
    if (stream->interest & STREAM_READABLE)
        events |= stream->read_needs_write ? WATCH_WRITABLE : WATCH_READABLE;
    if (stream->interest & STREAM_WRITABLE)
        events |= stream->write_needs_read ? WATCH_READABLE : WATCH_WRITABLE;
    return events;
}

static void on_event(void *context, unsigned events)
{
    struct stream *stream = context;
    unsigned ready = 0;

    if (events & WATCH_NUDGE && stream_pending(stream))
        ready |= STREAM_READABLE;
    if (events & (stream->read_needs_write ? WATCH_WRITABLE : WATCH_READABLE))
        ready |= STREAM_READABLE;
    if (events & (stream->write_needs_read ? WATCH_READABLE : WATCH_WRITABLE))
        ready |= STREAM_WRITABLE;
    ready &= stream->interest;
    if (ready)
        stream->on_ready(stream->context, ready); /* may free the stream */
}

int stream_import(struct stream **ret_stream, struct connection **connection, struct loop *loop,
                  void (*on_ready)(void *context, unsigned ready), void *context)
{
    ASSERT_OWNER(loop);
    ASSERT((*connection)->fd >= 0);
    struct stream *stream = calloc(1, sizeof(*stream));
    if (!stream)
        return -ENOMEM;
    int r = watch_new(&stream->watch, loop, (*connection)->fd, on_event, stream);
    if (r) {
        free(stream);
        return r;
    }
    stream->kind = (*connection)->tls ? &stream_kind_tls : &stream_kind_tcp;
    stream->loop = loop;
    stream->on_ready = on_ready;
    stream->context = context;
    stream->connection = *connection;
    *connection = NULL;
    *ret_stream = stream;
    return 0;
}

int stream_export(struct stream **stream, struct connection **ret_connection)
{
    ASSERT_OWNER((*stream)->loop);
    *ret_connection = (*stream)->connection;
    watch_free((*stream)->watch);
    free((*stream)->error);
    free(*stream);
    *stream = NULL;
    return 0;
}

struct stream *stream_free(struct stream *stream, bool graceful)
{
    if (!stream)
        return NULL;
    ASSERT_OWNER(stream->loop);
    if (graceful && !stream->failed)
        stream->kind->goodbye(stream);
    watch_free(stream->watch); /* before the fd is closed */
    connection_free(stream->connection);
    free(stream->error);
    free(stream);
    return NULL;
}

struct stream *stream_abort(struct stream *stream)
{
    if (!stream)
        return NULL;
    const struct linger reset = {.l_onoff = 1, .l_linger = 0};
    (void)setsockopt(stream->connection->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    return stream_free(stream, false);
}

int stream_read(struct stream *stream, void *buffer, size_t n, size_t *ret_n)
{
    ASSERT_OWNER(stream->loop);
    ASSERT(n > 0); /* nothing read is an end, not an empty buffer */
    *ret_n = 0;
    if (stream->failed)
        return STREAM_E_FAILED;
    int r = stream->kind->read(stream, buffer, n, ret_n);
    /* an end behind the data: the socket may never become readable again */
    if (r == 0 && *ret_n < n && stream->interest & STREAM_READABLE && stream_pending(stream))
        watch_nudge(stream->watch);
    return r;
}

int stream_peek(const struct stream *stream)
{
    char byte;
    ssize_t n;

    ASSERT_OWNER(stream->loop);
    ASSERT(!stream->connection->tls);
    do
        n = recv(stream->connection->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    if (n > 0)
        return 0;
    return n == 0 ? STREAM_E_END : STREAM_E_AGAIN;
}

bool stream_pending(const struct stream *stream)
{
    ASSERT_OWNER(stream->loop);
    return !stream->failed && stream->kind->pending(stream);
}

int stream_write(struct stream *stream, const void *data, size_t n, size_t *ret_n)
{
    ASSERT_OWNER(stream->loop);
    *ret_n = 0;
    if (stream->failed)
        return STREAM_E_FAILED;
    return n == 0 ? 0 : stream->kind->write(stream, data, n, ret_n);
}

size_t stream_unacknowledged(const struct stream *stream)
{
    int n = 0;

    ASSERT_OWNER(stream->loop);
    return ioctl(stream->connection->fd, SIOCOUTQ, &n) < 0 || n < 0 ? 0 : (size_t)n; /* tcp(7) */
}

int stream_shutdown(struct stream *stream)
{
    ASSERT_OWNER(stream->loop);
    return stream->failed ? STREAM_E_FAILED : stream->kind->shutdown(stream);
}

int stream_finish(struct stream *stream)
{
    ASSERT_OWNER(stream->loop);
    return stream->failed ? STREAM_E_FAILED : stream->kind->finish(stream);
}

void stream_expect_much(struct stream *stream)
{
    ASSERT_OWNER(stream->loop);
    if (stream->connection->tls)
        tls_engine_expect_much(stream->connection->tls);
}

int stream_interest(struct stream *stream, unsigned ready)
{
    ASSERT_OWNER(stream->loop);
    stream->interest = ready;
    if (ready & STREAM_READABLE && stream_pending(stream))
        watch_nudge(stream->watch);
    return watch_set(stream->watch, events_wanted(stream));
}

void stream_update_watch(struct stream *stream)
{
    int r = watch_set(stream->watch, events_wanted(stream));
    if (r)
        stream_fail(stream, -r);
}

int stream_fail_with(struct stream *stream, const struct net_error *error)
{
    stream->failed = true;
    stream->error = malloc(sizeof(*stream->error));
    if (stream->error)
        *stream->error = *error;
    return STREAM_E_FAILED;
}

int stream_fail(struct stream *stream, int sys_errno)
{
    const struct net_error error = {
        .stage = NET_STAGE_IO, .cause = NET_SYSTEM, .sys_errno = sys_errno ? sys_errno : EIO};
    return stream_fail_with(stream, &error);
}

const struct net_error *stream_error(const struct stream *stream)
{
    static const struct net_error none, no_memory = {
                                            .stage = NET_STAGE_IO,
                                            .cause = NET_SYSTEM,
                                            .sys_errno = ENOMEM,
                                        };
    if (stream->error)
        return stream->error;
    return stream->failed ? &no_memory : &none;
}
bool stream_bare(const struct stream *stream)
{
    return !stream->failed &&
           (!stream->connection->tls || tls_engine_in_kernel(stream->connection->tls));
}

int stream_fd(const struct stream *stream)
{
    return stream->connection->fd;
}

const struct address *stream_local(const struct stream *stream)
{
    return &stream->connection->local;
}
const struct address *stream_remote(const struct stream *stream)
{
    return &stream->connection->remote;
}
const struct tls_facts *stream_tls(const struct stream *stream)
{
    return stream->connection->facts;
}
