/*
 * Every allocation of OpenSSL fails once, while a trust profile is made and during a handshake.
 * OpenSSL often goes on without: what it has read is then not whole, and what it was asked for not
 * asked. Neither may ever make a certificate good that is not, nor a profile that refuses good
 * ones and says that it is sound.
 */
#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <unistd.h>

#include "net/tls_engine.h"
#include "net_fixture.h"
#include "support/test.h"

/* With a sanitizer each of them takes many times as long: a part of them is enough there. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { STEP = 17 };
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
enum { STEP = 17 };
#else
enum { STEP = 1 };
#endif
#else
enum { STEP = 1 };
#endif

/* The next allocation of this thread with this number fails; 0: none does. */
static _Thread_local long left;
static _Thread_local bool failed;

static bool fails(void)
{
    if (left == 0 || --left > 0)
        return false;
    failed = true;
    return true;
}

static void *get(size_t n, const char *file, int line)
{
    (void)file;
    (void)line;
    return fails() ? NULL : malloc(n);
}

static void *resize(void *old, size_t n, const char *file, int line)
{
    (void)file;
    (void)line;
    if (n == 0) {
        free(old);
        return NULL;
    }
    return fails() ? NULL : realloc(old, n);
}

static void release(void *old, const char *file, int line)
{
    (void)file;
    (void)line;
    free(old);
}

static int ours;

/* before OpenSSL has asked for any */
__attribute__((constructor)) static void set_allocator(void)
{
    ours = CRYPTO_set_mem_functions(get, resize, release);
}

struct memory_bench {
    struct fixture_ca ca;
    char folder[64];
    EVP_PKEY *key;
    X509 *certificate;
    SSL_CTX *server;
};

static void memory_bench_init(struct memory_bench *bench)
{
    CHECK_INT(ours, 1);
    fixture_ca_init(&bench->ca, "the CA");
    fixture_folder(bench->folder, bench->ca.certificate);
    bench->key = fixture_key();
    bench->certificate = fixture_issue(&bench->ca, bench->key, "DNS:localhost", 30);
    bench->server = SSL_CTX_new(TLS_server_method());
    CHECK(bench->server && SSL_CTX_use_certificate(bench->server, bench->certificate) == 1 &&
          SSL_CTX_use_PrivateKey(bench->server, bench->key) == 1);
}

static void memory_bench_deinit(struct memory_bench *bench)
{
    SSL_CTX_free(bench->server);
    X509_free(bench->certificate);
    EVP_PKEY_free(bench->key);
    fixture_remove(bench->folder);
    fixture_ca_deinit(&bench->ca);
}

/* A handshake with that server, asking for that name, in which the client's allocation number
 * fail_at fails. Returns what tls_engine_new() or tls_engine_handshake() gave in the end. */
static int shake_hands(struct memory_bench *bench, struct trust *trust, const char *name,
                       long fail_at, struct net_error *ret_error)
{
    const struct tls_request request = {.verify = true, .explain = true, .server_name = name};
    int a, b, r;

    fixture_pair(&a, &b);
    struct connection *connection = fixture_connection(a);
    SSL *server = SSL_new(bench->server);
    CHECK(server && SSL_set_fd(server, b) == 1 && fcntl(b, F_SETFL, O_NONBLOCK) == 0);
    SSL_set_accept_state(server);
    *ret_error = (struct net_error){0};
    failed = false;
    left = fail_at;
    r = tls_engine_new(connection, trust, &request);
    for (int turns = 0; r == 0 || r == TLS_E_WANT_READ; turns++) {
        CHECK(turns < 20, "no end when allocation %ld failed", fail_at);
        r = tls_engine_handshake(connection->tls, ret_error);
        if (r == 0)
            break;
        long rest = left;
        left = 0;
        (void)!SSL_do_handshake(server);
        left = rest;
    }
    left = 0;
    SSL_free(server);
    connection_free(connection);
    close(b);
    return r;
}

TEST(tls_memory, no_wrong_name_is_ever_accepted)
{
    struct memory_bench bench;
    struct net_error error;
    long at = 1, n_told = 0;

    memory_bench_init(&bench);
    struct trust *trust = fixture_trust(bench.folder);
    for (failed = true; failed; at += STEP) {
        int r = shake_hands(&bench, trust, "other.test", at, &error);
        CHECK(r != 0, "the wrong name was accepted when allocation %ld failed", at);
        n_told += r == TLS_E_FAILED && error.cause == NET_TLS_VERIFY;
    }
    CHECK_INT(error.cause, NET_TLS_VERIFY);
    CHECK(at > 500 && n_told > 0, "%ld allocations, %ld told", at, n_told);
    trust_unref(trust);
    memory_bench_deinit(&bench);
}

TEST(tls_memory, the_right_name_is_accepted_or_memory_is_told)
{
    struct memory_bench bench;
    struct net_error error;
    int r;

    memory_bench_init(&bench);
    struct trust *trust = fixture_trust(bench.folder);
    failed = true;
    for (long at = 1; failed; at += STEP) {
        r = shake_hands(&bench, trust, "localhost", at, &error);
        CHECK(r <= 0 || r == TLS_E_FAILED, "%d when allocation %ld failed", r, at);
    }
    CHECK_INT(r, 0);
    trust_unref(trust);
    memory_bench_deinit(&bench);
}

TEST(tls_memory, a_profile_that_says_it_is_sound_is)
{
    struct memory_bench bench;
    struct net_error error;
    char text[256];
    const char *why;
    long n_sound = 0, n_refused = 0;

    memory_bench_init(&bench);
    trust_unref(fixture_trust(bench.folder)); /* what is made once only */
    const struct trust_settings settings = {.cacerts = bench.folder, .security_level = 2};
    failed = true;
    for (long at = 1; failed; at += STEP) {
        struct trust *trust = NULL;
        failed = false;
        left = at;
        int r = trust_new(&trust, &settings, text, sizeof(text));
        bool was_hit = failed;
        left = 0;
        if (r == 0 && trust_state(trust, &why) == NET_TRUST_OK) {
            r = shake_hands(&bench, trust, "localhost", 0, &error);
            CHECK(r == 0, "allocation %ld: %d, %s", at, r, error.verify_text);
            n_sound++;
        } else {
            n_refused++;
        }
        trust_unref(trust);
        failed = was_hit;
    }
    CHECK(n_sound > 0 && n_refused > 10, "%ld sound, %ld refused", n_sound, n_refused);
    memory_bench_deinit(&bench);
}
