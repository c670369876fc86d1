/* ping, in child processes with a network of their own: whether it is permitted, and whether echoes
 * are answered, is the namespace's. */
#include "net/ping.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/icmp6.h>
#include <netinet/ip_icmp.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "net_fixture.h"
#include "support/test.h"

static bool write_setting(const char *path, const char *value)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool written = fd >= 0 && write(fd, value, strlen(value)) == (ssize_t)strlen(value);
    if (fd >= 0)
        close(fd);
    return written;
}

/* A network with nothing but loopback, in which that range of groups may ping. */
static bool own_network(const char *groups)
{
    struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
    if (unshare(CLONE_NEWNET) < 0)
        return false;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    MUST(fd >= 0 && ioctl(fd, SIOCSIFFLAGS, &request) == 0);
    close(fd);
    return write_setting("/proc/sys/net/ipv4/ping_group_range", groups);
}

static bool silence(void)
{
    return write_setting("/proc/sys/net/ipv4/icmp_echo_ignore_all", "1") &&
           write_setting("/proc/sys/net/ipv6/icmp/echo_ignore_all", "1");
}

static void skip_or_check(int status)
{
    if (status == FIXTURE_SKIPPED)
        SKIP("needs root, to make a network namespace and to set its ping_group_range");
    CHECK_INT(status, 0);
}

struct bench {
    struct loop *loop;
    struct address address;
    struct ping *ping;
    bool done;
    int n_calls, sys_errno;
    int64_t took_us;
    bool free_inside;
};

static void on_end(void *context, int sys_errno, int64_t took_us)
{
    struct bench *bench = context;
    bench->done = true;
    bench->n_calls++;
    bench->sys_errno = sys_errno;
    bench->took_us = took_us;
    if (bench->free_inside)
        bench->ping = ping_free(bench->ping);
}

static void bench_init(struct bench *bench, const char *text)
{
    *bench = (struct bench){.loop = fixture_loop()};
    MUST(address_parse(&bench->address, text, 7) == 0);
}

static void bench_deinit(struct bench *bench)
{
    ping_free(bench->ping);
    fixture_loop_free(bench->loop);
}

static void start(struct bench *bench, size_t size)
{
    bench->done = false;
    bench->n_calls = 0;
    MUST(ping_new(&bench->ping, bench->loop, &bench->address, size, on_end, bench) == 0);
    MUST(bench->n_calls == 0);
}

/* What is sent over loopback has arrived when send(2) returns: a few iterations tell. */
static void must_be_quiet(struct bench *bench)
{
    int before = bench->n_calls;
    for (int i = 0; i < 3; i++)
        fixture_spin(bench->loop);
    MUST(bench->n_calls == before);
}

/* ---- answered by the kernel ---- */

static void answered(const char *text, size_t size)
{
    struct bench bench;
    bench_init(&bench, text);
    int64_t before_us = loop_clock_us();
    start(&bench, size);
    fixture_pump(bench.loop, &bench.done);
    MUST(bench.sys_errno == 0 && bench.n_calls == 1);
    MUST(bench.took_us >= 0 && bench.took_us <= loop_clock_us() - before_us);
    must_be_quiet(&bench);
    bench_deinit(&bench);
}

static int loopback(void)
{
    static const char *const texts[] = {"127.0.0.1", "::1", "::ffff:127.0.0.2"};
    static const size_t sizes[] = {1, 2, 31, 32, 33, 256, PING_SIZE_MAX};
    if (!own_network("0 2147483647"))
        return FIXTURE_SKIPPED;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        for (size_t k = 0; k < sizeof(sizes) / sizeof(sizes[0]); k++)
            answered(texts[i], sizes[k]);
    return 0;
}

TEST(ping, loopback)
{
    skip_or_check(fixture_child(loopback));
}

