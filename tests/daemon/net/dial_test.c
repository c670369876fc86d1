#include "net/dial.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <unistd.h>

#include "net_fixture.h"
#include "support/test.h"

/* An address of this host that nobody listens on. */
static struct address refused_address(void)
{
    struct address address;
    close(fixture_listen(&address, 1));
    return address;
}

/* A listener whose queue is full: Linux drops further SYNs, so connects hang. */
struct blackhole {
    struct address address;
    int listener, fillers[4];
};

static void blackhole_init(struct blackhole *hole)
{
    hole->listener = fixture_listen(&hole->address, 0);
    for (int i = 0; i < 4; i++) {
        hole->fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        (void)!connect(hole->fillers[i], &hole->address.any, hole->address.n_bytes);
    }
}

static void blackhole_deinit(struct blackhole *hole)
{
    for (int i = 0; i < 4; i++)
        close(hole->fillers[i]);
    close(hole->listener);
}

struct bench {
    struct loop *loop;
    struct dialers *dialers;
    struct fixture_job job;
};

static void bench_init(struct bench *bench)
{
    bench->loop = fixture_loop();
    bench->dialers = fixture_dialers(2);
}

static void bench_deinit(struct bench *bench)
{
    dial_free(bench->job.dial);
    fixture_dialers_free(bench->dialers);
    fixture_loop_free(bench->loop);
}

TEST(dial, connects_with_options)
{
    struct bench bench;
    struct address address;
    int value = 0, listener = fixture_listen(&address, 1);
    socklen_t n = sizeof(value);
    bench_init(&bench);
    fixture_job_init(&bench.job, bench.loop, &address, 1, 5000);
    fixture_job_run(&bench.job, bench.dialers);
    struct dial *dial = bench.job.dial;
    CHECK_INT(dial->error.cause, NET_OK);
    CHECK(dial->connection != NULL);
    CHECK(address_equal(&dial->connection->remote, &address));
    CHECK(address_port(&dial->connection->local) != 0);
    CHECK(!dial->connection->tls && !dial->connection->facts);
    CHECK_INT(getsockopt(dial->connection->fd, IPPROTO_TCP, TCP_NODELAY, &value, &n), 0);
    CHECK_INT(value, 1);
    CHECK_INT(getsockopt(dial->connection->fd, IPPROTO_TCP, TCP_KEEPIDLE, &value, &n), 0);
    CHECK_INT(value, 60);
    CHECK_INT(dial->error.n_attempts, 1);
    CHECK(dial->connect_us > 0 && dial->handshake_us == 0);
    close(listener);
    bench_deinit(&bench);
}

TEST(dial, refused)
{
    struct bench bench;
    struct address addresses[2] = {refused_address(), refused_address()};
    bench_init(&bench);
    fixture_job_init(&bench.job, bench.loop, addresses, 2, 5000);
    fixture_job_run(&bench.job, bench.dialers);
    const struct net_error *error = &bench.job.dial->error;
    CHECK_INT(error->cause, NET_SYSTEM);
    CHECK_INT(error->stage, NET_STAGE_CONNECT);
    CHECK_INT(error->sys_errno, ECONNREFUSED);
    CHECK_INT(error->n_attempts, 2);
    CHECK_INT(error->attempts[0].sys_errno, ECONNREFUSED);
    CHECK(address_equal(&error->attempts[1].address, &addresses[1]));
    bench_deinit(&bench);
}

static struct net_error run_backed_off(struct bench *bench, const struct address *addresses,
                                       size_t n, int64_t timeout_ms, const struct address *local)
{
    dial_free(bench->job.dial);
    fixture_job_init(&bench->job, bench->loop, addresses, n, timeout_ms);
    bench->job.dial->own_settings = true;
    bench->job.dial->settings = (struct dial_settings){
        .stagger_ms = 50, .backoff = {.after = 2, .min_ms = 600000, .max_ms = 600000}};
    if (local)
        bench->job.dial->local = *local;
    fixture_job_run(&bench->job, bench->dialers);
    return bench->job.dial->error;
}

