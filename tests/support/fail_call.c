/*
 * fail_call: preloaded into the daemon, lets system calls fail, or read and write one byte only, as
 * the test has it written into the page (fault_page.h).
 *
 * What the C library does within itself (getaddrinfo(3), a stream's buffer) is not seen here. A
 * close(2) that fails has closed, as Linux does it; a connect(2) that is interrupted has begun; a
 * connection that is said to be dead is.
 */
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "fail_call.h"

/* What the kernel says of a connection must hold afterwards, too. */
static void make_true(int fd, int error)
{
    if (error == ECONNRESET || error == ETIMEDOUT || error == EPIPE)
        (void)syscall(SYS_shutdown, fd, error == EPIPE ? SHUT_WR : SHUT_RDWR);
}

/* MAY_FAIL() with a count of bytes, which may become one. */
#define MAY_FAIL_OR_CUT(kind, n)                                                                   \
    do {                                                                                           \
        int fault;                                                                                 \
        if (fault_due(FAULT_##kind, __builtin_return_address(0), &fault)) {                        \
            if (fault != FAULT_SHORT) {                                                            \
                make_true(fd, fault);                                                              \
                errno = fault;                                                                     \
                return -1;                                                                         \
            }                                                                                      \
            (n) = (n) > 1 ? 1 : (n);                                                               \
        }                                                                                          \
    } while (0)

/* ---- system calls that are passed on as they are ---- */

EXPORT int socket(int family, int type, int protocol)
{
    MAY_FAIL(socket, -1);
    return (int)syscall(SYS_socket, family, type, protocol);
}

EXPORT int bind(int fd, const struct sockaddr *address, socklen_t n)
{
    MAY_FAIL(bind, -1);
    return (int)syscall(SYS_bind, fd, address, n);
}

EXPORT int listen(int fd, int backlog)
{
    MAY_FAIL(listen, -1);
    return (int)syscall(SYS_listen, fd, backlog);
}

EXPORT int accept4(int fd, struct sockaddr *address, socklen_t *n, int flags)
{
    MAY_FAIL(accept4, -1);
    return (int)syscall(SYS_accept4, fd, address, n, flags);
}

EXPORT int setsockopt(int fd, int level, int option, const void *value, socklen_t n)
{
    MAY_FAIL(setsockopt, -1);
    return (int)syscall(SYS_setsockopt, fd, level, option, value, n);
}

EXPORT int getsockopt(int fd, int level, int option, void *value, socklen_t *n)
{
    MAY_FAIL(getsockopt, -1);
    return (int)syscall(SYS_getsockopt, fd, level, option, value, n);
}

EXPORT int getsockname(int fd, struct sockaddr *address, socklen_t *n)
{
    MAY_FAIL(getsockname, -1);
    return (int)syscall(SYS_getsockname, fd, address, n);
}

EXPORT int getpeername(int fd, struct sockaddr *address, socklen_t *n)
{
    MAY_FAIL(getpeername, -1);
    return (int)syscall(SYS_getpeername, fd, address, n);
}

EXPORT int shutdown(int fd, int how)
{
    MAY_FAIL(shutdown, -1);
    return (int)syscall(SYS_shutdown, fd, how);
}

EXPORT int socketpair(int family, int type, int protocol, int fds[2])
{
    MAY_FAIL(socketpair, -1);
    return (int)syscall(SYS_socketpair, family, type, protocol, fds);
}

EXPORT int epoll_create1(int flags)
{
    MAY_FAIL(epoll_create1, -1);
    return (int)syscall(SYS_epoll_create1, flags);
}

EXPORT int epoll_pwait(int fd, struct epoll_event *events, int n, int timeout, const sigset_t *set)
{
    MAY_FAIL(epoll_pwait, -1);
    return (int)syscall(SYS_epoll_pwait, fd, events, n, timeout, set, 8);
}

EXPORT int eventfd(unsigned value, int flags)
{
    MAY_FAIL(eventfd, -1);
    return (int)syscall(SYS_eventfd2, value, flags);
}

EXPORT int poll(struct pollfd *items, nfds_t n, int timeout)
{
    MAY_FAIL(poll, -1);
    return (int)syscall(SYS_poll, items, n, timeout);
}

EXPORT int pipe2(int fds[2], int flags)
{
    MAY_FAIL(pipe2, -1);
    return (int)syscall(SYS_pipe2, fds, flags);
}

EXPORT int unlink(const char *path)
{
    MAY_FAIL(unlink, -1);
    return (int)syscall(SYS_unlink, path);
}

EXPORT int mkdir(const char *path, mode_t mode)
{
    MAY_FAIL(mkdir, -1);
    return (int)syscall(SYS_mkdir, path, mode);
}

EXPORT int chmod(const char *path, mode_t mode)
{
    MAY_FAIL(chmod, -1);
    return (int)syscall(SYS_chmod, path, mode);
}

EXPORT int fchmod(int fd, mode_t mode)
{
    MAY_FAIL(fchmod, -1);
    return (int)syscall(SYS_fchmod, fd, mode);
}

EXPORT int lchown(const char *path, uid_t user, gid_t group)
{
    MAY_FAIL(lchown, -1);
    return (int)syscall(SYS_lchown, path, user, group);
}

EXPORT int ftruncate(int fd, off_t n)
{
    MAY_FAIL(ftruncate, -1);
    return (int)syscall(SYS_ftruncate, fd, n);
}

EXPORT int memfd_create(const char *name, unsigned flags)
{
    MAY_FAIL(memfd_create, -1);
    return (int)syscall(SYS_memfd_create, name, flags);
}

EXPORT ssize_t getrandom(void *buffer, size_t n, unsigned flags)
{
    MAY_FAIL(getrandom, -1);
    return (ssize_t)syscall(SYS_getrandom, buffer, n, flags);
}

EXPORT int fstat(int fd, struct stat *status)
{
    MAY_FAIL(fstat, -1);
    NEXT(fstat);
    return function(fd, status);
}

EXPORT int stat(const char *restrict path, struct stat *restrict status)
{
    MAY_FAIL(stat, -1);
    NEXT(stat);
    return function(path, status);
}

EXPORT int lstat(const char *restrict path, struct stat *restrict status)
{
    MAY_FAIL(lstat, -1);
    NEXT(lstat);
    return function(path, status);
}

/* ---- reading and writing ---- */

EXPORT ssize_t read(int fd, void *buffer, size_t n)
{
    MAY_FAIL_OR_CUT(read, n);
    return syscall(SYS_read, fd, buffer, n);
}

EXPORT ssize_t __read_chk(int fd, void *buffer, size_t n, size_t room)
{
    (void)room;
    MAY_FAIL_OR_CUT(read, n);
    return syscall(SYS_read, fd, buffer, n);
}

EXPORT ssize_t readv(int fd, const struct iovec *parts, int n)
{
    MAY_FAIL_OR_CUT(readv, n);
    return syscall(SYS_readv, fd, parts, n);
}

EXPORT ssize_t recv(int fd, void *buffer, size_t n, int flags)
{
    MAY_FAIL_OR_CUT(recv, n);
    return syscall(SYS_recvfrom, fd, buffer, n, flags, NULL, NULL);
}

EXPORT ssize_t __recv_chk(int fd, void *buffer, size_t n, size_t room, int flags)
{
    (void)room;
    MAY_FAIL_OR_CUT(recv, n);
    return syscall(SYS_recvfrom, fd, buffer, n, flags, NULL, NULL);
}

EXPORT ssize_t recvmsg(int fd, struct msghdr *message, int flags)
{
    struct iovec first;
    struct msghdr cut = *message;
    size_t n = 2;

    MAY_FAIL_OR_CUT(recvmsg, n);
    if (n == 2 || message->msg_iovlen == 0)
        return syscall(SYS_recvmsg, fd, message, flags);
    first = (struct iovec){message->msg_iov[0].iov_base, 1};
    cut.msg_iov = &first;
    cut.msg_iovlen = 1;
    ssize_t got = syscall(SYS_recvmsg, fd, &cut, flags);
    message->msg_controllen = cut.msg_controllen;
    message->msg_namelen = cut.msg_namelen;
    message->msg_flags = cut.msg_flags;
    return got;
}

EXPORT ssize_t write(int fd, const void *data, size_t n)
{
    if (fd == STDERR_FILENO)
        MAY_FAIL_OR_CUT(log_write, n);
    else
        MAY_FAIL_OR_CUT(write, n);
    return syscall(SYS_write, fd, data, n);
}

EXPORT ssize_t writev(int fd, const struct iovec *parts, int n)
{
    MAY_FAIL_OR_CUT(writev, n);
    return syscall(SYS_writev, fd, parts, n);
}

EXPORT ssize_t send(int fd, const void *data, size_t n, int flags)
{
    MAY_FAIL_OR_CUT(send, n);
    return syscall(SYS_sendto, fd, data, n, flags, NULL, 0);
}

EXPORT ssize_t sendto(int fd, const void *data, size_t n, int flags, const struct sockaddr *to,
                      socklen_t n_to)
{
    MAY_FAIL(sendto, -1); /* a datagram, so there is no connection that dies */
    return syscall(SYS_sendto, fd, data, n, flags, to, n_to);
}

EXPORT ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    struct iovec first;
    struct msghdr cut = *message;
    size_t n = 2;

    MAY_FAIL_OR_CUT(sendmsg, n);
    if (n == 2 || message->msg_iovlen == 0)
        return syscall(SYS_sendmsg, fd, message, flags);
    first = (struct iovec){message->msg_iov[0].iov_base, 1};
    cut.msg_iov = &first;
    cut.msg_iovlen = 1;
    return syscall(SYS_sendmsg, fd, &cut, flags);
}

