#include "proto/fds.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int fds_reserve(struct fds_queue *queue)
{
    size_t capacity = queue->capacity ? 2 * queue->capacity : 4;

    if (queue->n < queue->capacity)
        return 0;
    struct fds_item *items = realloc(queue->items, capacity * sizeof(*items));
    if (!items)
        return -ENOMEM;
    queue->items = items;
    queue->capacity = capacity;
    return 0;
}

void fds_add(struct fds_queue *queue, uint64_t at, int fd)
{
    queue->items[queue->n++] = (struct fds_item){.at = at, .fd = fd};
}

static void take_first(struct fds_queue *queue)
{
    close(queue->items[0].fd);
    queue->n--;
    memmove(queue->items, queue->items + 1, queue->n * sizeof(*queue->items));
    if (queue->n == 0)
        fds_deinit(queue);
}

void fds_deinit(struct fds_queue *queue)
{
    for (size_t i = 0; i < queue->n; i++)
        close(queue->items[i].fd);
    free(queue->items);
    *queue = (struct fds_queue){0};
}

static ssize_t send_with(int sock, const void *data, size_t n, int fd)
{
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec bytes = {.iov_base = (void *)(uintptr_t)data, .iov_len = n};
    struct msghdr message = {.msg_iov = &bytes,
                             .msg_iovlen = 1,
                             .msg_control = control.space,
                             .msg_controllen = sizeof(control.space)};

    memset(&control, 0, sizeof(control));
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(header), &fd, sizeof(fd));
    return sendmsg(sock, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

ssize_t fds_send(struct fds_queue *queue, int sock, uint64_t at, const void *data, size_t n)
{
    size_t next = queue->n > 0 && queue->items[0].at == at ? 1 : 0;

    /* a descriptor goes with the first byte of a message only */
    if (next < queue->n && queue->items[next].at - at < n)
        n = (size_t)(queue->items[next].at - at);
    if (next == 0)
        return send(sock, data, n, MSG_NOSIGNAL | MSG_DONTWAIT);
    ssize_t sent = send_with(sock, data, n, queue->items[0].fd);
    if (sent > 0)
        take_first(queue);
    return sent;
}

static void collect(const struct cmsghdr *header, struct fds_arrival *arrival)
{
    size_t n = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);

    for (size_t i = 0; i < n; i++) {
        int fd;
        memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof(fd));
        if (arrival->n < FDS_MAX) {
            arrival->fds[arrival->n++] = fd;
        } else {
            close(fd);
            arrival->lost = true;
        }
    }
}

ssize_t fds_receive(int sock, void *data, size_t n, int flags, struct fds_arrival *ret_arrival)
{
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(FDS_MAX * sizeof(int))];
    } control;
    struct iovec bytes = {.iov_base = data, .iov_len = n};
    struct msghdr message = {.msg_iov = &bytes,
                             .msg_iovlen = 1,
                             .msg_control = control.space,
                             .msg_controllen = sizeof(control.space)};

    *ret_arrival = (struct fds_arrival){.n = 0};
    ssize_t got = recvmsg(sock, &message, flags | MSG_CMSG_CLOEXEC);
    if (got < 0)
        return got;
    for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); header;
         header = CMSG_NXTHDR(&message, header))
        if (header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS)
            collect(header, ret_arrival);
    if (message.msg_flags & MSG_CTRUNC)
        ret_arrival->lost = true;
    return got;
}
