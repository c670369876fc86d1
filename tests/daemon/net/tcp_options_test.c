#include "net/tcp_options.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "support/test.h"

static int option(int fd, int level, int name)
{
    int value = -1;
    socklen_t n = sizeof(value);
    CHECK_INT(getsockopt(fd, level, name, &value, &n), 0);
    return value;
}

TEST(tcp_options, all)
{
    struct tcp_options options = {.keepalive_ms = 61000,
                                  .keepalive_interval_ms = 11999,
                                  .keepalive_probes = 7,
                                  .user_timeout_ms = 300500,
                                  .nodelay = true};
    int fd = socket(AF_INET, SOCK_STREAM, 0), fresh = socket(AF_INET, SOCK_STREAM, 0);
    CHECK_INT(tcp_options_set(fd, &options), 0);
    CHECK(option(fd, IPPROTO_TCP, TCP_NODELAY));
    CHECK_INT(option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT), 300500);
    CHECK(option(fd, SOL_SOCKET, SO_KEEPALIVE));
    CHECK_INT(option(fd, IPPROTO_TCP, TCP_KEEPIDLE), 61);
    CHECK_INT(option(fd, IPPROTO_TCP, TCP_KEEPINTVL), 11);
    CHECK_INT(option(fd, IPPROTO_TCP, TCP_KEEPCNT), option(fresh, IPPROTO_TCP, TCP_KEEPCNT));
    options.user_timeout_ms = 0; /* which would decide */
    CHECK_INT(tcp_options_set(fresh, &options), 0);
    CHECK_INT(option(fresh, IPPROTO_TCP, TCP_KEEPCNT), 7);
    close(fd);
    close(fresh);
}

TEST(tcp_options, off_is_the_default)
{
    const struct tcp_options off = {0}, probes_alone = {.keepalive_probes = 3};
    int fd = socket(AF_INET6, SOCK_STREAM, 0), fresh = socket(AF_INET, SOCK_STREAM, 0);
    CHECK_INT(tcp_options_set(fd, &off), 0);
    CHECK_INT(tcp_options_set(fd, &probes_alone), 0);
    CHECK(!option(fd, IPPROTO_TCP, TCP_NODELAY));
    CHECK(!option(fd, SOL_SOCKET, SO_KEEPALIVE));
    CHECK_INT(option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT), 0);
    CHECK_INT(option(fd, IPPROTO_TCP, TCP_KEEPCNT), option(fresh, IPPROTO_TCP, TCP_KEEPCNT));
    close(fd);
    close(fresh);
}

/* Less than the second that the kernel counts in is not off. */
TEST(tcp_options, part_of_a_second)
{
    const struct tcp_options options = {.keepalive_ms = 1, .keepalive_interval_ms = 999};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    CHECK_INT(tcp_options_set(fd, &options), 0);
    CHECK_INT(option(fd, IPPROTO_TCP, TCP_KEEPIDLE), 1);
    CHECK_INT(option(fd, IPPROTO_TCP, TCP_KEEPINTVL), 1);
    close(fd);
}

TEST(tcp_options, failures_are_told)
{
    const struct tcp_options nodelay = {.nodelay = true}, too_long = {.keepalive_ms = 32768000};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    CHECK_INT(tcp_options_set(fd, &too_long), -EINVAL);
    close(fd);
    fd = socket(AF_UNIX, SOCK_STREAM, 0);
    CHECK_INT(tcp_options_set(fd, &nodelay), -EOPNOTSUPP);
    close(fd);
    CHECK_INT(tcp_options_set(-1, &nodelay), -EBADF);
}
