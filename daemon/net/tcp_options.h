#pragma once
/*
 * tcp_options: how TCP connections behave once they are there; the same for those that were dialled
 * and those that were accepted.
 *
 * Threads:   any; of the socket: whoever owns it.
 * Ownership: the fd is borrowed.
 * Errors:    -errno of setsockopt(2).
 * Limits:    the kernel counts keepalive times in whole seconds, up to 32767 of them.
 */
#include <stdbool.h>
#include <stdint.h>

#include "util/assert.h"

/* 0: off, or the system's default; times in milliseconds. */
struct tcp_options {
    /* tcp(7); keepalive_ms 0: no keepalive, the other two are of no effect */
    int64_t keepalive_ms, keepalive_interval_ms;
    int keepalive_probes;    /* of effect without a user timeout only */
    int64_t user_timeout_ms; /* TCP_USER_TIMEOUT (RFC 5482) */
    bool nodelay;
};

/* What is off is left as the socket has it. After a failure the options behind it are not set. */
NODISCARD int tcp_options_set(int fd, const struct tcp_options *options);
