/* What tests/integration/resume_test.py cannot bring a server to do, and what nobody asks for yet.
 */
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <time.h>

#include "net/tls_internal.h"
#include "net_fixture.h"
#include "support/test.h"

/* Tickets of TLS 1.2 are sealed with a key that stands here; those that come back are counted. The
 * server's thread writes while a connection is made, the test reads before and after. */
static struct {
    _Atomic int n_made, n_seen, n_distinct;
    unsigned char ivs[16][16];
    _Atomic int accept; /* what the callback gives for one that comes back: 0 no, 1 yes, 2 renew */
} tickets;

static int on_ticket(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
                     EVP_MAC_CTX *mac, int making)
{
    static unsigned char key[32] = "the key of the tickets, 32 bytes";
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, key, sizeof(key)),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char[]){"SHA256"}, 0),
        OSSL_PARAM_construct_end(),
    };
    (void)ssl;
    if (making) {
        memset(name, 'n', 16);
        memset(iv, tickets.n_made++ + 1, 16);
    } else {
        bool known = false;
        for (int i = 0; i < tickets.n_seen; i++)
            known = known || memcmp(tickets.ivs[i], iv, 16) == 0;
        MUST(tickets.n_seen < 16);
        memcpy(tickets.ivs[tickets.n_seen++], iv, 16);
        tickets.n_distinct += !known;
    }
    MUST(EVP_CipherInit_ex(cipher, EVP_aes_256_cbc(), NULL, key, iv, making) == 1);
    MUST(EVP_MAC_CTX_set_params(mac, params) == 1);
    return making ? 1 : tickets.accept;
}

struct resume_bench {
    struct loop *loop;
    struct dialers *dialers;
    struct fixture_ca ca;
    char folder[64];
    struct trust *trust;
    struct fixture_server server;
};

static void bench_init(struct resume_bench *bench, int n_connections)
{
    char text[256];
    memset(&tickets, 0, sizeof(tickets));
    tickets.accept = 1;
    bench->loop = fixture_loop();
    bench->dialers = fixture_dialers(1);
    fixture_ca_init(&bench->ca, "CA");
    fixture_folder(bench->folder, bench->ca.certificate);
    const struct trust_settings settings = {.cacerts = bench->folder,
                                            .security_level = 2,
                                            .session_cache = 16,
                                            .session_time_ms = 60000};
    CHECK_INT(trust_new(&bench->trust, &settings, text, sizeof(text)), 0);
    fixture_server_start(&bench->server, &bench->ca, "DNS:localhost", 30, TLS1_2_VERSION,
                         n_connections, NULL);
    SSL_CTX_set_tlsext_ticket_key_evp_cb(bench->server.context, on_ticket);
}

static void bench_deinit(struct resume_bench *bench)
{
    fixture_server_join(&bench->server);
    fixture_dialers_free(bench->dialers);
    trust_unref(bench->trust);
    fixture_remove(bench->folder);
    fixture_ca_deinit(&bench->ca);
    fixture_loop_free(bench->loop);
}

/* Was it resumed? */
static bool visit(struct resume_bench *bench)
{
    struct fixture_job job;
    fixture_job_init(&job, bench->loop, &bench->server.address, 1, 10000);
    fixture_job_secure(&job, bench->trust, "localhost", true);
    fixture_job_run(&job, bench->dialers);
    CHECK_INT(job.dial->error.cause, NET_OK);
    CHECK(job.dial->connection->facts->verified);
    bool resumed = job.dial->connection->facts->resumed;
    dial_free(job.dial);
    return resumed;
}

TEST(tls_resume, one_ticket_many_times)
{
    struct resume_bench bench;
    bench_init(&bench, 4);
    CHECK(!visit(&bench));
    for (int i = 0; i < 3; i++)
        CHECK(visit(&bench));
    CHECK_INT(tickets.n_made, 1);
    CHECK_INT(tickets.n_seen, 3);
    CHECK_INT(tickets.n_distinct, 1);
    bench_deinit(&bench);
}

TEST(tls_resume, a_ticket_for_a_ticket)
{
    struct resume_bench bench;
    bench_init(&bench, 5);
    tickets.accept = 2;
    CHECK(!visit(&bench));
    for (int i = 0; i < 4; i++)
        CHECK(visit(&bench));
    CHECK_INT(tickets.n_made, 5);
    CHECK_INT(tickets.n_seen, 4);
    CHECK_INT(tickets.n_distinct, 4); /* the new one each time */
    bench_deinit(&bench);
}

TEST(tls_resume, declined_is_dropped)
{
    struct resume_bench bench;
    bench_init(&bench, 4);
    CHECK(!visit(&bench));
    /* a server that wants nothing to do with tickets, nor with sessions, for one connection */
    SSL_CTX_set_options(bench.server.context, SSL_OP_NO_TICKET);
    SSL_CTX_set_session_cache_mode(bench.server.context, SSL_SESS_CACHE_OFF);
    CHECK(!visit(&bench));
    SSL_CTX_clear_options(bench.server.context, SSL_OP_NO_TICKET);
    CHECK_INT(tickets.n_seen, 0);
    CHECK(!visit(&bench));
    CHECK_INT(tickets.n_seen, 0); /* it would have been taken */
    CHECK(visit(&bench));
    bench_deinit(&bench);
}

TEST(tls_resume, bounded_by_the_trust)
{
    struct resume_bench bench;
    bench_init(&bench, 2);
    tls_resume_bound(trust_context(bench.trust), time(NULL) + 3600);
    CHECK(!visit(&bench));
    CHECK(visit(&bench));
    bench_deinit(&bench);

    bench_init(&bench, 2);
    tls_resume_bound(trust_context(bench.trust), time(NULL) - 1);
    tls_resume_bound(trust_context(bench.trust), time(NULL) + 3600); /* the earliest counts */
    CHECK(!visit(&bench));
    CHECK(!visit(&bench));
    CHECK_INT(tickets.n_made, 2);
    CHECK_INT(tickets.n_seen, 0);
    bench_deinit(&bench);
}

TEST(tls_resume, closed)
{
    struct resume_bench bench;
    bench_init(&bench, 4);
    CHECK(!visit(&bench));
    CHECK(visit(&bench));
    tls_resume_close(trust_context(bench.trust));
    CHECK(!visit(&bench));
    CHECK(!visit(&bench));
    CHECK_INT(tickets.n_seen, 1);
    tls_resume_close(NULL);
    bench_deinit(&bench);
}