TEST(dial, leaves_alone_who_keeps_refusing)
{
    struct bench bench = {0};
    struct address both[3] = {refused_address()}, local;
    int listener = fixture_listen(&both[1], 8);
    bench_init(&bench);
    CHECK_INT(address_parse(&local, "127.0.0.1", 0), 0);

    struct net_error error = run_backed_off(&bench, both, 1, 5000, NULL);
    CHECK_INT(error.sys_errno, ECONNREFUSED);
    CHECK(!error.attempts[0].untried && !error.backed_off && !error.retry_at_us);
    error = run_backed_off(&bench, both, 1, 5000, NULL); /* the one that begins the pause says so */
    CHECK(!error.attempts[0].untried && !error.backed_off);
    CHECK_INT(error.n_refused, 2);
    CHECK(error.retry_at_us > loop_clock_us() + 590000000);
    for (int i = 0; i < 4; i++) { /* by whichever thread */
        error = run_backed_off(&bench, both, 1, 5000, NULL);
        CHECK_INT(error.cause, NET_SYSTEM);
        CHECK_INT(error.stage, NET_STAGE_CONNECT);
        CHECK_INT(error.sys_errno, ECONNREFUSED);
        CHECK_INT(error.n_attempts, 1);
        CHECK_INT(error.attempts[0].sys_errno, ECONNREFUSED);
        CHECK(error.attempts[0].untried && error.backed_off);
        CHECK_INT(error.n_refused, 2);
        CHECK(error.retry_at_us > loop_clock_us() + 590000000);
    }
    /* its neighbour is tried; it is told as left alone, before the others */
    error = run_backed_off(&bench, both, 2, 5000, NULL);
    CHECK_INT(error.cause, NET_OK);
    CHECK_INT(error.n_attempts, 2);
    CHECK(error.attempts[0].untried && address_equal(&error.attempts[0].address, &both[0]));
    CHECK_INT(error.attempts[1].sys_errno, NET_ATTEMPT_CONNECTED);
    /* another that refuses, for the first time: there is no need to wait */
    both[2] = refused_address();
    const struct address refusing[2] = {both[0], both[2]};
    error = run_backed_off(&bench, refusing, 2, 5000, NULL);
    CHECK_INT(error.sys_errno, ECONNREFUSED);
    CHECK(error.attempts[0].untried && !error.attempts[1].untried && !error.backed_off);
    CHECK_INT(error.retry_at_us, 0);
    error = run_backed_off(&bench, refusing, 2, 5000, NULL); /* and now there is */
    CHECK(!error.backed_off && error.retry_at_us > 0);
    error = run_backed_off(&bench, refusing, 2, 5000, NULL);
    CHECK(error.backed_off && error.attempts[0].untried && error.attempts[1].untried);
    /* from an address of one's own: nothing is known of that way */
    error = run_backed_off(&bench, both, 1, 5000, &local);
    CHECK_INT(error.sys_errno, ECONNREFUSED);
    CHECK(!error.attempts[0].untried && !error.backed_off && error.retry_at_us == 0);
    close(listener);
    bench_deinit(&bench);
}

/* What was tried tells more than what was not. */
TEST(dial, left_alone_beside_one_that_fails_otherwise)
{
    struct bench bench = {0};
    struct address addresses[2] = {refused_address()};
    bench_init(&bench);
    for (int i = 0; i < 2; i++)
        CHECK_INT(run_backed_off(&bench, addresses, 1, 5000, NULL).sys_errno, ECONNREFUSED);
    CHECK_INT(address_parse(&addresses[1], "224.0.0.1", 1), 0); /* ENETUNREACH: nothing is sent */
    struct net_error error = run_backed_off(&bench, addresses, 2, 5000, NULL);
    CHECK_INT(error.sys_errno, ECONNREFUSED);
    CHECK_INT(error.n_attempts, 2);
    CHECK(error.attempts[0].untried && !error.backed_off && error.retry_at_us == 0);
    struct blackhole hole;
    blackhole_init(&hole);
    addresses[1] = hole.address;
    error = run_backed_off(&bench, addresses, 2, 100, NULL);
    CHECK_INT(error.cause, NET_TIMED_OUT);
    CHECK_INT(error.n_attempts, 2);
    CHECK(error.attempts[0].untried && error.attempts[1].ms >= 90 && error.retry_at_us == 0);
    blackhole_deinit(&hole);
    bench_deinit(&bench);
}

