#include "net/warm.h"

#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <sys/socket.h>

#include "net/tls_engine.h"

static enum warm_state look_plain(const struct connection *connection)
{
    char byte;
    ssize_t n;

    do
        n = recv(connection->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    if (n > 0)
        return WARM_SPEAKS;
    return n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK) ? WARM_ALIVE : WARM_ENDED;
}

static enum warm_state look_tls(const struct connection *connection)
{
    struct net_error ignored;
    char bytes[WARM_READ];
    size_t n;

    switch (tls_engine_read(connection->tls, bytes, sizeof(bytes), &n, &ignored)) {
    case 0:
        return WARM_SPEAKS;
    case TLS_E_WANT_READ:
        return WARM_ALIVE;
    default: /* an end, a failure, or an answer of TLS itself that does not fit into the socket */
        return WARM_ENDED;
    }
}

/* Last words and an end behind them: a server that is tired of waiting often says so. */
static bool has_ended(const struct connection *connection)
{
    struct pollfd poll_fd = {.fd = connection->fd, .events = POLLRDHUP};
    return poll(&poll_fd, 1, 0) != 0;
}

enum warm_state warm_look(struct connection *connection)
{
    enum warm_state state = connection->tls ? look_tls(connection) : look_plain(connection);
    return state == WARM_SPEAKS && has_ended(connection) ? WARM_ENDED : state;
}

int64_t warm_until(const struct connection *connection)
{
    bool verified = connection->facts && connection->facts->verified;
    return verified ? tls_engine_until(connection->tls) : INT64_MAX;
}

struct connection *warm_retire(struct connection *connection)
{
    struct net_error ignored;

    if (!connection)
        return NULL;
    /* with bytes unread the kernel would send a reset, and the peer might never see close_notify */
    if (connection->tls && warm_look(connection) == WARM_ALIVE &&
        !tls_engine_write_blocked(connection->tls))
        (void)!tls_engine_close_notify(connection->tls, &ignored);
    return connection_free(connection);
}
