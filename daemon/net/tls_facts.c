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

void tls_time_text(const ASN1_TIME *moment, char *text, size_t n_text)
{
    struct tm tm;

    if (ASN1_TIME_to_tm(moment, &tm) != 1 || strftime(text, n_text, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
        text[0] = '\0';
}

void tls_sha256_text(const X509 *certificate, char text[65])
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned n_digest = 0;

    text[0] = '\0';
    if (X509_digest(certificate, EVP_sha256(), digest, &n_digest) == 1)
        for (unsigned i = 0; i < n_digest && i < 32; i++)
            snprintf(text + (size_t)2 * i, 3, "%02x", digest[i]);
}

/* What the peer has chosen need not be what was offered, nor text (OpenSSL 3.0 does not look). */
void tls_alpn_text(const SSL *ssl, char *text, size_t n_text)
{
    const unsigned char *alpn = NULL;
    unsigned n_alpn = 0, n = 0;

    SSL_get0_alpn_selected(ssl, &alpn, &n_alpn);
    for (; n < n_alpn && n + 1 < n_text; n++)
        text[n] = (char)(alpn[n] > 0x20 && alpn[n] < 0x7f ? alpn[n] : '?');
    text[n] = '\0';
}

/* The facts while they are being collected; what an idle socket keeps is packed. */
struct collected {
    char version[16], cipher[64], alpn[256], server_name[256], subject[512], issuer[512];
    char not_after[32], sha256[65];
    char identity[65];
    bool has_peer;
};

static void collect_peer(struct collected *facts, const X509 *peer)
{
    facts->has_peer = true;
    tls_name_text(X509_get_subject_name(peer), facts->subject, sizeof(facts->subject));
    tls_name_text(X509_get_issuer_name(peer), facts->issuer, sizeof(facts->issuer));
    tls_time_text(X509_get0_notAfter(peer), facts->not_after, sizeof(facts->not_after));
    tls_sha256_text(peer, facts->sha256);
}

static struct tls_facts *pack(const struct collected *facts)
{
    const char *const from[] = {facts->version,     facts->cipher,  facts->alpn,
                                facts->server_name, facts->subject, facts->issuer,
                                facts->not_after,   facts->sha256,  facts->identity};
    enum { N = sizeof(from) / sizeof(from[0]) };
    const char *to[N];
    size_t n_texts = 0;

    for (size_t i = 0; i < N; i++)
        n_texts += strlen(from[i]) + 1;
    struct tls_facts *packed = calloc(1, sizeof(*packed) + n_texts);
    if (!packed)
        return NULL;
    char *end = packed->texts;
    for (size_t i = 0; i < N; i++) {
        to[i] = end;
        end = stpcpy(end, from[i]) + 1;
    }
    packed->version = to[0];
    packed->cipher = to[1];
    packed->alpn = to[2];
    packed->server_name = to[3];
    packed->subject = to[4];
    packed->issuer = to[5];
    packed->not_after = to[6];
    packed->sha256 = to[7];
    packed->identity = to[8];
    packed->has_peer = facts->has_peer;
    return packed;
}

int tls_facts_new(struct tls_facts **ret_facts, const struct tls_engine *engine,
                  const struct identity *identity)
{
    SSL *ssl = engine->ssl;
    struct collected facts = {.has_peer = false};

    snprintf(facts.version, sizeof(facts.version), "%s", SSL_get_version(ssl));
    snprintf(facts.cipher, sizeof(facts.cipher), "%s", SSL_get_cipher_name(ssl));
    tls_alpn_text(ssl, facts.alpn, sizeof(facts.alpn));
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    snprintf(facts.server_name, sizeof(facts.server_name), "%s", name ? name : "");
    snprintf(facts.identity, sizeof(facts.identity), "%s", identity ? identity_name(identity) : "");
    X509 *peer = SSL_get1_peer_certificate(ssl);
    if (peer)
        collect_peer(&facts, peer);
    struct tls_facts *packed = pack(&facts);
    if (packed) {
        packed->resumed = SSL_session_reused(ssl) == 1;
        packed->verified = engine->verify && peer && SSL_get_verify_result(ssl) == X509_V_OK;
    }
    X509_free(peer);
    *ret_facts = packed;
    return packed ? 0 : -ENOMEM;
}