/* ---- those that have an effect although they fail, and those with an optional argument ---- */

EXPORT int connect(int fd, const struct sockaddr *address, socklen_t n)
{
    int fault;

    if (!fault_due(FAULT_connect, __builtin_return_address(0), &fault))
        return (int)syscall(SYS_connect, fd, address, n);
    if (fault == EINTR && syscall(SYS_connect, fd, address, n) == 0)
        return 0;
    errno = fault;
    return -1;
}

EXPORT int close(int fd)
{
    int fault, r = (int)syscall(SYS_close, fd);

    if (r < 0 || !fault_due(FAULT_close, __builtin_return_address(0), &fault))
        return r;
    errno = fault;
    return -1;
}

/* libuv's look (uv__io_check_fd()) has no descriptor in its event. */
EXPORT int epoll_ctl(int fd, int operation, int other, struct epoll_event *event)
{
    if (operation == EPOLL_CTL_ADD && event && event->data.fd == -1)
        MAY_FAIL(epoll_probe, -1);
    else
        MAY_FAIL(epoll_ctl, -1);
    return (int)syscall(SYS_epoll_ctl, fd, operation, other, event);
}

static long argument(va_list arguments)
{
    return va_arg(arguments, long);
}

#define VARIADIC(last, result)                                                                     \
    long result;                                                                                   \
    do {                                                                                           \
        va_list arguments;                                                                         \
        va_start(arguments, last);                                                                 \
        (result) = argument(arguments);                                                            \
        va_end(arguments);                                                                         \
    } while (0)

