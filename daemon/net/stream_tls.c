#include "net/stream_internal.h"
#include "net/tls_engine.h"

#include <errno.h>
#include <sys/socket.h>

static struct tls_engine *engine_of(const struct stream *stream)
{
    return stream->connection->tls;
}

/* What the engine waits for becomes what the socket is watched for. */
static int translate(struct stream *stream, int r, const struct net_error *error, bool *needs_other,
                     int other)
{
    bool needs = r == other;
    if (needs != *needs_other) {
        *needs_other = needs;
        stream_update_watch(stream);
        if (stream->failed)
            return STREAM_E_FAILED;
    }
    switch (r) {
    case 0:
        return 0;
    case TLS_E_WANT_READ:
    case TLS_E_WANT_WRITE:
        return STREAM_E_AGAIN;
    case TLS_E_END:
        return STREAM_E_END;
    case TLS_E_FAILED:
        return stream_fail_with(stream, error);
    default:
        return stream_fail(stream, -r);
    }
}

static int tls_read(struct stream *stream, void *buffer, size_t n, size_t *ret_n)
{
    struct net_error error; /* filled when it fails */
    int r = tls_engine_read(engine_of(stream), buffer, n, ret_n, &error);
    return translate(stream, r, &error, &stream->read_needs_write, TLS_E_WANT_WRITE);
}

static int tls_write(struct stream *stream, const void *data, size_t n, size_t *ret_n)
{
    struct net_error error; /* filled when it fails */
    int r = tls_engine_write(engine_of(stream), data, n, ret_n, &error);
    return translate(stream, r, &error, &stream->write_needs_read, TLS_E_WANT_READ);
}

static int send_close_notify(struct stream *stream)
{
    /* the caller breaks the contract: it would wait for ever */
    if (tls_engine_write_blocked(engine_of(stream))) {
        const struct net_error error = {
            .stage = NET_STAGE_IO,
            .cause = NET_TLS_IO,
            .library = "the end of sending was asked for inside a record",
        };
        return stream_fail_with(stream, &error);
    }
    struct net_error error; /* filled when it fails */
    int r = tls_engine_close_notify(engine_of(stream), &error);
    return translate(stream, r, &error, &stream->write_needs_read, TLS_E_WANT_READ);
}

static int tls_shutdown(struct stream *stream)
{
    if (!tls_engine_can_half_close(engine_of(stream)))
        return STREAM_E_NO_HALF_CLOSE;
    return send_close_notify(stream);
}

static int tls_finish(struct stream *stream)
{
    int r = send_close_notify(stream);
    if (r)
        return r;
    return shutdown(stream->connection->fd, SHUT_WR) < 0 ? stream_fail(stream, errno) : 0;
}

static bool tls_pending(const struct stream *stream)
{
    return tls_engine_pending(engine_of(stream));
}

static void tls_goodbye(struct stream *stream)
{
    struct net_error ignored;
    if (tls_engine_write_blocked(engine_of(stream)))
        return; /* an alert inside a record would be garbage */
    if (tls_engine_close_notify(engine_of(stream), &ignored) != 0)
        return; /* no room: the peer sees a truncation, as it must */
}

const struct stream_kind stream_kind_tls = {
    .read = tls_read,
    .write = tls_write,
    .shutdown = tls_shutdown,
    .finish = tls_finish,
    .pending = tls_pending,
    .goodbye = tls_goodbye,
};
