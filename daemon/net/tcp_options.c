#include "net/tcp_options.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

/* Seconds for the kernel, at least one when it is on. */
static int seconds(int64_t ms)
{
    return ms < 1000 ? 1 : (int)(ms / 1000);
}

static int set_option(int fd, int level, int name, int value)
{
    return setsockopt(fd, level, name, &value, sizeof(value)) < 0 ? -errno : 0;
}

int tcp_options_set(int fd, const struct tcp_options *options)
{
    int r = 0;
    if (options->nodelay)
        r = set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    if (r == 0 && options->user_timeout_ms > 0)
        r = set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, (int)options->user_timeout_ms);
    if (r || options->keepalive_ms <= 0)
        return r;
    r = set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    if (r == 0)
        r = set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, seconds(options->keepalive_ms));
    if (r == 0 && options->keepalive_interval_ms > 0)
        r = set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, seconds(options->keepalive_interval_ms));
    /* TCP_USER_TIMEOUT decides instead (tcp(7)) */
    if (r == 0 && options->keepalive_probes > 0 && options->user_timeout_ms <= 0)
        r = set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, options->keepalive_probes);
    return r;
}
