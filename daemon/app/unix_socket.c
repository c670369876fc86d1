#include "app/unix_socket.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "proto/socket_path.h"
#include "util/log.h"

enum { DIRECTORIES_MAX = 2 };

/* The directory of the socket, and the one above, when they are missing and may be made: the doors'
 * place is below that of the broker's own socket, and may be wanted first. What is above these is
 * the system's. Who may connect is the socket's business, so everybody may pass, whatever the umask
 * is. */
static void make_directory(const char *path, unsigned levels)
{
    char directory[sizeof(((struct sockaddr_un *)0)->sun_path)];

    snprintf(directory, sizeof(directory), "%s", path);
    char *slash = strrchr(directory, '/');
    if (!slash || slash == directory)
        return;
    *slash = '\0';
    int r = mkdir(directory, 0755) < 0 ? errno : 0;
    if (r == ENOENT && levels > 1) {
        make_directory(directory, levels - 1);
        r = mkdir(directory, 0755) < 0 ? errno : 0;
    }
    if (r == 0 && chmod(directory, 0755) < 0)
        r = errno;
    /* what it is that cannot be made is told by who wants a socket in it */
    if (r && r != EEXIST && r != ENOENT)
        log_warning("cannot make the directory %s: %s", directory, strerror(r));
}

/* A socket file: is somebody listening? Removes one that a dead process left. */
static int clear_path(const char *path, const struct sockaddr_un *address, socklen_t n_address,
                      char *reason, size_t n_reason)
{
    struct stat status;

    if (lstat(path, &status) < 0)
        return errno == ENOENT ? 0 : -errno;
    if (!S_ISSOCK(status.st_mode)) {
        snprintf(reason, n_reason, "%s exists and is no socket; remove it, or give another path",
                 path);
        return UNIX_SOCKET_E_PATH;
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    int r = connect(fd, (const struct sockaddr *)address, n_address) < 0 ? errno : 0;
    close(fd);
    if (r != ECONNREFUSED) {
        snprintf(reason, n_reason,
                 "%s is in use by a running daemon; stop it, or give another path", path);
        return UNIX_SOCKET_E_USED;
    }
    log_notice("replacing the socket %s that a dead daemon left", path);
    return unlink(path) < 0 && errno != ENOENT ? -errno : 0;
}

static int make(struct unix_socket *made, char *reason, size_t n_reason)
{
    struct sockaddr_un address;
    struct stat status;
    socklen_t n_address;

    if (socket_path_address(made->path, &address, &n_address)) {
        snprintf(reason, n_reason, "the socket's path is empty or longer than 107 bytes: %s",
                 made->path);
        return UNIX_SOCKET_E_PATH;
    }
    make_directory(made->path, DIRECTORIES_MAX);
    int r = clear_path(made->path, &address, n_address, reason, n_reason);
    if (r)
        return r;
    made->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (made->fd < 0)
        return -errno;
    /* narrow from the first moment on, without umask(2), which is the whole process's: the file
     * gets the mode of the socket (unix(7) does not say so, the kernel's unix_bind() does) */
    if (fchmod(made->fd, 0) < 0 || bind(made->fd, (struct sockaddr *)&address, n_address) < 0)
        return -errno;
    made->made = true;
    if (lstat(made->path, &status) < 0)
        return -errno;
    made->device = status.st_dev;
    made->inode = status.st_ino;
    return 0;
}

int unix_socket_bind(struct unix_socket *made, const char *path, char *reason, size_t n_reason)
{
    *made = UNIX_SOCKET_INIT;
    reason[0] = '\0';
    made->path = strdup(path);
    int r = made->path ? make(made, reason, n_reason) : -ENOMEM;
    if (r == 0)
        return 0;
    if (r < 0)
        snprintf(reason, n_reason, "cannot listen on %s: %s", path, strerror(-r));
    unix_socket_close(made);
    return r;
}

bool unix_socket_is_there(const struct unix_socket *made)
{
    struct stat status;
    return made->made && made->path && lstat(made->path, &status) == 0 &&
           status.st_dev == made->device && status.st_ino == made->inode;
}

int unix_socket_permit(const struct unix_socket *made, mode_t mode, gid_t group)
{
    if (!unix_socket_is_there(made))
        return -ENOENT; /* another's file is none of our business */
    /* in this order no group ever has the rights of another */
    if (group != (gid_t)-1 &&
        (chmod(made->path, 0) < 0 || lchown(made->path, (uid_t)-1, group) < 0)) /* NOLINT */
        return -errno;
    return chmod(made->path, mode) < 0 ? -errno : 0;
}

void unix_socket_close(struct unix_socket *made)
{
    /* only the file that is still ours: somebody may have put another there */
    if (unix_socket_is_there(made))
        (void)!unlink(made->path);
    if (made->fd >= 0)
        close(made->fd);
    free(made->path);
    *made = UNIX_SOCKET_INIT;
}
