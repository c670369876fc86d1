#pragma once
/*
 * own_address: does an address lead to this host itself? The kernel is asked each time, so that the
 * answer holds also when addresses come and go: what it would use as the near end of a connection
 * there is the very same address, or loopback, just when the far end is here. Nothing is sent.
 *
 * Threads: any; four system calls that do not wait.
 * Errors:  -errno when there is no descriptor or memory for a socket.
 */
#include "net/address.h"

/* Returns 1: it does, or to all hosts of a network at once (broadcast); 0: it does not, or leads
 * nowhere; -errno. */
NODISCARD int address_is_own(const struct address *address);
