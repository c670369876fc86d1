/* Descriptors beside bytes: which byte they go with, in which order, and what is closed. */
#include "proto/fds.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support/test.h"

/* A descriptor whose other end tells by its end of file that all copies are closed. */
static int marked(int *ret_other)
{
    int ends[2];
    CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    *ret_other = ends[1];
    return ends[0];
}

static bool is_closed(int other)
{
    char byte;
    return recv(other, &byte, 1, MSG_DONTWAIT) == 0;
}

static bool same_file(int a, int b)
{
    struct stat x, y;
    return fstat(a, &x) == 0 && fstat(b, &y) == 0 && x.st_ino == y.st_ino && x.st_dev == y.st_dev;
}

TEST(fds, a_descriptor_goes_with_its_byte)
{
    int pair[2], other[2];
    char data[64];
    struct fds_queue queue = {0};
    struct fds_arrival arrival;
    CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    for (size_t i = 0; i < 2; i++) {
        CHECK_INT(fds_reserve(&queue), 0);
        fds_add(&queue, 100 + 4 * (i + 1), marked(&other[i]));
    }
    /* the stream from byte 100 on: "aaa\nbbb\nccc\n"; the descriptors are those of b and c */
    CHECK_INT(fds_send(&queue, pair[0], 100, "aaa\nbbb\nccc\n", 12), 4);
    CHECK_INT(queue.n, 2);
    CHECK_INT(fds_send(&queue, pair[0], 104, "bbb\nccc\n", 8), 4);
    CHECK_INT(fds_send(&queue, pair[0], 108, "cc", 2), 2);
    CHECK_INT(fds_send(&queue, pair[0], 110, "c\n", 2), 2);
    CHECK_INT(queue.n, 0);
    CHECK(queue.items == NULL); /* an idle queue has no memory */

    /* what comes without one and the next with one are merged, and nothing of the one behind */
    CHECK_INT(fds_receive(pair[1], data, sizeof(data), MSG_DONTWAIT, &arrival), 8);
    CHECK_INT(arrival.n, 1);
    CHECK(!arrival.lost);
    CHECK(fcntl(arrival.fds[0], F_GETFD) & FD_CLOEXEC);
    CHECK(!is_closed(other[0]));
    CHECK_INT(write(arrival.fds[0], "b", 1), 1);
    CHECK_INT(read(other[0], data, 1), 1);
    close(arrival.fds[0]);
    CHECK(is_closed(other[0])); /* the sender's copy is gone, too */
    CHECK_INT(fds_receive(pair[1], data, 1, MSG_DONTWAIT, &arrival), 1);
    CHECK_INT(arrival.n, 1);
    close(arrival.fds[0]);
    CHECK(is_closed(other[1]));
    CHECK_INT(fds_receive(pair[1], data, sizeof(data), MSG_DONTWAIT, &arrival), 3);
    CHECK_INT(arrival.n, 0);
    for (size_t i = 0; i < 2; i++) {
        close(pair[i]);
        close(other[i]);
    }
}

TEST(fds, the_queue_closes_what_was_not_sent)
{
    int other[5];
    struct fds_queue queue = {0};
    for (size_t i = 0; i < 5; i++) {
        CHECK_INT(fds_reserve(&queue), 0);
        CHECK(queue.capacity > i);
        fds_add(&queue, i, marked(&other[i]));
    }
    fds_deinit(&queue);
    CHECK_INT(queue.n, 0);
    for (size_t i = 0; i < 5; i++) {
        CHECK(is_closed(other[i]));
        close(other[i]);
    }
    fds_deinit(&queue);
}

/* A socket that takes nothing: nothing is lost, nothing is closed. */
TEST(fds, would_block)
{
    int pair[2], other;
    char block[4096] = {0};
    struct fds_queue queue = {0};
    struct fds_arrival arrival;
    CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    while (send(pair[0], block, sizeof(block), MSG_DONTWAIT) > 0)
        ;
    CHECK_INT(fds_reserve(&queue), 0);
    fds_add(&queue, 0, marked(&other));
    CHECK_INT(fds_send(&queue, pair[0], 0, "x", 1), -1);
    CHECK(errno == EAGAIN || errno == EWOULDBLOCK);
    CHECK_INT(queue.n, 1);
    CHECK(!is_closed(other));
    ssize_t n;
    while ((n = fds_receive(pair[1], block, sizeof(block), MSG_DONTWAIT, &arrival)) > 0)
        CHECK_INT(arrival.n, 0);
    CHECK_INT(n, -1);
    CHECK_INT(arrival.n, 0);
    CHECK_INT(fds_send(&queue, pair[0], 0, "x", 1), 1);
    CHECK_INT(fds_receive(pair[1], block, sizeof(block), MSG_DONTWAIT, &arrival), 1);
    CHECK_INT(arrival.n, 1);
    close(arrival.fds[0]);
    close(other);
    close(pair[0]);
    close(pair[1]);
}

TEST(fds, order)
{
    enum { N = 100 };
    int pair[2], other[N], mine[N];
    char byte;
    struct fds_queue queue = {0};
    struct fds_arrival arrival;
    CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    for (size_t i = 0; i < N; i++) {
        CHECK_INT(fds_reserve(&queue), 0);
        mine[i] = marked(&other[i]);
        fds_add(&queue, i, dup(mine[i]));
    }
    for (size_t i = 0; i < N; i++) {
        CHECK_INT(fds_send(&queue, pair[0], i, "x", 1), 1);
        CHECK_INT(fds_receive(pair[1], &byte, 1, 0, &arrival), 1);
        CHECK_INT(arrival.n, 1);
        CHECK(same_file(arrival.fds[0], mine[i]));
        close(arrival.fds[0]);
        close(mine[i]);
        close(other[i]);
    }
    close(pair[0]);
    close(pair[1]);
}

/* More than there is room for are closed, and said to be lost. */
TEST(fds, too_many_in_one_message)
{
    enum { N = FDS_MAX + 4 };
    int pair[2], other[N], fds[N];
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(fds))];
    } control = {0};
    char byte = 'x';
    struct iovec bytes = {.iov_base = &byte, .iov_len = 1};
    struct msghdr message = {.msg_iov = &bytes,
                             .msg_iovlen = 1,
                             .msg_control = control.space,
                             .msg_controllen = sizeof(control.space)};
    struct fds_arrival arrival;
    CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    for (size_t i = 0; i < N; i++)
        fds[i] = marked(&other[i]);
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(fds));
    memcpy(CMSG_DATA(header), fds, sizeof(fds));
    CHECK_INT(sendmsg(pair[0], &message, 0), 1);
    for (size_t i = 0; i < N; i++)
        close(fds[i]);
    CHECK_INT(fds_receive(pair[1], &byte, 1, 0, &arrival), 1);
    CHECK_INT(arrival.n, FDS_MAX);
    CHECK(arrival.lost);
    for (size_t i = 0; i < N; i++)
        CHECK_INT(is_closed(other[i]), i >= FDS_MAX);
    for (size_t i = 0; i < arrival.n; i++)
        close(arrival.fds[i]);
    for (size_t i = 0; i < N; i++) {
        CHECK(is_closed(other[i]));
        close(other[i]);
    }
    close(pair[0]);
    close(pair[1]);
}