/* More addresses than can be told, all but the last left alone: that one is tried. */
TEST(dial, left_alone_are_many)
{
    enum { N = 40 };
    struct bench bench = {0};
    struct address addresses[N];
    bench_init(&bench);
    for (unsigned i = 0; i < N; i++) {
        addresses[i] = refused_address();
        CHECK_INT(run_backed_off(&bench, &addresses[i], 1, 5000, NULL).sys_errno, ECONNREFUSED);
        CHECK_INT(run_backed_off(&bench, &addresses[i], 1, 5000, NULL).sys_errno, ECONNREFUSED);
    }
    struct net_error error = run_backed_off(&bench, addresses, N, 5000, NULL);
    CHECK(error.backed_off && error.retry_at_us > 0);
    CHECK_INT(error.n_attempts, NET_ATTEMPTS_MAX);
    int listener = fixture_listen(&addresses[N - 1], 8);
    error = run_backed_off(&bench, addresses, N, 5000, NULL);
    CHECK_INT(error.cause, NET_OK);
    CHECK_INT(error.n_attempts, NET_ATTEMPTS_MAX);
    CHECK_INT(error.attempts[NET_ATTEMPTS_MAX - 1].sys_errno, NET_ATTEMPT_CONNECTED);
    CHECK(error.attempts[NET_ATTEMPTS_MAX - 2].untried);
    close(listener);
    bench_deinit(&bench);
}

TEST(dial, second_address_wins)
{
    struct bench bench;
    struct address addresses[3] = {refused_address()};
    int listener = fixture_listen(&addresses[1], 1);
    addresses[2] = refused_address();
    bench_init(&bench);
    fixture_job_init(&bench.job, bench.loop, addresses, 3, 5000);
    fixture_job_run(&bench.job, bench.dialers);
    CHECK_INT(bench.job.dial->error.cause, NET_OK);
    CHECK(address_equal(&bench.job.dial->connection->remote, &addresses[1]));
    CHECK_INT(bench.job.dial->error.n_attempts, 2);
    close(listener);
    bench_deinit(&bench);
}

TEST(dial, hanging_address_is_overtaken)
{
    struct bench bench;
    struct blackhole hole;
    struct address addresses[2];
    blackhole_init(&hole);
    addresses[0] = hole.address;
    int listener = fixture_listen(&addresses[1], 1);
    bench_init(&bench);
    fixture_job_init(&bench.job, bench.loop, addresses, 2, 10000);
    fixture_job_run(&bench.job, bench.dialers);
    CHECK_INT(bench.job.dial->error.cause, NET_OK);
    CHECK(address_equal(&bench.job.dial->connection->remote, &addresses[1]));
    CHECK(bench.job.dial->error.attempts[0].ms >= 49);
    close(listener);
    blackhole_deinit(&hole);
    bench_deinit(&bench);
}

TEST(dial, deadline_in_connect)
{
    struct bench bench;
    struct blackhole hole;
    blackhole_init(&hole);
    bench_init(&bench);
    fixture_job_init(&bench.job, bench.loop, &hole.address, 1, 100);
    int64_t before = loop_clock_us();
    fixture_job_run(&bench.job, bench.dialers);
    const struct net_error *error = &bench.job.dial->error;
    CHECK_INT(error->cause, NET_TIMED_OUT);
    CHECK_INT(error->stage, NET_STAGE_CONNECT);
    CHECK_INT(error->n_attempts, 1);
    CHECK_INT(error->attempts[0].sys_errno, 0);
    CHECK(error->attempts[0].ms >= 90);
    CHECK(loop_clock_us() - before >= 99000);
    blackhole_deinit(&hole);
    bench_deinit(&bench);
}

