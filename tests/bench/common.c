#include "bench/common.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

void bench_die(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("bench: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(1);
}

double bench_now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

long bench_number(const char *text, long min, long max)
{
    char *end;
    errno = 0;
    long number = strtol(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || number < min || number > max)
        bench_die("%s is not a number from %ld to %ld", text, min, max);
    return number;
}

int bench_dial(const char *address, uint16_t port)
{
    struct sockaddr_in peer = {.sin_family = AF_INET, .sin_port = htons(port)};
    if (inet_pton(AF_INET, address, &peer.sin_addr) != 1)
        bench_die("%s is not an IPv4 address", address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        bench_die("socket: %s", strerror(errno));
    int on = 1;
    if (connect(fd, (const struct sockaddr *)&peer, sizeof peer) < 0 ||
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) < 0)
        bench_die("connect to %s port %u: %s", address, port, strerror(errno));
    return fd;
}

int bench_dial_unix(const char *path)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof name.sun_path)
        bench_die("%s is too long for a socket's path", path);
    memcpy(name.sun_path, path, strlen(path) + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (const struct sockaddr *)&name, sizeof name) < 0)
        bench_die("connect to %s: %s", path, strerror(errno));
    return fd;
}

void bench_write(int fd, const char *data, size_t n)
{
    while (n > 0) {
        ssize_t written = send(fd, data, n, MSG_NOSIGNAL);
        if (written < 0 && errno != EINTR)
            bench_die("send: %s", strerror(errno));
        if (written > 0) {
            data += written;
            n -= (size_t)written;
        }
    }
}

void bench_read(int fd, char *data, size_t n)
{
    while (n > 0) {
        ssize_t got = recv(fd, data, n, 0);
        if (got == 0)
            bench_die("the origin closed the connection");
        if (got < 0 && errno != EINTR)
            bench_die("recv: %s", strerror(errno));
        if (got > 0) {
            data += got;
            n -= (size_t)got;
        }
    }
}
