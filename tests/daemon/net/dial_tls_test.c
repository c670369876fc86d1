#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509_vfy.h>
#include <unistd.h>

#include "net_fixture.h"
#include "support/test.h"

struct tls_bench {
    struct loop *loop;
    struct dialers *dialers;
    struct fixture_job job;
    struct fixture_ca ca;
    char folder[64];
    struct trust *trust;
};

static void tls_bench_init(struct tls_bench *bench)
{
    bench->loop = fixture_loop();
    bench->dialers = fixture_dialers(1);
    fixture_ca_init(&bench->ca, "CA, of the test");
    fixture_folder(bench->folder, bench->ca.certificate);
    bench->trust = fixture_trust(bench->folder);
}

static void tls_bench_deinit(struct tls_bench *bench)
{
    dial_free(bench->job.dial);
    fixture_dialers_free(bench->dialers);
    trust_unref(bench->trust);
    fixture_remove(bench->folder);
    fixture_ca_deinit(&bench->ca);
    fixture_loop_free(bench->loop);
}

static void run_to(struct tls_bench *bench, const struct address *address, const char *server_name,
                   bool verify)
{
    fixture_job_init(&bench->job, bench->loop, address, 1, 10000);
    fixture_job_secure(&bench->job, bench->trust, server_name, verify);
    fixture_job_run(&bench->job, bench->dialers);
}

/* One connection to a server with such a certificate, issued by ca. */
static const struct net_error *run_against(struct tls_bench *bench, const struct fixture_ca *ca,
                                           const char *names, int days, const char *server_name,
                                           bool verify)
{
    struct fixture_server server;
    fixture_server_start(&server, ca, names, days, TLS1_3_VERSION, 1, NULL);
    run_to(bench, &server.address, server_name, verify);
    fixture_server_join(&server);
    return &bench->job.dial->error;
}

TEST(dial_tls, verified)
{
    struct tls_bench bench;
    struct fixture_server server;
    tls_bench_init(&bench);
    fixture_server_start(&server, &bench.ca, "DNS:localhost", 30, TLS1_3_VERSION, 1, NULL);
    fixture_job_init(&bench.job, bench.loop, &server.address, 1, 10000);
    fixture_job_secure(&bench.job, bench.trust, "localhost.", true); /* the dot is dropped */
    memcpy(bench.job.dial->alpn, "\x02h2\x08http/1.1", 12);
    bench.job.dial->n_alpn = 12;
    fixture_job_run(&bench.job, bench.dialers);
    fixture_server_join(&server);
    const struct dial *dial = bench.job.dial;
    CHECK_INT(dial->error.cause, NET_OK);
    const struct tls_facts *facts = dial->connection->facts;
    CHECK(dial->connection->tls && facts);
    CHECK_STRING(facts->version, "TLSv1.3");
    CHECK_STRING(facts->alpn, "h2");
    CHECK_STRING(facts->server_name, "localhost");
    CHECK(facts->verified && facts->has_peer && !facts->resumed);
    CHECK_STRING(facts->subject, "CN=server.test");
    CHECK_STRING(facts->issuer, "CN=CA\\, of the test");
    CHECK_INT(strlen(facts->sha256), 64);
    CHECK_INT(strlen(facts->not_after), 20);
    CHECK(dial->handshake_us > 0);
    tls_bench_deinit(&bench);
}

TEST(dial_tls, unknown_ca)
{
    struct tls_bench bench;
    struct fixture_ca other;
    tls_bench_init(&bench);
    fixture_ca_init(&other, "somebody else");
    const struct net_error *error =
        run_against(&bench, &other, "DNS:localhost", 30, "localhost", true);
    CHECK_INT(error->cause, NET_TLS_VERIFY);
    CHECK_INT(error->stage, NET_STAGE_TLS);
    CHECK_INT(error->verify_code, X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY);
    CHECK_INT(error->verify_depth, 0);
    CHECK_STRING(error->subject, "CN=server.test");
    CHECK_STRING(error->issuer, "CN=somebody else");
    CHECK(*error->verify_text);
    CHECK(!bench.job.dial->connection);
    dial_free(bench.job.dial);
    /* the same without verification */
    error = run_against(&bench, &other, "DNS:localhost", 30, "localhost", false);
    CHECK_INT(error->cause, NET_OK);
    CHECK(!bench.job.dial->connection->facts->verified);
    fixture_ca_deinit(&other);
    tls_bench_deinit(&bench);
}

