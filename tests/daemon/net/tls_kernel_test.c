/* The engine when the kernel encrypts. tests/integration/ktls_test.py has what comes of it when the
 * socket is handed out; here it is not, as when there is a reason to relay after all. */
#include <errno.h>
#include <fcntl.h>
#include <linux/tls.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/stream_internal.h"
#include "net/tls_internal.h"
#include "net_fixture.h"
#include "support/test.h"

enum { N_MOST = 256 * 1024 * 1024, N_BEHIND = 1024 * 1024 };

static bool kernel_can(void)
{
    const struct tls12_crypto_info_aes_gcm_128 keys = {
        .info = {.version = TLS_1_2_VERSION, .cipher_type = TLS_CIPHER_AES_GCM_128}};
    int a, b;

    fixture_pair(&a, &b);
    bool can = setsockopt(a, IPPROTO_TCP, TCP_ULP, "tls", sizeof("tls")) == 0 &&
               setsockopt(a, SOL_TLS, TLS_TX, &keys, sizeof(keys)) == 0 &&
               setsockopt(a, SOL_TLS, TLS_RX, &keys, sizeof(keys)) == 0;
    close(a);
    close(b);
    return can;
}

#define NEEDS_KERNEL()                                                                             \
    do {                                                                                           \
        if (!kernel_can())                                                                         \
            SKIP("the kernel does not speak TLS here; it needs the modules tls, gcm, ctr, ghash"); \
    } while (0)

struct end {
    struct loop *loop;
    struct dialers *dialers;
    struct fixture_ca ca;
    char folder[64];
    struct trust *trust;
    struct fixture_server server;
    struct stream *stream;
    bool ready;
};

static void on_ready(void *context, unsigned what)
{
    struct end *end = context;
    (void)what;
    end->ready = true;
}

/* Says that it is there; then all that comes goes back, at the pace of who reads it. */
static void serve_echo(struct fixture_server *server, SSL *ssl, int fd)
{
    char buffer[20000];
    const int small = 65536;
    int n;
    (void)server;
    MUST(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)) == 0);
    MUST(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)) == 0);
    MUST(SSL_write(ssl, "all there is", 12) == 12);
    while ((n = SSL_read(ssl, buffer, sizeof(buffer))) > 0)
        MUST(SSL_write(ssl, buffer, n) == n);
    MUST(SSL_get_error(ssl, n) == SSL_ERROR_ZERO_RETURN);
    MUST(SSL_shutdown(ssl) == 1);
}

/* A connection from which the handshake is not read by the library's own means, so that the kernel
 * is given the keys for sending only. */
static struct connection *ahead_connection(const struct address *address)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0);
    CHECK_INT(connect(fd, &address->any, address->n_bytes), 0);
    CHECK_INT(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    struct connection *connection = fixture_connection(fd);
    connection->ahead = malloc(1);
    CHECK(connection->ahead != NULL);
    return connection;
}

static void end_init(struct end *end, int version, bool ktls, bool hand_out, bool one_way)
{
    struct fixture_job job;
    char text[256];

    *end = (struct end){0};
    end->loop = fixture_loop();
    end->dialers = fixture_dialers(1);
    fixture_ca_init(&end->ca, "CA");
    fixture_folder(end->folder, end->ca.certificate);
    const struct trust_settings settings = {
        .cacerts = end->folder, .security_level = 2, .ktls = ktls};
    CHECK_INT(trust_new(&end->trust, &settings, text, sizeof(text)), 0);
    fixture_server_start(&end->server, &end->ca, "DNS:localhost", 30, version, 1, serve_echo);
    fixture_job_init(&job, end->loop, &end->server.address, 1, 10000);
    fixture_job_secure(&job, end->trust, "localhost", true);
    job.dial->hand_out = hand_out;
    if (one_way)
        job.dial->upgrade = ahead_connection(&end->server.address);
    fixture_job_run(&job, end->dialers);
    CHECK_INT(job.dial->error.cause, NET_OK);
    CHECK_INT(stream_import(&end->stream, &job.dial->connection, end->loop, on_ready, end), 0);
    dial_free(job.dial);
}

static void end_deinit(struct end *end)
{
    stream_free(end->stream, true);
    fixture_server_join(&end->server);
    fixture_dialers_free(end->dialers);
    trust_unref(end->trust);
    fixture_remove(end->folder);
    fixture_ca_deinit(&end->ca);
    fixture_loop_free(end->loop);
}

static void wait_for(struct end *end, unsigned what)
{
    end->ready = false;
    CHECK_INT(stream_interest(end->stream, what), 0);
    fixture_pump(end->loop, &end->ready);
}

static int read_some(struct end *end, void *buffer, size_t n, size_t *ret_n)
{
    int r;
    while ((r = stream_read(end->stream, buffer, n, ret_n)) == STREAM_E_AGAIN)
        wait_for(end, STREAM_READABLE);
    return r;
}

static unsigned char pattern_at(size_t i)
{
    return (unsigned char)(i * 31 % 253);
}

