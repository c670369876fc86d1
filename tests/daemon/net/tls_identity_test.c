/* identity: reading a certificate, its chain and its key. What is said about files that cannot be
 * used is checked from outside (tests/integration/identity_test.py). */
#include <errno.h>
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <sys/stat.h>
#include <time.h>

#include "net/identity.h"
#include "net/tls_internal.h"
#include "net_fixture.h"
#include "support/test.h"

struct files {
    char folder[64], certificate[128], key[128];
    struct fixture_ca ca;
    EVP_PKEY *pair;
};

static void write_key(const char *path, const EVP_PKEY *key)
{
    FILE *file = fopen(path, "w");
    MUST(file && PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL) == 1);
    fclose(file);
}

/* days: until the certificate expires */
static void set_up(struct files *files, int days)
{
    fixture_ca_init(&files->ca, "CA");
    files->pair = fixture_key();
    fixture_folder(files->folder, NULL);
    snprintf(files->certificate, sizeof(files->certificate), "%s/cert", files->folder);
    snprintf(files->key, sizeof(files->key), "%s/key", files->folder);
    X509 *certificate = fixture_issue(&files->ca, files->pair, "", days);
    fixture_write_pem(files->folder, "cert", certificate);
    X509_free(certificate);
    write_key(files->key, files->pair);
    MUST(chmod(files->key, 0600) == 0);
}

static void tear_down(struct files *files)
{
    fixture_remove(files->folder);
    EVP_PKEY_free(files->pair);
    fixture_ca_deinit(&files->ca);
}

static struct identity *load(const struct files *files)
{
    struct identity *identity = NULL;
    char text[256] = "x";
    CHECK_INT(identity_new(&identity, "name", files->certificate, files->key, text, sizeof(text)),
              0);
    CHECK_STRING(text, "");
    return identity;
}

TEST(identity, life)
{
    struct files files;

    set_up(&files, 10);
    struct identity *identity = load(&files);
    CHECK_STRING(identity_name(identity), "name");
    int64_t left = identity_not_after(identity) - (int64_t)time(NULL);
    CHECK(left > 10 * 86400 - 60 && left <= 10 * 86400);
    CHECK(identity_ref(identity) == identity);
    CHECK(!identity_unref(identity));
    CHECK_STRING(identity_name(identity), "name"); /* one reference is left */
    CHECK(!identity_unref(identity));
    CHECK(!identity_ref(NULL) && !identity_unref(NULL));
    tear_down(&files);
}

TEST(identity, expired_is_taken)
{
    struct files files;

    set_up(&files, -3);
    struct identity *identity = load(&files);
    CHECK(identity_not_after(identity) < (int64_t)time(NULL));
    identity_unref(identity);
    tear_down(&files);
}

TEST(identity, length_of_the_chain)
{
    struct files files;
    struct identity *identity = NULL;
    char text[256];

    set_up(&files, 10);
    for (int i = 0; i < IDENTITY_MAX_CHAIN; i++)
        fixture_write_pem(files.folder, "cert", files.ca.certificate);
    identity_unref(load(&files));
    fixture_write_pem(files.folder, "cert", files.ca.certificate);
    CHECK_INT(identity_new(&identity, "name", files.certificate, files.key, text, sizeof(text)),
              -EINVAL);
    CHECK(strstr(text, "more than 17 certificates") != NULL);
    CHECK(!identity);
    tear_down(&files);
}

TEST(identity, the_reason_is_cut_where_it_does_not_fit)
{
    struct identity *identity = NULL;
    char text[16];

    CHECK_INT(identity_new(&identity, "name", "/nowhere/at/all.pem", "", text, sizeof(text)),
              -EINVAL);
    CHECK_STRING(text, "/nowhere/at/all");
    CHECK_INT(identity_new(&identity, "name", "/nowhere", "", text, sizeof(text)), -EINVAL);
    CHECK_STRING(text, "/nowhere: canno");
    CHECK_INT(identity_new(&identity, "name", "/nowhere", "", NULL, 0), -EINVAL);
    CHECK(!identity);
}

TEST(identity, is_shown_with_its_chain)
{
    struct files files;
    STACK_OF(X509) *chain = NULL;

    set_up(&files, 10);
    fixture_write_pem(files.folder, "cert", files.ca.certificate);
    struct identity *identity = load(&files);
    SSL_CTX *context = SSL_CTX_new(TLS_method());
    SSL *first = SSL_new(context), *second = SSL_new(context);
    CHECK_INT(identity_present(identity, first), 0);
    CHECK_INT(identity_present(identity, second), 0);
    CHECK(X509_cmp(SSL_get_certificate(first), SSL_get_certificate(second)) == 0);
    CHECK(SSL_get0_chain_certs(first, &chain) == 1);
    CHECK_INT(sk_X509_num(chain), 1);
    CHECK(X509_cmp(sk_X509_value(chain, 0), files.ca.certificate) == 0);
    identity_unref(identity); /* who shows it has a reference of his own */
    CHECK_INT(SSL_check_private_key(first), 1);
    SSL_free(first);
    SSL_free(second);
    SSL_CTX_free(context);
    tear_down(&files);
}

TEST(identity, a_weak_key_at_a_high_level)
{
    struct files files;

    set_up(&files, 10); /* P-256: 128 bits, which level 3 allows and level 4 does not */
    struct identity *identity = load(&files);
    SSL_CTX *context = SSL_CTX_new(TLS_method());
    SSL *ssl = SSL_new(context);
    SSL_set_security_level(ssl, 4);
    CHECK_INT(identity_present(identity, ssl), -EINVAL);
    SSL_set_security_level(ssl, 3);
    CHECK_INT(identity_present(identity, ssl), 0);
    SSL_free(ssl);
    SSL_CTX_free(context);
    identity_unref(identity);
    tear_down(&files);
}
