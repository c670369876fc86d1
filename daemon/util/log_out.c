#include "util/log_out.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum way {
    WAY_PLAIN,  /* a file: written to as it is */
    WAY_OWN,    /* our own open file description, which does not block */
    WAY_ASK,    /* poll(2) first */
    WAY_SOCKET, /* MSG_DONTWAIT */
};

enum { TRIES_MAX = 8 };

static enum way way;
static int out_fd = STDERR_FILENO;
static atomic_uint n_lost;
static atomic_bool unfinished; /* the last line has no end */

void log_out_open(void)
{
    struct stat status;

    if (fstat(STDERR_FILENO, &status) < 0 || S_ISREG(status.st_mode))
        return;
    if (S_ISSOCK(status.st_mode)) {
        way = WAY_SOCKET;
        return;
    }
    int fd = open("/proc/self/fd/2", O_WRONLY | O_APPEND | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    way = fd < 0 ? WAY_ASK : WAY_OWN;
    if (fd >= 0)
        out_fd = fd;
}

static ssize_t put_some(const char *data, size_t n)
{
    struct pollfd item = {.fd = out_fd, .events = POLLOUT};

    if (way == WAY_SOCKET)
        return send(out_fd, data, n, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (way == WAY_ASK && poll(&item, 1, 0) == 0) {
        errno = EAGAIN;
        return -1;
    }
    return write(out_fd, data, n);
}

static size_t put(const char *data, size_t n)
{
    size_t done = 0;

    for (unsigned i = 0; done < n && i < TRIES_MAX; i++) {
        ssize_t put = put_some(data + done, n - done);
        if (put > 0)
            done += (size_t)put;
        else if (put == 0 || errno != EINTR)
            break;
    }
    return done;
}

bool log_out(const char *line, size_t n_line)
{
    /* a file system that was full took a part of the last one */
    if (atomic_exchange(&unfinished, false) && put("\n", 1) == 0)
        atomic_store(&unfinished, true);
    size_t n = put(line, n_line);
    if (n == n_line)
        return true;
    if (n > 0)
        atomic_store(&unfinished, true);
    atomic_fetch_add_explicit(&n_lost, 1, memory_order_relaxed);
    return false;
}

unsigned log_out_take_lost(void)
{
    if (atomic_load_explicit(&n_lost, memory_order_relaxed) == 0)
        return 0;
    return atomic_exchange_explicit(&n_lost, 0, memory_order_relaxed);
}
