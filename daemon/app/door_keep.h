#pragma once
/*
 * door_keep: the listening socket of a door goes on over a restart, and who waits there with it.
 * Its name in the store is made of where it listens; of a Unix socket also of its file, so that one
 * whose file somebody has taken away or replaced is not taken for it.
 *
 * Threads:   the control thread only.
 * Ownership: the caller's.
 */
#include "app/restart.h"
#include "app/unix_socket.h"

enum { DOOR_NAME_SIZE = 64 };

/* file NULL: a TCP socket. False: a Unix socket without its file; name is "" then. */
bool door_keep_name(char *name, const char *listen, const struct unix_socket *file);
/* The socket that listened there before, with its file when it is a Unix socket; -1: there is none.
 */
int door_keep_take(struct restart *restart, const char *listen, bool is_tcp,
                   struct unix_socket *ret_file);
/* May who shall come in by that file do so already? */
bool door_keep_permits(const struct unix_socket *file, mode_t mode, gid_t group);