static int many_at_once(void)
{
    enum { N = 50 };
    static struct bench benches[N];
    if (!own_network("0 2147483647"))
        return FIXTURE_SKIPPED;
    struct loop *loop = fixture_loop();
    for (int i = 0; i < N; i++) {
        benches[i].loop = loop;
        benches[i].free_inside = i % 2;
        MUST(address_parse(&benches[i].address, i % 3 ? "127.0.0.1" : "::1", 0) == 0);
        start(&benches[i], 1);
    }
    for (int i = 0; i < N; i++) {
        fixture_pump(loop, &benches[i].done);
        MUST(benches[i].sys_errno == 0 && benches[i].n_calls == 1);
        MUST(!benches[i].ping == benches[i].free_inside);
        ping_free(benches[i].ping);
    }
    fixture_loop_free(loop);
    return 0;
}

TEST(ping, many_at_once)
{
    skip_or_check(fixture_child(many_at_once));
}

/* ---- not sent, not answered ---- */

static int not_permitted(void)
{
    static const char *const texts[] = {"127.0.0.1", "::1"};
    if (!own_network("1 0")) /* nobody; not root either */
        return FIXTURE_SKIPPED;
    for (size_t i = 0; i < 2; i++) {
        struct bench bench;
        bench_init(&bench, texts[i]);
        MUST(ping_new(&bench.ping, bench.loop, &bench.address, 1, on_end, &bench) ==
             PING_E_NOT_PERMITTED);
        MUST(!bench.ping);
        bench_deinit(&bench);
    }
    return 0;
}

TEST(ping, not_permitted)
{
    skip_or_check(fixture_child(not_permitted));
}

static int cannot_be_sent(void)
{
    struct bench bench;
    if (!own_network("0 2147483647"))
        return FIXTURE_SKIPPED;
    bench_init(&bench, "192.0.2.1");
    MUST(ping_new(&bench.ping, bench.loop, &bench.address, 1, on_end, &bench) == -ENETUNREACH);
    MUST(address_parse(&bench.address, "2001:db8::1", 0) == 0);
    MUST(ping_new(&bench.ping, bench.loop, &bench.address, 1, on_end, &bench) == -ENETUNREACH);
    bench.address = (struct address){0};
    MUST(ping_new(&bench.ping, bench.loop, &bench.address, 1, on_end, &bench) == -EAFNOSUPPORT);
    MUST(!bench.ping);
    must_be_quiet(&bench);
    MUST(bench.n_calls == 0);
    bench_deinit(&bench);
    return 0;
}

TEST(ping, cannot_be_sent)
{
    skip_or_check(fixture_child(cannot_be_sent));
}

static int lowest_free_descriptor(void)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    MUST(fd >= 0);
    close(fd);
    return fd;
}

static int freed(void)
{
    struct bench bench;
    if (!own_network("0 2147483647"))
        return FIXTURE_SKIPPED;
    bench_init(&bench, "127.0.0.1");
    int lowest = lowest_free_descriptor();
    start(&bench, 1); /* the answer is here, but not told yet */
    bench.ping = ping_free(bench.ping);
    must_be_quiet(&bench);
    if (!silence())
        return FIXTURE_SKIPPED;
    start(&bench, PING_SIZE_MAX);
    must_be_quiet(&bench);
    bench.ping = ping_free(bench.ping);
    must_be_quiet(&bench);
    MUST(lowest_free_descriptor() == lowest);
    ping_free(NULL);
    bench_deinit(&bench);
    return 0;
}

TEST(ping, freed_while_it_waits)
{
    skip_or_check(fixture_child(freed));
}

/* ---- answered by the test ---- */

/* Hears the requests that the kernel does not answer, and sends what the test likes. */
struct peer {
    int fd; /* raw(7) */
    struct address address;
    unsigned char request[8 + PING_SIZE_MAX]; /* from the ICMP header on */
    size_t n_request;
};

static void peer_init(struct peer *peer, const struct address *address)
{
    int family = address_family(address);
    peer->address = *address;
    address_set_port(&peer->address, 0);
    peer->fd =
        socket(family, SOCK_RAW | SOCK_CLOEXEC, family == AF_INET ? IPPROTO_ICMP : IPPROTO_ICMPV6);
    MUST(peer->fd >= 0);
}

