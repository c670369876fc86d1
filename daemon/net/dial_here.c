#include "net/dial_here.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>

static bool is_of_this_kind(const struct dial *dial)
{
    if (dial->secure || dial->upgrade || dial->explain || dial->local.n_bytes ||
        dial->n_addresses != 1 || !address_is_loopback(&dial->addresses[0]))
        return false;
    return dial->family == AF_UNSPEC || dial->family == address_family(&dial->addresses[0]);
}

static bool may_be_tried(const struct dial *dial, struct backoff *backoff, int64_t now_us)
{
    struct backoff_pause pause;

    return now_us < dial->deadline_us &&
           !backoff_pausing(backoff, &dial->addresses[0], &dial->settings.backoff, now_us, &pause);
}

static bool connect_at_once(int fd, const struct address *address)
{
    struct pollfd item = {.fd = fd, .events = POLLOUT};
    int error = 0;
    socklen_t n = sizeof(error);

    if (connect(fd, &address->any, address->n_bytes) == 0)
        return true;
    return errno == EINPROGRESS && poll(&item, 1, 0) > 0 &&
           getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &n) == 0 && error == 0;
}

static bool make(const struct dial *dial, struct connection *connection)
{
    const struct address *address = &dial->addresses[0];

    connection->fd =
        socket(address_family(address), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);
    if (connection->fd < 0 || tcp_options_set(connection->fd, &dial->settings.tcp) ||
        !connect_at_once(connection->fd, address))
        return false;
    /* nor may it have met itself (dial_race.c) */
    return address_of_socket(connection->fd, &connection->local, &connection->remote) == 0 &&
           !address_equal(&connection->local, &connection->remote);
}

bool dial_here(struct dial *dial, struct backoff *backoff)
{
    int64_t started_us = loop_clock_us();

    ASSERT(dial->own_settings);
    if (!is_of_this_kind(dial) || !may_be_tried(dial, backoff, started_us))
        return false;
    struct connection *connection = calloc(1, sizeof(*connection));
    if (!connection)
        return false;
    if (!make(dial, connection)) {
        connection_free(connection);
        return false;
    }
    backoff_connected(backoff, &dial->addresses[0]);
    dial->connection = connection;
    dial->error = (struct net_error){.cause = NET_OK};
    dial->connect_us = loop_clock_us() - started_us;
    dial->queue_us = dial->handshake_us = 0;
    return true;
}