static void read_hello(struct end *end)
{
    char text[32];
    size_t n;

    CHECK_INT(read_some(end, text, sizeof(text), &n), 0);
    CHECK(n == 12 && memcmp(text, "all there is", n) == 0);
}

static void check_pattern(const unsigned char *data, size_t at, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (data[i] != pattern_at(at + i))
            CHECK(false, "byte %zu of what came back", at + i);
}

/* Nothing is read until a write has found no room: what blocks is what could go wrong. Of what was
 * not taken a copy goes on, and what was given is made useless. */
static void bulk(struct end *end)
{
    static unsigned char back[70000];
    size_t sent = 0, got = 0, total = N_MOST, n, n_block = 0;
    unsigned char *block = NULL;

    while (got < total) {
        while (sent < total) {
            size_t want = total - sent < 50000 ? total - sent : 50000;
            unsigned char *moved = malloc(want);
            CHECK(moved != NULL);
            for (size_t i = 0; i < want; i++)
                moved[i] = pattern_at(sent + i);
            if (block)
                memset(block, 0xee, n_block);
            free(block);
            block = moved;
            n_block = want;
            int r = stream_write(end->stream, block, n_block, &n);
            if (r == STREAM_E_AGAIN) {
                if (total == N_MOST)
                    total = sent + N_BEHIND;
                break;
            }
            CHECK_INT(r, 0);
            CHECK(n > 0 && n <= want);
            sent += n;
        }
        CHECK(total < N_MOST, "no write has blocked");
        int r = stream_read(end->stream, back, sizeof(back), &n);
        if (r == STREAM_E_AGAIN) {
            wait_for(end, STREAM_READABLE | (sent < total ? STREAM_WRITABLE : 0U));
            continue;
        }
        CHECK_INT(r, 0);
        check_pattern(back, got, n);
        got += n;
    }
    free(block);
}

static void say_goodbye(struct end *end)
{
    char byte;
    size_t n;

    CHECK_INT(stream_finish(end->stream), 0);
    CHECK_INT(read_some(end, &byte, 1, &n), STREAM_E_END);
}

TEST(tls_kernel, bare)
{
    struct end end;

    NEEDS_KERNEL();
    end_init(&end, TLS1_2_VERSION, true, true, false);
    CHECK(stream_bare(end.stream));
    CHECK_STRING(stream_tls(end.stream)->version, "TLSv1.2");
    read_hello(&end);
    CHECK(stream_bare(end.stream));
    say_goodbye(&end);
    CHECK(!stream_bare(end.stream));
    end_deinit(&end);
}

TEST(tls_kernel, part_of_a_record)
{
    struct end end;
    char text[32];
    size_t n;

    NEEDS_KERNEL();
    end_init(&end, TLS1_2_VERSION, true, true, false);
    CHECK_INT(read_some(&end, text, 4, &n), 0);
    CHECK_INT(n, 4);
    CHECK(!stream_bare(end.stream));
    CHECK(stream_pending(end.stream));
    CHECK_INT(stream_read(end.stream, text, sizeof(text), &n), 0);
    CHECK_INT(n, 8);
    CHECK(stream_bare(end.stream));
    say_goodbye(&end);
    end_deinit(&end);
}

/* The kernel encrypts, and yet the broker reads and writes. */
TEST(tls_kernel, bulk)
{
    struct end end;

    NEEDS_KERNEL();
    end_init(&end, TLS1_2_VERSION, true, true, false);
    CHECK(stream_bare(end.stream));
    read_hello(&end);
    bulk(&end);
    say_goodbye(&end);
    end_deinit(&end);
}

TEST(tls_kernel, sending_only)
{
    struct end end;

    NEEDS_KERNEL();
    end_init(&end, TLS1_2_VERSION, true, true, true);
    CHECK(!stream_bare(end.stream));
    CHECK(end.stream->connection->tls->kernel_sends);
    read_hello(&end);
    bulk(&end);
    say_goodbye(&end);
    end_deinit(&end);
}

/* With such a kernel and without it. */
static void check_not_bare(int version, bool ktls, bool hand_out)
{
    struct end end;

    end_init(&end, version, ktls, hand_out, false);
    CHECK(!stream_bare(end.stream));
    const struct tls_engine *engine = end.stream->connection->tls;
    CHECK(!engine->kernel_sends);
    CHECK_INT(SSL_get_read_ahead(engine->ssl), 1);
    read_hello(&end);
    bulk(&end);
    CHECK(!stream_bare(end.stream));
    say_goodbye(&end);
    end_deinit(&end);
}

TEST(tls_kernel, not_allowed)
{
    check_not_bare(TLS1_2_VERSION, false, true);
}

TEST(tls_kernel, not_wished)
{
    check_not_bare(TLS1_2_VERSION, true, false);
}

TEST(tls_kernel, tls13)
{
    check_not_bare(TLS1_3_VERSION, true, true);
}

TEST(tls_kernel, no_kernel)
{
    if (kernel_can())
        SKIP("the kernel speaks TLS here");
    check_not_bare(TLS1_2_VERSION, true, true);
}
