#pragma once
/*
 * socket_path: where the broker's socket is. Daemon, library and command ask here, so they find the
 * same place.
 *
 *   1. $TCPBROKER_SOCKET, when set and not empty (ignored in set-user-id programs)
 *   2. root:                       /run/tcpbroker/tcpbroker.sock
 *   3. a daemon of another user:   $XDG_RUNTIME_DIR/tcpbroker/tcpbroker.sock; without that variable
 * (a system service has none) the system path of 2
 *   4. a client of another user:   $XDG_RUNTIME_DIR/tcpbroker/tcpbroker.sock when there is a
 * socket, else the system path of 2
 *
 * Threads:   any (reads the environment).
 * Ownership: the path belongs to the caller: free().
 * Errors:    SOCKET_PATH_E_TOO_LONG; -ENOMEM.
 * Limits:    a Unix socket's path has at most 107 bytes (unix(7)).
 */
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/un.h>

#define SOCKET_PATH_SYSTEM   "/run/tcpbroker/tcpbroker.sock"
#define SOCKET_PATH_VARIABLE "TCPBROKER_SOCKET"

enum {
    SOCKET_PATH_E_TOO_LONG = 1, /* (also: empty) the path does not fit a socket address */
};

enum socket_path_role { SOCKET_PATH_SERVER, SOCKET_PATH_CLIENT };

/* The path by the rules above. Returns 0 or -ENOMEM. */
__attribute__((warn_unused_result)) int socket_path_find(enum socket_path_role role,
                                                         char **ret_path);

/* The address to bind or connect to. Returns 0 or SOCKET_PATH_E_TOO_LONG. */
__attribute__((warn_unused_result)) int
socket_path_address(const char *path, struct sockaddr_un *ret_address, socklen_t *ret_n);
