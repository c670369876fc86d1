#pragma once
/*
 * fds: file descriptors that go over a Unix socket beside bytes (SCM_RIGHTS, unix(7)). A descriptor
 * goes with the first byte of the line that it belongs to, in the same sendmsg(), so that the
 * receiver has it when it has that byte.
 *
 * Threads:   any; a queue belongs to one thread at a time.
 * Ownership: a queue owns its descriptors until they are taken.
 * Errors:    -ENOMEM; fds_send() and fds_receive() as send(2) and recv(2), with errno.
 * Limits:    FDS_MAX descriptors are received at once; more in one message are closed.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { FDS_MAX = 16 };

/* ---- sending ---- */

struct fds_item {
    uint64_t at; /* the byte of the stream that it goes with, counted from its beginning */
    int fd;
};

struct fds_queue {
    struct fds_item *items; /* the oldest first */
    size_t n, capacity;
};

/* Make room for one more, so that adding it cannot fail. Returns 0 or -ENOMEM. */
__attribute__((warn_unused_result)) int fds_reserve(struct fds_queue *queue);
/* Takes fd. There must be room, and `at` must not be before that of another one. */
void fds_add(struct fds_queue *queue, uint64_t at, int fd);
/* Closes those that were not sent. */
void fds_deinit(struct fds_queue *queue);

/* Send some of data, the bytes of the stream from `at` on, with the descriptor that is due; what
 * was sent is closed and taken from the queue. Without waiting and without SIGPIPE. */
ssize_t fds_send(struct fds_queue *queue, int sock, uint64_t at, const void *data, size_t n);

/* ---- receiving ---- */

struct fds_arrival {
    int fds[FDS_MAX];
    size_t n;
    bool lost; /* there were more: this process has as many open as it may, or more than FDS_MAX */
};

/* Receive bytes and at most FDS_MAX descriptors, close-on-exec. flags as recv(2). The kernel gives
 * the descriptors of one sendmsg() at a time, and no bytes of what was sent behind it. */
ssize_t fds_receive(int sock, void *data, size_t n, int flags, struct fds_arrival *ret_arrival);
