#include "net/tls_internal.h"

#include <errno.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

void tls_name_text(const X509_NAME *name, char *text, size_t n_text)
{
    char *bytes = NULL;
    BIO *bio = BIO_new(BIO_s_mem());

    text[0] = '\0';
    if (!bio)
        return;
    if (X509_NAME_print_ex(bio, name, 0, XN_FLAG_RFC2253) >= 0) {
        long n = BIO_get_mem_data(bio, &bytes);
        snprintf(text, n_text, "%.*s", (int)n, n > 0 ? bytes : "");
    }
    BIO_free(bio);
}

static void fill_peer(struct tls_facts *facts, const X509 *peer)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned n_digest = 0;
    struct tm until;

    facts->has_peer = true;
    tls_name_text(X509_get_subject_name(peer), facts->subject, sizeof(facts->subject));
    tls_name_text(X509_get_issuer_name(peer), facts->issuer, sizeof(facts->issuer));
    if (ASN1_TIME_to_tm(X509_get0_notAfter(peer), &until) == 1)
        (void)strftime(facts->not_after, sizeof(facts->not_after), "%Y-%m-%dT%H:%M:%SZ", &until);
    if (X509_digest(peer, EVP_sha256(), digest, &n_digest) == 1)
        for (unsigned i = 0; i < n_digest && 2 * i + 2 < sizeof(facts->sha256); i++)
            snprintf(facts->sha256 + (size_t)2 * i, 3, "%02x", digest[i]);
}

int tls_facts_new(struct tls_facts **ret_facts, const struct tls_engine *engine)
{
    SSL *ssl = engine->ssl;
    const unsigned char *alpn = NULL;
    unsigned n_alpn = 0;

    struct tls_facts *facts = calloc(1, sizeof(*facts));
    if (!facts)
        return -ENOMEM;
    snprintf(facts->version, sizeof(facts->version), "%s", SSL_get_version(ssl));
    snprintf(facts->cipher, sizeof(facts->cipher), "%s", SSL_get_cipher_name(ssl));
    SSL_get0_alpn_selected(ssl, &alpn, &n_alpn);
    snprintf(facts->alpn, sizeof(facts->alpn), "%.*s", (int)n_alpn, alpn ? (const char *)alpn : "");
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    snprintf(facts->server_name, sizeof(facts->server_name), "%s", name ? name : "");
    facts->resumed = SSL_session_reused(ssl) == 1;
    X509 *peer = SSL_get1_peer_certificate(ssl);
    facts->verified = engine->verify && peer && SSL_get_verify_result(ssl) == X509_V_OK;
    if (peer)
        fill_peer(facts, peer);
    X509_free(peer);
    *ret_facts = facts;
    return 0;
}