TEST(dial_tls, names)
{
    static const struct {
        const char *names, *asked;
        bool fits;
    } cases[] = {
        {"DNS:localhost", "localhost", true},
        {"DNS:localhost", "LOCALHOST", true},
        {"DNS:localhost", "other", false},
        {"DNS:*.example.org", "a.example.org", true},
        {"DNS:*.example.org", "a.b.example.org", false},
        {"DNS:*.example.org", "example.org", false},
        {"DNS:a*.example.org", "ab.example.org", false}, /* partial wildcard */
        {"IP:127.0.0.1", "127.0.0.1", true},
        {"IP:127.0.0.2", "127.0.0.1", false},
        {"IP:::1", "::1", true},
        {"IP:::1", "[::1]", true},
        {"DNS:127.0.0.1", "127.0.0.1", false}, /* a literal is no dNSName */
        {"", "server.test", false},
        {"DNS:xn--bcher-kva.test", "bücher.test", true},
        {"DNS:xn--bcher-kva.test", "BÜCHER.test", true},
        {"DNS:xn--bcher-kva.test", "bucher.test", false},
    };
    struct tls_bench bench;
    tls_bench_init(&bench);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct net_error *error =
            run_against(&bench, &bench.ca, cases[i].names, 30, cases[i].asked, true);
        if ((error->cause == NET_OK) != cases[i].fits)
            fprintf(stderr, "%s against %s\n", cases[i].asked, cases[i].names);
        CHECK_INT(error->cause, cases[i].fits ? NET_OK : NET_TLS_VERIFY);
        if (!cases[i].fits)
            CHECK(error->verify_code == X509_V_ERR_HOSTNAME_MISMATCH ||
                  error->verify_code == X509_V_ERR_IP_ADDRESS_MISMATCH);
        dial_free(bench.job.dial);
    }
    bench.job.dial = NULL;
    tls_bench_deinit(&bench);
}

TEST(dial_tls, expired)
{
    struct tls_bench bench;
    tls_bench_init(&bench);
    const struct net_error *error =
        run_against(&bench, &bench.ca, "DNS:localhost", -1, "localhost", true);
    CHECK_INT(error->cause, NET_TLS_VERIFY);
    CHECK_INT(error->verify_code, X509_V_ERR_CERT_HAS_EXPIRED);
    tls_bench_deinit(&bench);
}

TEST(dial_tls, names_that_switch_checks_off_are_refused)
{
    static const char *const names[] = {
        "", ".", ".example.org", "a b", "*.example.org", "b\xff.example"};
    struct tls_bench bench;
    struct address address;
    char long_name[256];
    int listener = fixture_listen(&address, 4);
    tls_bench_init(&bench);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        run_to(&bench, &address, names[i], true);
        CHECK_INT(bench.job.dial->error.cause, NET_SYSTEM);
        CHECK_INT(bench.job.dial->error.sys_errno, EINVAL);
        CHECK_INT(bench.job.dial->error.n_attempts, 0);
        dial_free(bench.job.dial);
    }
    memset(long_name, 'a', 254);
    long_name[254] = '\0';
    run_to(&bench, &address, long_name, true);
    CHECK_INT(bench.job.dial->error.sys_errno, EINVAL);
    close(listener);
    tls_bench_deinit(&bench);
}

