#pragma once
/*
 * unix_socket: the file of a listening Unix socket: made where nobody listens, given to a group,
 * removed again.
 *
 * Threads:   any, one at a time; blocking only as the file system is.
 * Ownership: the fd, and the file while it is the one that was made here.
 * Errors:    UNIX_SOCKET_E_*, -errno, each with the reason in words.
 */
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "util/assert.h"

enum {
    UNIX_SOCKET_E_USED = 1, /* somebody listens there */
    UNIX_SOCKET_E_PATH,     /* the path cannot be used */
};

struct unix_socket {
    int fd; /* -1: none */
    char *path;
    bool made; /* the file is ours to unlink */
    dev_t device;
    ino_t inode;
};

#define UNIX_SOCKET_INIT ((struct unix_socket){.fd = -1})

/* Bind, with a file that nobody may connect to yet. Makes its folder and the one above when they
 * are missing, for everybody to pass; replaces a file that a dead process left. Non-blocking, not
 * listening yet. */
NODISCARD int unix_socket_bind(struct unix_socket *made, const char *path, char *reason,
                               size_t n_reason);
/* Who may connect. group (gid_t)-1: as it is. Returns 0 or -errno. */
NODISCARD int unix_socket_permit(const struct unix_socket *made, mode_t mode, gid_t group);
/* Is the file at its path still the one that was made? */
bool unix_socket_is_there(const struct unix_socket *made);
/* Close, and remove the file if it is there. Fine when nothing was made. */
void unix_socket_close(struct unix_socket *made);
