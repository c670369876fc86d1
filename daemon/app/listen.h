#pragma once
/*
 * listen: the Unix socket clients come through: taken from systemd or made here; accepting and
 * dealing out to the io threads.
 *
 * Threads:   the control thread only.
 * Ownership: owns the fd, and the socket file when it made it. A socket of systemd's is never
 * unlinked. Errors:    listener_new(): -errno, LISTEN_E_*; reasons are logged. Limits: max_clients
 * connections at once; more are turned away. When file descriptors run out, accepting pauses for
 * 100 ms.
 */
#include "loop/loop.h"
#include "rpc/settings.h"

struct listener;

struct listen_settings {
    const char *path;  /* "": found by proto/socket_path.h */
    unsigned mode;     /* of the socket file */
    const char *group; /* "": none; one that does not exist is left out */
    int backlog;
    int64_t max_clients;
};

enum {
    LISTEN_E_USED = 1 /* a living daemon has that socket */,
    LISTEN_E_USAGE /* the path cannot be used */
};

NODISCARD int listener_new(struct listener **ret_listener, const struct listen_settings *settings);
const char *listener_path(const struct listener *listener);
NODISCARD int listener_start(struct listener *listener, struct loop *loop,
                             struct rpc_shared *shared);
/* Accept no more. */
void listener_stop(struct listener *listener);
struct listener *listener_free(struct listener *listener);
