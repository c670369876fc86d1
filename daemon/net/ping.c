#include "net/ping.h"

#include <errno.h>
#include <netinet/icmp6.h>
#include <netinet/ip_icmp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include <linux/errqueue.h>

#include "net/watch.h"

/* An echo message, the same in both versions: type, code, checksum and identifier (these two the
 * kernel fills in), sequence number, payload. */
enum { TYPE = 0, SEQUENCE = 6, PAYLOAD = 8 };
enum { COOKIE_MAX = 32 };   /* random bytes at the start of the payload */
enum { MESSAGES_MAX = 64 }; /* read at a time: the loop has other things to do, too */

struct ping {
    int fd; /* -1: it has ended */
    struct loop *loop;
    struct watch *watch;
    void (*on_end)(void *context, int sys_errno, int64_t took_us);
    void *context;
    int64_t sent_us;
    unsigned char reply_type;
    size_t n_request;
    unsigned char request[]; /* payload and all */
};

static void shut(struct ping *ping)
{
    ping->watch = watch_free(ping->watch); /* before the fd is closed */
    if (ping->fd >= 0)
        close(ping->fd);
    ping->fd = -1;
}

static void end(struct ping *ping, int sys_errno, int64_t now_us)
{
    shut(ping);
    ping->on_end(ping->context, sys_errno, now_us - ping->sent_us); /* may free the ping */
}

/* ---- receiving ---- */

static bool is_reply(const struct ping *ping, const unsigned char *message, size_t n)
{
    return n == ping->n_request && message[TYPE] == ping->reply_type &&
           memcmp(message + SEQUENCE, ping->request + SEQUENCE, n - SEQUENCE) == 0;
}

static bool find_error(struct msghdr *header, struct sock_extended_err *ret_error)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(header); c; c = CMSG_NXTHDR(header, c)) {
        if (!(c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_RECVERR) &&
            !(c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_RECVERR))
            continue;
        memcpy(ret_error, CMSG_DATA(c), sizeof(*ret_error));
        return true;
    }
    return false;
}

/* A router that knows a better way, or has much to do, has forwarded the request nevertheless. */
static bool is_advice(const struct sock_extended_err *error)
{
    return error->ee_origin == SO_EE_ORIGIN_ICMP &&
           (error->ee_type == ICMP_REDIRECT || error->ee_type == ICMP_SOURCE_QUENCH);
}

/* Take one report from the error queue (ip(7), IP_RECVERR). Returns its errno, 0 when it is none of
 * this request's, -EAGAIN when there is none. */
static int take_report(struct ping *ping)
{
    unsigned char quoted[PAYLOAD];
    union {
        struct cmsghdr align;
        char
            bytes[CMSG_SPACE(sizeof(struct sock_extended_err) + sizeof(struct sockaddr_in6)) + 256];
    } control;
    struct iovec vector = {.iov_base = quoted, .iov_len = sizeof(quoted)};
    struct msghdr header = {.msg_iov = &vector,
                            .msg_iovlen = 1,
                            .msg_control = &control,
                            .msg_controllen = sizeof(control)};
    struct sock_extended_err error;

    ssize_t n = recvmsg(ping->fd, &header, MSG_ERRQUEUE);
    if (n < 0)
        return -EAGAIN;
    if (!find_error(&header, &error) || is_advice(&error))
        return 0;
    if (error.ee_origin == SO_EE_ORIGIN_LOCAL)
        return (int)error.ee_errno;
    /* the start of the message it is about; identifiers are used again soon */
    if (n != PAYLOAD || quoted[TYPE] != ping->request[TYPE] ||
        memcmp(quoted + SEQUENCE, ping->request + SEQUENCE, PAYLOAD - SEQUENCE) != 0)
        return 0;
    return (int)error.ee_errno;
}

/* Returns false when there is nothing more, or the ping has ended and may be gone. */
static bool receive_one(struct ping *ping)
{
    unsigned char message[PAYLOAD + PING_SIZE_MAX + 1]; /* longer than what is right */

    ssize_t n = recv(ping->fd, message, sizeof(message), 0);
    int64_t now_us = loop_clock_us();
    if (n >= 0) {
        if (!is_reply(ping, message, (size_t)n))
            return true;
        end(ping, 0, now_us);
        return false;
    }
    int sys_errno = errno;
    if (sys_errno == EINTR)
        return true;
    int report = take_report(ping);
    if (report == 0)
        return true;
    if (report < 0 && sys_errno == EAGAIN)
        return false;
    end(ping, report < 0 ? sys_errno : report, now_us);
    return false;
}

