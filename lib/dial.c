#include "lib/dial.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/error.h"
#include "proto/socket_path.h"

static int no_daemon(struct tcpb_error *error, const char *path, int sys_errno)
{
    const char *why = strerrordesc_np(sys_errno);
    switch (sys_errno) {
    case ENOENT:
    case ENOTDIR:
        return error_local(
            error, TCPB_LOCAL_NO_DAEMON, sys_errno,
            "there is no broker at %s: start it (systemctl enable --now tcpbroker.socket, or "
            "tcpbrokerd), or name its socket (--socket, $TCPBROKER_SOCKET)",
            path);
    case ECONNREFUSED:
        return error_local(
            error, TCPB_LOCAL_NO_DAEMON, sys_errno,
            "nobody listens at %s any more: start the broker again (systemctl restart "
            "tcpbroker.socket, or tcpbrokerd)",
            path);
    case EACCES:
    case EPERM:
        return error_local(
            error, TCPB_LOCAL_NO_ACCESS, sys_errno,
            "%s may not be used by this user: become a member of its group (usermod -aG tcpbroker "
            "USER, then log in again)",
            path);
    default:
        return error_local(error, TCPB_LOCAL_SYSTEM, sys_errno, "cannot connect to %s: %s", path,
                           why ? why : "?");
    }
}

static int dial_path(const char *path, int *ret_fd, struct tcpb_error *error)
{
    struct sockaddr_un address;
    socklen_t n;
    if (socket_path_address(path, &address, &n))
        return error_local(error, TCPB_LOCAL_ARGUMENT, ENAMETOOLONG,
                           "\"%.40s\" cannot be a socket: its path must have 1 to 107 bytes", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return no_daemon(error, path, errno);
    int r;
    do
        r = connect(fd, (const struct sockaddr *)&address, n);
    while (r < 0 &&
           errno ==
               EINTR); /* a Unix socket's connect() that was interrupted has done nothing yet */
    /* non-blocking only now: a full backlog is to be waited for */
    if (r < 0 || fcntl(fd, F_SETFL, O_NONBLOCK) < 0) {
        int sys_errno = errno;
        close(fd);
        return no_daemon(error, path, sys_errno);
    }
    *ret_fd = fd;
    return 0;
}

int dial(const char *path, int *ret_fd, struct tcpb_error *error)
{
    if (path)
        return dial_path(path, ret_fd, error);
    char *found = NULL;
    if (socket_path_find(SOCKET_PATH_CLIENT, &found))
        return error_memory(error);
    int r = dial_path(found, ret_fd, error);
    free(found);
    return r;
}
