/* acceptor on loops: being told, moving, ending; and what only a filter of system calls brings
 * about. */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "net/acceptor.h"
#include "net_fixture.h"
#include "support/test.h"

static const struct tcp_options no_options;

struct bench {
    struct loop *loop;
    struct acceptor *acceptor;
    struct address local;
    bool called;
    int n_calls;
    bool free_inside, detach_inside;
};

static void on_ready(void *context)
{
    struct bench *bench = context;
    bench->called = true;
    bench->n_calls++;
    if (bench->free_inside)
        bench->acceptor = acceptor_free(bench->acceptor);
    if (bench->detach_inside)
        acceptor_detach(bench->acceptor);
}

static void bench_init(struct bench *bench)
{
    struct address address;
    *bench = (struct bench){.loop = fixture_loop()};
    CHECK_INT(address_parse(&address, "127.0.0.1", 0), 0);
    CHECK_INT(acceptor_new(&bench->acceptor, AF_UNSPEC, &address, 0, &bench->local), 0);
    CHECK_INT(acceptor_attach(bench->acceptor, bench->loop, on_ready, bench), 0);
}

static void bench_deinit(struct bench *bench)
{
    acceptor_free(bench->acceptor);
    fixture_loop_free(bench->loop);
}

static int client(const struct address *address)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    MUST(connect(fd, &address->any, address->n_bytes) == 0);
    return fd;
}

static void take(struct acceptor *acceptor)
{
    struct connection *connection;
    CHECK_INT(acceptor_accept(acceptor, &no_options, &connection), 0);
    connection_free(connection);
}

static void pump(struct bench *bench)
{
    bench->called = false;
    fixture_pump(bench->loop, &bench->called);
}

/* On loopback a connection waits as soon as connect(2) has returned: a few iterations tell. */
static void check_quiet(struct bench *bench)
{
    int before = bench->n_calls;
    for (int i = 0; i < 3; i++)
        fixture_spin(bench->loop);
    CHECK_INT(bench->n_calls, before);
}

TEST(acceptor_loop, tells_while_it_is_wanted)
{
    struct bench bench;
    bench_init(&bench);
    CHECK_INT(acceptor_listen(bench.acceptor, 4), 0);
    int first = client(&bench.local), second = client(&bench.local);
    check_quiet(&bench);
    acceptor_interest(bench.acceptor, true);
    acceptor_interest(bench.acceptor, true);
    pump(&bench);
    pump(&bench); /* level-triggered */
    take(bench.acceptor);
    pump(&bench); /* another one waits */
    acceptor_interest(bench.acceptor, false);
    check_quiet(&bench);
    acceptor_interest(bench.acceptor, true);
    pump(&bench);
    take(bench.acceptor);
    check_quiet(&bench);
    close(first);
    close(second);
    bench_deinit(&bench);
}

TEST(acceptor_loop, interest_before_listening)
{
    struct bench bench;
    bench_init(&bench);
    acceptor_interest(bench.acceptor, true);
    check_quiet(&bench);
    CHECK_INT(acceptor_listen(bench.acceptor, 4), 0);
    check_quiet(&bench);
    int fd = client(&bench.local);
    pump(&bench);
    take(bench.acceptor);
    close(fd);
    bench_deinit(&bench);
}

TEST(acceptor_loop, freed_inside_on_ready)
{
    struct bench bench;
    char byte;
    bench_init(&bench);
    CHECK_INT(acceptor_listen(bench.acceptor, 4), 0);
    acceptor_interest(bench.acceptor, true);
    int fd = client(&bench.local);
    bench.free_inside = true;
    pump(&bench);
    CHECK(!bench.acceptor);
    check_quiet(&bench);
    CHECK(recv(fd, &byte, 1, 0) < 0);
    CHECK_INT(errno, ECONNRESET);
    close(fd);
    bench_deinit(&bench);
}

TEST(acceptor_loop, detached_inside_on_ready)
{
    struct bench bench;
    bench_init(&bench);
    CHECK_INT(acceptor_listen(bench.acceptor, 4), 0);
    acceptor_interest(bench.acceptor, true);
    int fd = client(&bench.local);
    bench.detach_inside = true;
    pump(&bench);
    check_quiet(&bench);
    acceptor_detach(bench.acceptor); /* twice is fine */
    bench.detach_inside = false;
    CHECK_INT(acceptor_attach(bench.acceptor, bench.loop, on_ready, &bench), 0);
    CHECK_INT(acceptor_listen(bench.acceptor, 5), 0);
    check_quiet(&bench); /* the interest has ended, too */
    acceptor_interest(bench.acceptor, true);
    pump(&bench);
    take(bench.acceptor); /* nothing is lost on the way */
    close(fd);
    bench_deinit(&bench);
}

/* ---- from thread to thread ---- */

struct traveller {
    struct mail mail, arrived;
    struct acceptor *acceptor;
    struct loop *home, *abroad;
    int n_accepted;
    bool done;
};