static void on_event(void *context, unsigned events)
{
    (void)events;
    for (int i = 0; i < MESSAGES_MAX; i++)
        if (!receive_one(context))
            return;
}

/* ---- sending ---- */

static int open_socket(int family)
{
    const int on = 1, fragment = IP_PMTUDISC_DONT;

    int fd = socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC,
                    family == AF_INET ? IPPROTO_ICMP : IPPROTO_ICMPV6);
    if (fd < 0)
        return -errno;
    /* without RECVERR a host that is unreachable is not reported */
    int r = family == AF_INET ? setsockopt(fd, IPPROTO_IP, IP_RECVERR, &on, sizeof(on))
                              : setsockopt(fd, IPPROTO_IPV6, IPV6_RECVERR, &on, sizeof(on));
    if (r == 0 && family == AF_INET)
        r = setsockopt(fd, IPPROTO_IP, IP_MTU_DISCOVER, &fragment, sizeof(fragment));
    if (r < 0) {
        r = -errno;
        close(fd);
        return r;
    }
    return fd;
}

static int make_request(struct ping *ping, int family)
{
    size_t n_random = ping->n_request - SEQUENCE;
    if (n_random > PAYLOAD - SEQUENCE + COOKIE_MAX)
        n_random = PAYLOAD - SEQUENCE + COOKIE_MAX;
    ping->request[TYPE] = family == AF_INET ? ICMP_ECHO : ICMP6_ECHO_REQUEST;
    ping->reply_type = family == AF_INET ? ICMP_ECHOREPLY : ICMP6_ECHO_REPLY;
    for (size_t i = SEQUENCE + n_random; i < ping->n_request; i++)
        ping->request[i] = (unsigned char)i;
    /* so few bytes are never cut or interrupted: getrandom(2) */
    if (getrandom(ping->request + SEQUENCE, n_random, GRND_NONBLOCK) != (ssize_t)n_random)
        return -errno;
    return 0;
}

static int start(struct ping *ping, const struct address *address)
{
    int r = make_request(ping, address_family(address));
    /* connected, so that errors are told */
    if (r == 0 && connect(ping->fd, &address->any, address->n_bytes) < 0)
        r = -errno;
    if (r == 0)
        r = watch_new(&ping->watch, ping->loop, ping->fd, on_event, ping);
    if (r == 0)
        r = watch_set(ping->watch, WATCH_READABLE);
    if (r)
        return r;
    ping->sent_us = loop_clock_us();
    return send(ping->fd, ping->request, ping->n_request, 0) < 0 ? -errno : 0;
}

int ping_new(struct ping **ret_ping, struct loop *loop, const struct address *address, size_t size,
             void (*on_end)(void *context, int sys_errno, int64_t took_us), void *context)
{
    ASSERT_OWNER(loop);
    ASSERT(size >= 1 && size <= PING_SIZE_MAX);
    struct address target = *address;
    address_unmap(&target);
    address_set_port(&target, 0);
    int family = address_family(&target);
    if (family != AF_INET && family != AF_INET6)
        return -EAFNOSUPPORT;
    int fd = open_socket(family);
    if (fd < 0)
        return fd == -EACCES || fd == -EPERM ? PING_E_NOT_PERMITTED : fd;
    struct ping *ping = calloc(1, sizeof(*ping) + PAYLOAD + size);
    if (!ping) {
        close(fd);
        return -ENOMEM;
    }
    ping->fd = fd;
    ping->loop = loop;
    ping->n_request = PAYLOAD + size;
    ping->on_end = on_end;
    ping->context = context;
    int r = start(ping, &target);
    if (r) {
        ping_free(ping);
        return r;
    }
    *ret_ping = ping;
    return 0;
}

struct ping *ping_free(struct ping *ping)
{
    if (!ping)
        return NULL;
    ASSERT_OWNER(ping->loop);
    shut(ping);
    free(ping);
    return NULL;
}
