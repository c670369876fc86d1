#include "net/stream_internal.h"

#include <errno.h>
#include <sys/socket.h>

static bool would_block(int error)
{
    return error == EAGAIN || error == EWOULDBLOCK;
}

static int tcp_read(struct stream *stream, void *buffer, size_t n, size_t *ret_n)
{
    ssize_t got;
    do
        got = recv(stream->connection->fd, buffer, n, 0);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return would_block(errno) ? STREAM_E_AGAIN : stream_fail(stream, errno);
    if (got == 0)
        return STREAM_E_END;
    *ret_n = (size_t)got;
    return 0;
}

static int tcp_write(struct stream *stream, const void *data, size_t n, size_t *ret_n)
{
    ssize_t put;
    do
        put = send(stream->connection->fd, data, n, MSG_NOSIGNAL);
    while (put < 0 && errno == EINTR);
    if (put < 0)
        return would_block(errno) ? STREAM_E_AGAIN : stream_fail(stream, errno);
    *ret_n = (size_t)put;
    return 0;
}

static int tcp_shutdown(struct stream *stream)
{
    return shutdown(stream->connection->fd, SHUT_WR) < 0 ? stream_fail(stream, errno) : 0;
}

static bool tcp_pending(const struct stream *stream)
{
    (void)stream; /* the socket shows all there is */
    return false;
}

static void tcp_goodbye(struct stream *stream)
{
    (void)stream; /* close(2) sends the FIN */
}

const struct stream_kind stream_kind_tcp = {
    .read = tcp_read,
    .write = tcp_write,
    .shutdown = tcp_shutdown,
    .finish = tcp_shutdown,
    .pending = tcp_pending,
    .goodbye = tcp_goodbye,
};