static void on_ready_abroad(void *context)
{
    struct traveller *traveller = context;
    struct connection *connection;
    MUST(acceptor_accept(traveller->acceptor, &no_options, &connection) == 0);
    connection_free(connection);
    traveller->n_accepted++;
    acceptor_detach(traveller->acceptor);
    loop_post(traveller->home, &traveller->arrived);
}

static void land(struct mail *mail)
{
    struct traveller *traveller = container_of(mail, struct traveller, mail);
    MUST(acceptor_attach(traveller->acceptor, traveller->abroad, on_ready_abroad, traveller) == 0);
    acceptor_interest(traveller->acceptor, true);
}

static void on_arrived(struct mail *mail)
{
    container_of(mail, struct traveller, arrived)->done = true;
}

TEST(acceptor_loop, moves_between_loops)
{
    enum { N = 20 };
    struct bench bench;
    bench_init(&bench);
    struct traveller traveller = {.mail.deliver = land,
                                  .arrived.deliver = on_arrived,
                                  .acceptor = bench.acceptor,
                                  .home = bench.loop};
    CHECK_INT(acceptor_listen(bench.acceptor, 4), 0);
    CHECK_INT(loop_new(&traveller.abroad, "abroad", 0), 0);
    CHECK_INT(loop_start(traveller.abroad), 0);
    for (int i = 0; i < N; i++) {
        /* one that waits when it leaves, one that comes while it is abroad */
        int first = i % 2 ? client(&bench.local) : -1;
        acceptor_detach(bench.acceptor);
        traveller.done = false;
        loop_post(traveller.abroad, &traveller.mail);
        if (first < 0)
            first = client(&bench.local);
        fixture_pump(traveller.home, &traveller.done);
        CHECK_INT(acceptor_attach(bench.acceptor, bench.loop, on_ready, &bench), 0);
        acceptor_interest(bench.acceptor, true);
        int second = client(&bench.local);
        pump(&bench);
        take(bench.acceptor);
        close(first);
        close(second);
    }
    CHECK_INT(traveller.n_accepted, N);
    loop_stop(traveller.abroad);
    loop_join(traveller.abroad);
    loop_free(traveller.abroad);
    bench_deinit(&bench);
}

/* ---- what the system says seldom ---- */

/* From now on that system call gives that error when its first argument is what is told (-1: any).
 * seccomp(2) is for good: in a child only. Returns false where there is none. */
static bool fail_call(long number, int first_argument, int sys_errno)
{
    const __u32 first_offset = offsetof(struct seccomp_data, args);
    struct sock_filter instructions[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (__u32)number, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, first_offset),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (__u32)first_argument, 0, first_argument < 0 ? 0 : 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (__u32)sys_errno),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = sizeof(instructions) / sizeof(instructions[0]),
                                 .filter = instructions};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

static void skip_or_check(int status)
{
    if (status == FIXTURE_SKIPPED)
        SKIP("needs a kernel with seccomp filters");
    CHECK_INT(status, 0);
}

static int accept_fails(int sys_errno)
{
    struct acceptor *acceptor;
    struct address address, local;
    struct connection *connection;
    MUST(address_parse(&address, "127.0.0.1", 0) == 0);
    MUST(acceptor_new(&acceptor, AF_UNSPEC, &address, 0, &local) == 0);
    MUST(acceptor_listen(acceptor, 4) == 0);
    int fd = client(&local);
    if (!fail_call(SYS_accept4, -1, sys_errno))
        return FIXTURE_SKIPPED;
    int r = acceptor_accept(acceptor, &no_options, &connection);
    MUST(r == (sys_errno == ENOBUFS ? -ENOBUFS : ACCEPTOR_E_AGAIN));
    close(fd);
    acceptor_free(acceptor);
    return 0;
}

static int aborted(void)
{
    return accept_fails(ECONNABORTED);
}

static int unreachable(void)
{
    return accept_fails(EHOSTUNREACH);
}

static int no_memory(void)
{
    return accept_fails(ENOBUFS);
}

TEST(acceptor_loop, failed_connections_are_passed_over)
{
    skip_or_check(fixture_child(aborted));
    skip_or_check(fixture_child(unreachable));
}

TEST(acceptor_loop, other_errors_are_told)
{
    skip_or_check(fixture_child(no_memory));
}

static int host_without_ipv6(void)
{
    struct acceptor *acceptor = NULL;
    const struct address any = {0};
    struct address local;
    if (!fail_call(SYS_socket, AF_INET6, EAFNOSUPPORT))
        return FIXTURE_SKIPPED;
    MUST(acceptor_new(&acceptor, AF_INET6, &any, 0, &local) == -EAFNOSUPPORT && !acceptor);
    MUST(acceptor_new(&acceptor, AF_UNSPEC, &any, 0, &local) == 0);
    MUST(address_family(&local) == AF_INET && address_port(&local) != 0);
    MUST(local.v4.sin_addr.s_addr == htonl(INADDR_ANY));
    acceptor_free(acceptor);
    return 0;
}

TEST(acceptor_loop, host_without_ipv6)
{
    skip_or_check(fixture_child(host_without_ipv6));
}
