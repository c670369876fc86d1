/* tls_chain: what a dial with explain brings along, and that one without does not. */
#include "net/tls_chain.h"

#include <openssl/x509_vfy.h>

#include "net_fixture.h"
#include "support/test.h"

struct chain_bench {
    struct loop *loop;
    struct dialers *dialers;
    struct fixture_job job;
    struct fixture_ca ca, other;
    char folder[64];
    struct trust *trust;
};

static void chain_bench_init(struct chain_bench *bench)
{
    bench->loop = fixture_loop();
    bench->dialers = fixture_dialers(1);
    fixture_ca_init(&bench->ca, "the CA");
    fixture_ca_init(&bench->other, "somebody else");
    fixture_folder(bench->folder, bench->ca.certificate);
    bench->trust = fixture_trust(bench->folder);
}

static void chain_bench_deinit(struct chain_bench *bench)
{
    fixture_dialers_free(bench->dialers);
    trust_unref(bench->trust);
    fixture_remove(bench->folder);
    fixture_ca_deinit(&bench->ca);
    fixture_ca_deinit(&bench->other);
    fixture_loop_free(bench->loop);
}

/* The dial after it is done; the caller's. */
static struct dial *run(struct chain_bench *bench, const struct fixture_ca *ca, const char *names,
                        int version, bool verify, bool explain)
{
    struct fixture_server server;
    fixture_server_start(&server, ca, names, 30, version, 1, NULL);
    fixture_job_init(&bench->job, bench->loop, &server.address, 1, 10000);
    fixture_job_secure(&bench->job, bench->trust, "localhost", verify);
    bench->job.dial->explain = explain;
    memcpy(bench->job.dial->alpn, "\x02h2", 3);
    bench->job.dial->n_alpn = 3;
    fixture_job_run(&bench->job, bench->dialers);
    fixture_server_join(&server);
    return bench->job.dial;
}

TEST(tls_chain, verified)
{
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        struct chain_bench bench;
        chain_bench_init(&bench);
        struct dial *dial =
            run(&bench, &bench.ca, "DNS:localhost,IP:127.0.0.1", version, true, true);
        const struct tls_chain *chain = dial->chain;
        CHECK_INT(dial->error.cause, NET_OK);
        CHECK_INT(dial->error.verify_code, 0);
        CHECK(chain != NULL);
        CHECK_STRING(chain->version, dial->connection->facts->version);
        CHECK_STRING(chain->cipher, dial->connection->facts->cipher);
        CHECK_STRING(chain->alpn, "h2");
        CHECK_INT(chain->n_certificates, 2);
        CHECK_INT(chain->n_more, 0);
        CHECK_INT(chain->n_names, 2);
        CHECK_INT(chain->n_names_more, 0);
        CHECK_STRING(chain->names[0], "localhost");
        CHECK_STRING(chain->names[1], "127.0.0.1");
        const struct tls_certificate *server = &chain->certificates[0], *ca = server + 1;
        CHECK_STRING(server->subject, "CN=server.test");
        CHECK_STRING(server->issuer, "CN=the CA");
        CHECK_STRING(server->sha256, dial->connection->facts->sha256);
        CHECK_STRING(server->not_after, dial->connection->facts->not_after);
        CHECK_INT(strlen(server->not_before), 20);
        CHECK_STRING(server->key, "EC P-256");
        CHECK_STRING(server->signature, "ecdsa-with-SHA256");
        CHECK(server->sent && !server->trusted && !server->self_signed);
        CHECK_INT(server->depth, 0);
        CHECK_STRING(ca->subject, "CN=the CA");
        CHECK(!ca->sent && ca->trusted && ca->self_signed);
        CHECK_INT(ca->depth, 1);
        dial_free(dial);
        chain_bench_deinit(&bench);
    }
}