static void peer_take(struct peer *peer)
{
    bool v4 = address_family(&peer->address) == AF_INET;
    unsigned char packet[20 + sizeof(peer->request)];
    size_t skip = v4 ? 20 : 0; /* an IP header without options */
    do {
        ssize_t n = recv(peer->fd, packet, sizeof(packet), 0);
        MUST(n > (ssize_t)skip + 8);
        peer->n_request = (size_t)n - skip;
    } while (packet[skip] != (v4 ? ICMP_ECHO : ICMP6_ECHO_REQUEST));
    memcpy(peer->request, packet + skip, peer->n_request);
}

static void peer_send(const struct peer *peer, unsigned char *message, size_t n)
{
    /* RFC 1071; that of ICMPv6 is the kernel's work */
    uint32_t sum = 0;
    message[2] = message[3] = 0;
    for (size_t i = 0; i < n; i++)
        sum += (uint32_t)message[i] << (i % 2 ? 0 : 8);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = ~(sum + (sum >> 16)) & 0xffff;
    message[2] = (unsigned char)(sum >> 8);
    message[3] = (unsigned char)sum;
    MUST(sendto(peer->fd, message, n, 0, &peer->address.any, peer->address.n_bytes) == (ssize_t)n);
}

/* The reply, with the byte at that place changed (0: none), cut or lengthened. */
static void peer_reply(const struct peer *peer, size_t changed, int n_more)
{
    unsigned char message[sizeof(peer->request) + 8] = {0};
    bool v4 = address_family(&peer->address) == AF_INET;
    memcpy(message, peer->request, peer->n_request);
    message[0] = v4 ? ICMP_ECHOREPLY : ICMP6_ECHO_REPLY;
    if (changed)
        message[changed] ^= 1;
    peer_send(peer, message, (size_t)((int)peer->n_request + n_more));
}

/* An error report (RFC 792; RFC 4443 section 3) about the request, or one that is other in a byte.
 */
static void peer_report(const struct peer *peer, int type, int code, size_t changed)
{
    unsigned char message[8 + 40 + 8] = {(unsigned char)type, (unsigned char)code};
    unsigned char *ip = message + 8;
    size_t n_ip;
    if (address_family(&peer->address) == AF_INET) {
        n_ip = 20;
        ip[0] = 0x45;
        ip[3] = 28; /* total length */
        ip[8] = 64;
        ip[9] = IPPROTO_ICMP;
        memcpy(ip + 12, &peer->address.v4.sin_addr, 4);
        memcpy(ip + 16, &peer->address.v4.sin_addr, 4);
        memcpy(message + 4, &peer->address.v4.sin_addr, 4); /* of a redirect: the better router */
    } else {
        n_ip = 40;
        ip[0] = 0x60;
        ip[5] = 8; /* length behind the header */
        ip[6] = IPPROTO_ICMPV6;
        ip[7] = 64;
        memcpy(ip + 8, &peer->address.v6.sin6_addr, 16);
        memcpy(ip + 24, &peer->address.v6.sin6_addr, 16);
    }
    memcpy(ip + n_ip, peer->request, 8);
    if (changed)
        ip[n_ip + changed] ^= 1;
    peer_send(peer, message, 8 + n_ip + 8);
}

/* A ping of which the peer has the request. */
static void begin(struct bench *bench, struct peer *peer, const char *text, size_t size)
{
    bench_init(bench, text);
    peer_init(peer, &bench->address);
    start(bench, size);
    peer_take(peer);
    MUST(peer->n_request == 8 + size);
    must_be_quiet(bench);
}

static void finish(struct bench *bench, struct peer *peer, int sys_errno)
{
    fixture_pump(bench->loop, &bench->done);
    MUST(bench->sys_errno == sys_errno && bench->n_calls == 1);
    must_be_quiet(bench);
    close(peer->fd);
    bench_deinit(bench);
}