TEST(dial_tls, version_too_old)
{
    struct tls_bench bench;
    struct fixture_server server;
    tls_bench_init(&bench);
    fixture_server_start(&server, &bench.ca, "DNS:localhost", 30, TLS1_2_VERSION, 1, NULL);
    fixture_job_init(&bench.job, bench.loop, &server.address, 1, 10000);
    fixture_job_secure(&bench.job, bench.trust, "localhost", true);
    bench.job.dial->min_tls13 = true;
    fixture_job_run(&bench.job, bench.dialers);
    fixture_server_join(&server);
    CHECK_INT(bench.job.dial->error.cause, NET_TLS_HANDSHAKE);
    CHECK_STRING(bench.job.dial->error.alert, "protocol version");
    tls_bench_deinit(&bench);
}

/* Peers that speak something else, or nothing. */
struct rude_peer {
    int listener;
    const char *words; /* NULL: only the end */
    bool reset;
};

static void *rude_thread(void *argument)
{
    const struct rude_peer *peer = argument;
    const struct linger reset = {.l_onoff = 1};
    char hello[4096];
    int fd = accept(peer->listener, NULL, NULL);
    MUST(fd >= 0);
    ssize_t n = recv(fd, hello, sizeof(hello), 0);
    MUST(n > 0);
    if (peer->words) {
        n = send(fd, peer->words, strlen(peer->words), MSG_NOSIGNAL);
        MUST(n > 0);
    }
    if (peer->reset)
        MUST(setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)) == 0);
    close(fd);
    return NULL;
}

static const struct net_error *run_rude(struct tls_bench *bench, const char *words, bool reset)
{
    struct address address;
    struct rude_peer peer = {fixture_listen(&address, 1), words, reset};
    pthread_t thread;
    MUST(pthread_create(&thread, NULL, rude_thread, &peer) == 0);
    run_to(bench, &address, "localhost", true);
    pthread_join(thread, NULL);
    close(peer.listener);
    return &bench->job.dial->error;
}

TEST(dial_tls, peer_without_tls)
{
    struct tls_bench bench;
    tls_bench_init(&bench);
    const struct net_error *error = run_rude(&bench, "HTTP/1.1 400 Bad Request\r\n\r\n", false);
    CHECK_INT(error->cause, NET_TLS_HANDSHAKE);
    CHECK_INT(error->stage, NET_STAGE_TLS);
    CHECK(strstr(error->library, "does not speak TLS") != NULL);
    dial_free(bench.job.dial);
    error = run_rude(&bench, "220 mail.example.org ESMTP\r\n", false);
    CHECK_INT(error->cause, NET_TLS_HANDSHAKE);
    CHECK(strstr(error->library, "does not speak TLS") != NULL);
    dial_free(bench.job.dial);
    error = run_rude(&bench, NULL, false);
    CHECK_INT(error->cause, NET_TLS_HANDSHAKE);
    CHECK(strstr(error->library, "closed the connection") != NULL);
    dial_free(bench.job.dial);
    error = run_rude(&bench, NULL, true);
    CHECK_INT(error->cause, NET_SYSTEM);
    CHECK_INT(error->sys_errno, ECONNRESET);
    CHECK_INT(error->stage, NET_STAGE_TLS);
    tls_bench_deinit(&bench);
}

TEST(dial_tls, trust_unusable_is_told_before_connecting)
{
    struct tls_bench bench;
    struct address address;
    int listener = fixture_listen(&address, 1);
    tls_bench_init(&bench);
    struct trust *usable = bench.trust;
    bench.trust = fixture_trust("/nowhere/at/all");
    run_to(&bench, &address, "localhost", true);
    CHECK_INT(bench.job.dial->error.cause, NET_TRUST_UNUSABLE);
    CHECK_INT(bench.job.dial->error.trust, NET_TRUST_FOLDER);
    CHECK(strstr(bench.job.dial->error.library, "/nowhere/at/all") != NULL);
    CHECK_INT(bench.job.dial->error.n_attempts, 0);
    trust_unref(bench.trust);
    bench.trust = usable;
    close(listener);
    tls_bench_deinit(&bench);
}