TEST(tls_chain, refused)
{
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        struct chain_bench bench;
        chain_bench_init(&bench);
        struct dial *dial = run(&bench, &bench.other, "DNS:localhost", version, true, true);
        CHECK_INT(dial->error.cause, NET_TLS_VERIFY);
        CHECK(dial->chain != NULL);
        CHECK_STRING(dial->chain->version, version == TLS1_2_VERSION ? "TLSv1.2" : "TLSv1.3");
        CHECK(*dial->chain->cipher);
        CHECK_STRING(dial->chain->alpn, "h2");
        CHECK_INT(dial->chain->n_certificates, 1);
        CHECK_STRING(dial->chain->certificates[0].issuer, "CN=somebody else");
        dial_free(dial);
        chain_bench_deinit(&bench);
    }
}

TEST(tls_chain, unverified_is_told_what_would_have_been_wrong)
{
    struct chain_bench bench;
    chain_bench_init(&bench);
    struct dial *dial = run(&bench, &bench.other, "DNS:localhost", TLS1_3_VERSION, false, true);
    CHECK_INT(dial->error.cause, NET_OK);
    CHECK(dial->connection && !dial->connection->facts->verified);
    CHECK_INT(dial->error.verify_code, X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY);
    CHECK_STRING(dial->error.issuer, "CN=somebody else");
    CHECK(dial->chain != NULL);
    dial_free(dial);
    /* and when nothing would have been, it stays unverified all the same */
    dial = run(&bench, &bench.ca, "DNS:localhost", TLS1_3_VERSION, false, true);
    CHECK_INT(dial->error.cause, NET_OK);
    CHECK_INT(dial->error.verify_code, 0);
    CHECK(!dial->connection->facts->verified);
    CHECK_INT(dial->chain->n_certificates, 2);
    dial_free(dial);
    chain_bench_deinit(&bench);
}

TEST(tls_chain, only_when_asked_for)
{
    struct chain_bench bench;
    chain_bench_init(&bench);
    for (int verify = 0; verify < 2; verify++) {
        struct dial *dial = run(&bench, verify ? &bench.ca : &bench.other, "DNS:localhost",
                                TLS1_3_VERSION, verify, false);
        CHECK_INT(dial->error.cause, NET_OK);
        CHECK(!dial->chain);
        CHECK_INT(dial->error.verify_code, 0);
        dial_free(dial);
    }
    chain_bench_deinit(&bench);
}

TEST(tls_chain, names_are_bounded)
{
    struct chain_bench bench;
    char names[8192] = "DNS:localhost";
    size_t n = strlen(names);
    for (unsigned i = 1; i < 300; i++)
        n += (size_t)sprintf(names + n, ",DNS:n%u.example", i);
    chain_bench_init(&bench);
    struct dial *dial = run(&bench, &bench.ca, names, TLS1_3_VERSION, true, true);
    CHECK_INT(dial->error.cause, NET_OK);
    CHECK_INT(dial->chain->n_names, TLS_CHAIN_NAMES_MAX);
    CHECK_INT(dial->chain->n_names_more, 300 - TLS_CHAIN_NAMES_MAX);
    CHECK_STRING(dial->chain->names[0], "localhost");
    CHECK_STRING(dial->chain->names[TLS_CHAIN_NAMES_MAX - 1], "n63.example");
    dial_free(dial);
    /* long ones: fewer fit, and none is told behind one that does not */
    n = strlen(strcpy(names, "DNS:localhost"));
    for (unsigned i = 1; i < 30; i++)
        n += (size_t)sprintf(names + n, ",DNS:n%02u.%060d.%060d.%060d.%050d", i, 0, 0, 0, 0);
    sprintf(names + n, ",DNS:short.example");
    dial = run(&bench, &bench.ca, names, TLS1_3_VERSION, true, true);
    CHECK_INT(dial->error.cause, NET_OK);
    CHECK(dial->chain->n_names > 10 && dial->chain->n_names < 30);
    CHECK_INT(dial->chain->n_names + dial->chain->n_names_more, 31);
    for (unsigned i = 0; i < dial->chain->n_names; i++)
        CHECK(strcmp(dial->chain->names[i], "short.example") != 0);
    dial_free(dial);
    chain_bench_deinit(&bench);
}