static int wrong_replies(void)
{
    static const char *const texts[] = {"127.0.0.1", "::1"};
    struct bench bench;
    struct peer peer;
    if (!own_network("0 2147483647") || !silence())
        return FIXTURE_SKIPPED;
    for (size_t i = 0; i < 2; i++) {
        begin(&bench, &peer, texts[i], 48);
        int64_t sent_us = loop_clock_us();
        for (size_t at = 6; at < 8 + 48; at++) /* sequence number and payload */
            peer_reply(&peer, at, 0);
        peer_reply(&peer, 0, -1);
        peer_reply(&peer, 0, -48);
        peer_reply(&peer, 0, 1);
        must_be_quiet(&bench);
        int64_t reply_us = loop_clock_us();
        peer_reply(&peer, 0, 0);
        peer_reply(&peer, 0, 0); /* twice: told once */
        fixture_pump(bench.loop, &bench.done);
        MUST(bench.took_us >= reply_us - sent_us);
        finish(&bench, &peer, 0);
    }
    return 0;
}

TEST(ping, wrong_replies_are_ignored)
{
    skip_or_check(fixture_child(wrong_replies));
}

static int cannot_be_guessed(void)
{
    struct bench bench;
    struct peer first, second;
    if (!own_network("0 2147483647") || !silence())
        return FIXTURE_SKIPPED;
    begin(&bench, &first, "127.0.0.1", 64);
    close(first.fd);
    bench_deinit(&bench);
    begin(&bench, &second, "127.0.0.1", 64);
    close(second.fd);
    bench_deinit(&bench);
    MUST(memcmp(first.request + 8, second.request + 8, 16) != 0);
    MUST(memcmp(first.request + 8 + 16, second.request + 8 + 16, 16) != 0);
    return 0;
}

TEST(ping, cannot_be_guessed)
{
    skip_or_check(fixture_child(cannot_be_guessed));
}

static int reports(void)
{
    static const struct {
        const char *text;
        int type, code, sys_errno;
    } cases[] = {
        {"127.0.0.1", ICMP_DEST_UNREACH, ICMP_HOST_UNREACH, EHOSTUNREACH},
        {"127.0.0.1", ICMP_DEST_UNREACH, ICMP_NET_UNREACH, ENETUNREACH},
        {"127.0.0.1", ICMP_DEST_UNREACH, ICMP_PORT_UNREACH, ECONNREFUSED},
        {"127.0.0.1", ICMP_TIME_EXCEEDED, ICMP_EXC_TTL, EHOSTUNREACH},
        {"::1", ICMP6_DST_UNREACH, ICMP6_DST_UNREACH_NOROUTE, ENETUNREACH},
        {"::1", ICMP6_DST_UNREACH, ICMP6_DST_UNREACH_ADDR, EHOSTUNREACH},
        {"::1", ICMP6_DST_UNREACH, ICMP6_DST_UNREACH_ADMIN, EACCES},
    };
    struct bench bench;
    struct peer peer;
    if (!own_network("0 2147483647") || !silence())
        return FIXTURE_SKIPPED;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        begin(&bench, &peer, cases[i].text, 1);
        /* about a former one's, which had the same identifier */
        peer_report(&peer, cases[i].type, cases[i].code, 7);
        must_be_quiet(&bench);
        peer_report(&peer, cases[i].type, cases[i].code, 6);
        peer_report(&peer, cases[i].type, cases[i].code, 0);
        finish(&bench, &peer, cases[i].sys_errno);
    }
    return 0;
}

TEST(ping, reports)
{
    skip_or_check(fixture_child(reports));
}

static int advice(void)
{
    struct bench bench;
    struct peer peer;
    if (!own_network("0 2147483647") || !silence())
        return FIXTURE_SKIPPED;
    begin(&bench, &peer, "127.0.0.1", 1);
    peer_report(&peer, ICMP_REDIRECT, ICMP_REDIR_HOST, 0);
    peer_report(&peer, ICMP_SOURCE_QUENCH, 0, 0);
    must_be_quiet(&bench);
    peer_reply(&peer, 0, 0);
    finish(&bench, &peer, 0);
    return 0;
}

TEST(ping, advice_of_routers_is_no_error)
{
    skip_or_check(fixture_child(advice));
}
