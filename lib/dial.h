#pragma once
/*
 * dial: the connection to the daemon's socket, with an error that says what to do when there is
 * none.
 *
 * Threads:   any. Blocks while the daemon's backlog is full.
 * Ownership: the descriptor belongs to the caller; close-on-exec, non-blocking.
 * Errors:    as for the functions of <tcpbroker.h>.
 */
#include "lib/tcpbroker.h"

int dial(const char *path, int *ret_fd, struct tcpb_error *error);