TEST(dial, deadline_passed_already)
{
    struct bench bench;
    struct address address;
    int listener = fixture_listen(&address, 1);
    bench_init(&bench);
    fixture_job_init(&bench.job, bench.loop, &address, 1, -1);
    fixture_job_run(&bench.job, bench.dialers);
    CHECK_INT(bench.job.dial->error.cause, NET_TIMED_OUT);
    CHECK_INT(bench.job.dial->error.n_attempts, 0);
    close(listener);
    bench_deinit(&bench);
}

TEST(dial, deadline_in_handshake)
{
    struct bench bench;
    struct address address;
    char folder[64];
    struct fixture_ca ca;
    int listener = fixture_listen(&address, 4); /* takes connections, says nothing */
    fixture_ca_init(&ca, "CA");
    fixture_folder(folder, ca.certificate);
    struct trust *trust = fixture_trust(folder);
    bench_init(&bench);
    fixture_job_init(&bench.job, bench.loop, &address, 1, 100);
    fixture_job_secure(&bench.job, trust, "localhost", true);
    fixture_job_run(&bench.job, bench.dialers);
    CHECK_INT(bench.job.dial->error.cause, NET_TIMED_OUT);
    CHECK_INT(bench.job.dial->error.stage, NET_STAGE_TLS);
    CHECK(!bench.job.dial->connection);
    bench_deinit(&bench);
    trust_unref(trust);
    fixture_remove(folder);
    fixture_ca_deinit(&ca);
    close(listener);
}

TEST(dial, no_address_of_that_family)
{
    struct bench bench;
    struct address address = refused_address();
    bench_init(&bench);
    fixture_job_init(&bench.job, bench.loop, &address, 1, 1000);
    bench.job.dial->family = AF_INET6;
    fixture_job_run(&bench.job, bench.dialers);
    CHECK_INT(bench.job.dial->error.cause, NET_SYSTEM);
    CHECK_INT(bench.job.dial->error.sys_errno, EAFNOSUPPORT);
    CHECK_INT(bench.job.dial->error.n_attempts, 0);
    bench_deinit(&bench);
}

TEST(dial, from_a_local_address)
{
    struct bench bench;
    struct address address, from;
    int listener = fixture_listen(&address, 4);
    bench_init(&bench);
    CHECK_INT(address_parse(&from, "127.0.0.9", 0), 0);
    fixture_job_init(&bench.job, bench.loop, &address, 1, 5000);
    bench.job.dial->local = from;
    fixture_job_run(&bench.job, bench.dialers);
    CHECK_INT(bench.job.dial->error.cause, NET_OK);
    address_set_port(&from, address_port(&bench.job.dial->connection->local));
    CHECK(address_equal(&bench.job.dial->connection->local, &from));
    dial_free(bench.job.dial);
    CHECK_INT(address_parse(&from, "192.0.2.1", 0), 0); /* RFC 5737: nobody's */
    fixture_job_init(&bench.job, bench.loop, &address, 1, 5000);
    bench.job.dial->local = from;
    fixture_job_run(&bench.job, bench.dialers);
    CHECK_INT(bench.job.dial->error.sys_errno, EADDRNOTAVAIL);
    close(listener);
    bench_deinit(&bench);
}

