#include "app/listen.h"

#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "app/systemd.h"
#include "broker/stats.h"
#include "net/watch.h"
#include "proto/socket_path.h"
#include "rpc/io.h"
#include "util/log.h"

enum { ACCEPTS_MAX = 64, PAUSE_MS = 100 };

struct listener {
    int fd;
    char *path;
    bool made; /* the file is ours to unlink */
    dev_t device;
    ino_t inode;
    int64_t max_clients;
    struct loop *loop;
    struct watch *watch;
    struct timer pause;
    struct rpc_shared *shared;
    size_t next_io;
    uint64_t next_warning_ms; /* not more than one warning a second */
    unsigned n_silent;
};

/* ---- making the socket
 * ---------------------------------------------------------------------------------------- */

/* The directory of the socket, when it is missing and may be made. One level: what is above is the
 * system's. */
static void make_directory(const char *path)
{
    char directory[sizeof(((struct sockaddr_un *)0)->sun_path)];

    snprintf(directory, sizeof(directory), "%s", path);
    char *slash = strrchr(directory, '/');
    if (!slash || slash == directory)
        return;
    *slash = '\0';
    if (mkdir(directory, 0755) < 0 && errno != EEXIST)
        log_warning("cannot make the directory %s: %s", directory, strerror(errno));
}

/* A socket file: is somebody listening? Removes one that a dead daemon left. */
static int clear_path(const char *path, const struct sockaddr_un *address, socklen_t n_address)
{
    struct stat status;

    if (lstat(path, &status) < 0)
        return errno == ENOENT ? 0 : -errno;
    if (!S_ISSOCK(status.st_mode)) {
        log_error("%s exists and is no socket; remove it, or give another path with --socket",
                  path);
        return LISTEN_E_USAGE;
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    int r = connect(fd, (const struct sockaddr *)address, n_address) < 0 ? errno : 0;
    close(fd);
    if (r != ECONNREFUSED) {
        log_error("%s is in use by a running daemon; stop it, or give another path with --socket",
                  path);
        return LISTEN_E_USED;
    }
    log_notice("replacing the socket %s that a dead daemon left", path);
    return unlink(path) < 0 && errno != ENOENT ? -errno : 0;
}

static int give_to_group(const char *path, const char *name)
{
    char buffer[16384];
    struct group group, *found;

    if (!name[0])
        return 0;
    if (getgrnam_r(name, &group, buffer, sizeof(buffer), &found) || !found) {
        log_info("there is no group %s: only this user and root may connect", name);
        return 0;
    }
    if (chown(path, (uid_t)-1, group.gr_gid) < 0)
        log_notice("cannot give %s to group %s: %s", path, name, strerror(errno));
    return 0;
}

static int bind_socket(struct listener *listener, const struct listen_settings *settings)
{
    struct sockaddr_un address;
    struct stat status;
    socklen_t n_address;

    if (socket_path_address(listener->path, &address, &n_address)) {
        log_error("the socket's path is empty or longer than 107 bytes: %s", listener->path);
        return LISTEN_E_USAGE;
    }
    make_directory(listener->path);
    int r = clear_path(listener->path, &address, n_address);
    if (r)
        return r;
    listener->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (listener->fd < 0)
        return -errno;
    /* narrow from the first moment on */
    mode_t before = umask(0777);
    r = bind(listener->fd, (struct sockaddr *)&address, n_address) < 0 ? -errno : 0;
    umask(before);
    if (r)
        return r;
    listener->made = true;
    if (lstat(listener->path, &status) == 0) {
        listener->device = status.st_dev;
        listener->inode = status.st_ino;
    }
    r = give_to_group(listener->path, settings->group);
    if (r == 0 && chmod(listener->path, settings->mode) < 0)
        r = -errno;
    if (r == 0 && listen(listener->fd, settings->backlog) < 0)
        r = -errno;
    return r;
}

int listener_new(struct listener **ret_listener, const struct listen_settings *settings)
{
    struct listener *listener = calloc(1, sizeof(*listener));
    if (!listener)
        return -ENOMEM;
    listener->max_clients = settings->max_clients;
    listener->fd = systemd_listen_fd();
    if (listener->fd >= 0) {
        listener->path = strdup("the socket given by systemd");
        *ret_listener = listener;
        return 0;
    }
    int r = 0;
    if (settings->path[0])
        listener->path = strdup(settings->path);
    else
        r = socket_path_find(SOCKET_PATH_SERVER, &listener->path);
    if (r == 0 && !listener->path)
        r = -ENOMEM;
    if (r == 0)
        r = bind_socket(listener, settings);
    if (r) {
        if (r < 0)
            log_error("cannot listen on %s: %s", listener->path ? listener->path : "the socket",
                      strerror(-r));
        listener_free(listener);
        return r;
    }
    *ret_listener = listener;
    return 0;
}

const char *listener_path(const struct listener *listener)
{
    return listener->path;
}

/* ---- accepting
 * ------------------------------------------------------------------------------------------------
 */

static void on_readable(void *context, unsigned events);

static void on_pause_over(struct timer *timer)
{
    struct listener *listener = container_of(timer, struct listener, pause);
    int r = watch_set(listener->watch, WATCH_READABLE);
    ASSERT(r == 0);
}

/* Whoever makes us warn must not fill the log. */
static bool may_warn(struct listener *listener)
{
    uint64_t now_ms = loop_now_ms(listener->loop);

    if (now_ms < listener->next_warning_ms) {
        listener->n_silent++;
        return false;
    }
    listener->next_warning_ms = now_ms + 1000;
    return true;
}

/* Out of file descriptors or memory: the backlog keeps the clients until there are some again. */
static void pause_accepting(struct listener *listener, int error)
{
    if (may_warn(listener))
        log_warning("cannot accept clients for the moment: %s", strerror(error));
    if (timers_start(&listener->loop->timers, &listener->pause, PAUSE_MS, on_pause_over) == 0) {
        int r = watch_set(listener->watch, 0);
        ASSERT(r == 0);
    }
}

static void deal_out(struct listener *listener, int fd)
{
    struct ucred peer;
    socklen_t n_peer = sizeof(peer);

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &n_peer) < 0) {
        log_warning("client turned away: cannot tell who it is: %s", strerror(errno));
        close(fd);
        return;
    }
    if (atomic_load_explicit(&stats.clients, memory_order_relaxed) >= listener->max_clients) {
        stats_count(clients_refused);
        if (may_warn(listener)) {
            log_warning("client of uid %u pid %d turned away: listen.clients is %lld (%u more "
                        "since the last warning)",
                        (unsigned)peer.uid, (int)peer.pid, (long long)listener->max_clients,
                        listener->n_silent);
            listener->n_silent = 0;
        }
        close(fd);
        return;
    }
    struct io *io = listener->shared->ios[listener->next_io];
    listener->next_io = (listener->next_io + 1) % listener->shared->n_ios;
    if (io_post_client(io, fd, peer.uid, peer.gid, peer.pid))
        log_warning("client of uid %u pid %d turned away: out of memory", (unsigned)peer.uid,
                    (int)peer.pid);
}