EXPORT int fcntl(int fd, int command, ...)
{
    MAY_FAIL(fcntl, -1);
    VARIADIC(command, value);
    return (int)syscall(SYS_fcntl, fd, command, value);
}

EXPORT int fcntl64(int fd, int command, ...)
{
    MAY_FAIL(fcntl, -1);
    VARIADIC(command, value);
    return (int)syscall(SYS_fcntl, fd, command, value);
}

EXPORT int ioctl(int fd, unsigned long request, ...)
{
    MAY_FAIL(ioctl, -1);
    VARIADIC(request, value);
    return (int)syscall(SYS_ioctl, fd, request, value);
}

EXPORT int open(const char *path, int flags, ...)
{
    MAY_FAIL(open, -1);
    VARIADIC(flags, mode);
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags, (mode_t)mode);
}

EXPORT int open64(const char *path, int flags, ...)
{
    MAY_FAIL(open, -1);
    VARIADIC(flags, mode);
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags, (mode_t)mode);
}

EXPORT int __open_2(const char *path, int flags)
{
    MAY_FAIL(open, -1);
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags, 0);
}

EXPORT int __open64_2(const char *path, int flags)
{
    MAY_FAIL(open, -1);
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags, 0);
}

EXPORT int openat(int folder, const char *path, int flags, ...)
{
    MAY_FAIL(openat, -1);
    VARIADIC(flags, mode);
    return (int)syscall(SYS_openat, folder, path, flags, (mode_t)mode);
}