TEST(dial, no_descriptor_left)
{
    struct bench bench;
    struct rlimit before, none;
    struct address address;
    int listener = fixture_listen(&address, 4);
    bench_init(&bench);
    fixture_job_init(&bench.job, bench.loop, &address, 1, 5000);
    CHECK_INT(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = before;
    none.rlim_cur = 0;
    CHECK_INT(setrlimit(RLIMIT_NOFILE, &none), 0);
    fixture_job_run(&bench.job, bench.dialers);
    CHECK_INT(setrlimit(RLIMIT_NOFILE, &before), 0);
    CHECK_INT(bench.job.dial->error.cause, NET_SYSTEM);
    CHECK_INT(bench.job.dial->error.sys_errno, EMFILE);
    close(listener);
    bench_deinit(&bench);
}

/* Cancelled at whatever stage chance brings: every job comes back exactly once. */
TEST(dial, cancel_at_every_stage)
{
    enum { N = 300 };
    static struct fixture_job jobs[N];
    struct bench bench = {0};
    struct blackhole hole;
    struct address fine, silent;
    struct fixture_ca ca;
    char folder[64];
    int listener = fixture_listen(&fine, N), silent_listener = fixture_listen(&silent, N);
    unsigned random = 1;
    int n_cancelled = 0, n_other = 0;

    fixture_ca_init(&ca, "CA");
    fixture_folder(folder, ca.certificate);
    struct trust *trust = fixture_trust(folder);
    blackhole_init(&hole);
    bench_init(&bench);
    for (int i = 0; i < N; i++) {
        const struct address *to = i % 3 == 0 ? &hole.address : i % 3 == 1 ? &silent : &fine;
        fixture_job_init(&jobs[i], bench.loop, to, 1, 5000);
        if (i % 3 == 1)
            fixture_job_secure(&jobs[i], trust, "localhost", true);
        struct dial *dial = jobs[i].dial;
        fixture_job_post(&jobs[i], bench.dialers);
        for (unsigned spins = (random = random * 1103515245u + 12345u) >> 20; spins > 0; spins--)
            __asm__ volatile("" ::: "memory");
        dial_cancel(dial);
        dial_cancel(dial); /* twice does nothing more */
        fixture_spin(bench.loop);
    }
    for (int i = 0; i < N; i++) {
        fixture_pump(bench.loop, &jobs[i].done);
        CHECK_INT(jobs[i].n_done, 1);
        if (jobs[i].dial->error.cause == NET_CANCELLED)
            n_cancelled++;
        else if (jobs[i].dial->error.cause == NET_OK && i % 3 == 2)
            n_other++;
        CHECK(jobs[i].dial->error.cause != NET_CANCELLED || !jobs[i].dial->connection);
        dial_free(jobs[i].dial);
    }
    CHECK_INT(n_cancelled + n_other, N);
    CHECK(n_cancelled >= N / 3);
    blackhole_deinit(&hole);
    bench_deinit(&bench);
    trust_unref(trust);
    fixture_remove(folder);
    fixture_ca_deinit(&ca);
    close(listener);
    close(silent_listener);
}

TEST(dial, stop_brings_everything_back)
{
    enum { N = 40 };
    static struct fixture_job jobs[N];
    struct bench bench = {0};
    struct blackhole hole;
    blackhole_init(&hole);
    bench_init(&bench);
    for (int i = 0; i < N; i++) {
        fixture_job_init(&jobs[i], bench.loop, &hole.address, 1, 60000);
        struct dial *dial = jobs[i].dial;
        fixture_job_post(&jobs[i], bench.dialers);
        if (i % 4 == 0)
            dial_cancel(dial);
    }
    dialers_stop(bench.dialers);
    struct fixture_job late;
    fixture_job_init(&late, bench.loop, &hole.address, 1, 60000);
    fixture_job_post(&late, bench.dialers);
    dialers_free(bench.dialers);
    for (int i = 0; i < N; i++) {
        fixture_pump(bench.loop, &jobs[i].done);
        CHECK_INT(jobs[i].dial->error.cause, NET_CANCELLED);
        dial_free(jobs[i].dial);
    }
    fixture_pump(bench.loop, &late.done);
    CHECK_INT(late.dial->error.cause, NET_CANCELLED);
    dial_free(late.dial);
    blackhole_deinit(&hole);
    fixture_loop_free(bench.loop);
}