static void on_readable(void *context, unsigned events)
{
    struct listener *listener = context;

    (void)events;
    ASSERT_OWNER(listener->loop);
    for (int i = 0; i < ACCEPTS_MAX; i++) {
        int fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0) {
            deal_out(listener, fd);
            continue;
        }
        if (errno == EINTR || errno == ECONNABORTED)
            continue;
        if (errno != EAGAIN && errno != EWOULDBLOCK)
            pause_accepting(listener, errno);
        return;
    }
}

int listener_start(struct listener *listener, struct loop *loop, struct rpc_shared *shared)
{
    listener->loop = loop;
    listener->shared = shared;
    int r = watch_new(&listener->watch, loop, listener->fd, on_readable, listener);
    return r ? r : watch_set(listener->watch, WATCH_READABLE);
}

void listener_stop(struct listener *listener)
{
    if (!listener->watch)
        return;
    timers_stop(&listener->loop->timers, &listener->pause);
    listener->watch = watch_free(listener->watch);
    close(listener->fd);
    listener->fd = -1;
    /* only the file that is still ours: somebody may have put another there */
    struct stat status;
    if (listener->made && lstat(listener->path, &status) == 0 &&
        status.st_dev == listener->device && status.st_ino == listener->inode)
        (void)!unlink(listener->path);
    listener->made = false;
}

struct listener *listener_free(struct listener *listener)
{
    if (!listener)
        return NULL;
    ASSERT(!listener->watch);
    if (listener->fd >= 0)
        close(listener->fd);
    if (listener->made)
        (void)!unlink(listener->path); /* NOLINT: made at a path, so there is one */
    free(listener->path);
    free(listener);
    return NULL;
}
