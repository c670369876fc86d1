#include "app/listen.h"

#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/accepting.h"
#include "app/systemd.h"
#include "app/unix_socket.h"
#include "broker/stats.h"
#include "proto/socket_path.h"
#include "rpc/admin.h"
#include "rpc/io.h"
#include "util/log.h"

struct listener {
    struct unix_socket made; /* path NULL: systemd gave it */
    struct accepting accepting;
    int64_t max_clients;
    struct rpc_shared *shared;
    size_t next_io;
};

/* ---- making the socket
 * ---------------------------------------------------------------------------------------- */

static void give_to_group(const struct unix_socket *made, mode_t mode, const char *name)
{
    char buffer[16384];
    struct group group, *found;

    if (!name[0])
        return;
    if (getgrnam_r(name, &group, buffer, sizeof(buffer), &found) || !found) {
        log_info("there is no group %s: %s may connect", name,
                 mode & S_IWOTH   ? "by listen.mode every user"
                 : mode & S_IWGRP ? "only root, this user and this user's own group"
                                  : "only root and this user");
        return;
    }
    int r = unix_socket_permit(made, mode, group.gr_gid);
    if (r)
        log_notice("cannot give %s to group %s: %s", made->path, name, strerror(-r));
}

static int bind_socket(struct listener *listener, const struct listen_settings *settings)
{
    char reason[512];
    char *path = NULL;
    int r = 0;

    if (settings->path[0])
        path = strdup(settings->path);
    else
        r = socket_path_find(SOCKET_PATH_SERVER, &path);
    if (r == 0 && !path)
        r = -ENOMEM;
    if (r) {
        log_error("cannot listen: %s", strerror(-r));
        return r;
    }
    r = unix_socket_bind(&listener->made, path, reason, sizeof(reason));
    free(path);
    if (r) {
        log_error("%s%s", reason, r > 0 ? " with --socket" : "");
        return r == UNIX_SOCKET_E_USED   ? LISTEN_E_USED
               : r == UNIX_SOCKET_E_PATH ? LISTEN_E_USAGE
                                         : r;
    }
    give_to_group(&listener->made, settings->mode, settings->group);
    r = unix_socket_permit(&listener->made, settings->mode, (gid_t)-1);
    if (r == 0 && listen(listener->made.fd, settings->backlog) < 0)
        r = -errno;
    if (r)
        log_error("cannot listen on %s: %s", listener->made.path, strerror(-r));
    return r;
}

int listener_new(struct listener **ret_listener, const struct listen_settings *settings)
{
    struct listener *listener = calloc(1, sizeof(*listener));
    if (!listener)
        return -ENOMEM;
    listener->made = UNIX_SOCKET_INIT;
    listener->max_clients = settings->max_clients;
    listener->made.fd = systemd_listen_fd();
    int r = listener->made.fd >= 0 ? 0 : bind_socket(listener, settings);
    if (r) {
        listener_free(listener);
        return r;
    }
    *ret_listener = listener;
    return 0;
}

const char *listener_path(const struct listener *listener)
{
    return listener->made.path ? listener->made.path : "the socket given by systemd";
}

/* ---- accepting
 * ------------------------------------------------------------------------------------------------
 */

static void refuse(struct listener *listener, const struct ucred *peer)
{
    char uid[24], pid[24];
    const struct log_field fields[] = {
        {TAG_UID, uid}, {TAG_PID, pid}, {TAG_LIMIT, "listen.clients"}};
    unsigned n_silent;

    if (!seldom_now(&listener->accepting.warnings, loop_clock_us(), &n_silent))
        return;
    snprintf(uid, sizeof(uid), "%u", (unsigned)peer->uid);
    snprintf(pid, sizeof(pid), "%d", (int)peer->pid);
    log_event(LOG_WARNING_, EVENT_LIMIT_REACHED, fields, 3,
              "client of uid %s pid %s turned away: listen.clients is %lld (%u more since the last "
              "warning)",
              uid, pid, (long long)listener->max_clients, n_silent);
}

/* An administrator has some places more. */
static bool has_place(const struct listener *listener, int fd)
{
    int64_t n = atomic_load_explicit(&stats.clients, memory_order_relaxed);

    return n < listener->max_clients || (n < listener->max_clients + ADMIN_CLIENTS_MORE &&
                                         admin_is(&listener->shared->snapshot->credentials, fd));
}

static void on_accepted(void *context, int fd)
{
    struct listener *listener = context;
    struct ucred peer;
    socklen_t n_peer = sizeof(peer);

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &n_peer) < 0) {
        log_warning("client turned away: cannot tell who it is: %s", strerror(errno));
        close(fd);
        return;
    }
    if (!has_place(listener, fd)) {
        stats_count(clients_refused);
        refuse(listener, &peer);
        close(fd);
        return;
    }
    struct io *io = listener->shared->ios[listener->next_io];
    listener->next_io = (listener->next_io + 1) % listener->shared->n_ios;
    if (io_post_client(io, fd, peer.uid, peer.gid, peer.pid))
        log_warning("client of uid %u pid %d turned away: out of memory", (unsigned)peer.uid,
                    (int)peer.pid);
}

int listener_start(struct listener *listener, struct loop *loop, struct rpc_shared *shared)
{
    listener->shared = shared;
    listener->accepting = (struct accepting){.fd = listener->made.fd,
                                             .whom = "clients",
                                             .arrivals = &shared->arrivals,
                                             .on_accepted = on_accepted,
                                             .context = listener};
    int r = accepting_begin(&listener->accepting, loop);
    if (r == 0)
        accepting_go(&listener->accepting);
    return r;
}

void listener_stop(struct listener *listener)
{
    accepting_stop(&listener->accepting);
    unix_socket_close(&listener->made);
}

struct listener *listener_free(struct listener *listener)
{
    if (!listener)
        return NULL;
    ASSERT(!listener->accepting.watch);
    unix_socket_close(&listener->made);
    free(listener);
    return NULL;
}
