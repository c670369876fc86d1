#include "net/tls_chain.h"

#include <errno.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/tls_internal.h"

static void key_text(const X509 *certificate, char *text, size_t n_text)
{
    const EVP_PKEY *key = X509_get0_pubkey(certificate);
    const char *kind = key ? EVP_PKEY_get0_type_name(key) : NULL;
    char group[40];

    if (!kind) {
        snprintf(text, n_text, "unknown");
    } else if (EVP_PKEY_get_group_name(key, group, sizeof(group), NULL) == 1) {
        const char *nist = EC_curve_nid2nist(OBJ_sn2nid(group));
        snprintf(text, n_text, "%s %s", kind, nist ? nist : group);
    } else if (EVP_PKEY_is_a(key, "RSA") || EVP_PKEY_is_a(key, "RSA-PSS") ||
               EVP_PKEY_is_a(key, "DSA") || EVP_PKEY_is_a(key, "EC")) {
        snprintf(text, n_text, "%s %d", kind, EVP_PKEY_get_bits(key));
    } else {
        snprintf(text, n_text, "%s", kind);
    }
}

static void signature_text(const X509 *certificate, char *text, size_t n_text)
{
    const X509_ALGOR *algorithm = NULL;
    const ASN1_OBJECT *object = NULL;

    X509_get0_signature(NULL, &algorithm, certificate);
    X509_ALGOR_get0(&object, NULL, NULL, algorithm);
    if (OBJ_obj2txt(text, (int)n_text, object, 0) <= 0)
        snprintf(text, n_text, "unknown");
}

static bool contains(const STACK_OF(X509) * stack, const X509 *certificate)
{
    for (int i = 0; i < sk_X509_num(stack); i++)
        if (X509_cmp(sk_X509_value(stack, i), certificate) == 0)
            return true;
    return false;
}

static bool is_in_store(X509_STORE_CTX *store, const X509 *certificate)
{
    STACK_OF(X509) *named = X509_STORE_CTX_get1_certs(store, X509_get_subject_name(certificate));
    bool found = contains(named, certificate);

    sk_X509_pop_free(named, X509_free);
    return found;
}

static void add(struct tls_chain *chain, X509_STORE_CTX *store, X509 *certificate, int depth)
{
    if (chain->n_certificates == TLS_CHAIN_MAX) {
        chain->n_more++;
        return;
    }
    struct tls_certificate *told = &chain->certificates[chain->n_certificates++];
    tls_name_text(X509_get_subject_name(certificate), told->subject, sizeof(told->subject));
    tls_name_text(X509_get_issuer_name(certificate), told->issuer, sizeof(told->issuer));
    tls_time_text(X509_get0_notBefore(certificate), told->not_before, sizeof(told->not_before));
    tls_time_text(X509_get0_notAfter(certificate), told->not_after, sizeof(told->not_after));
    tls_sha256_text(certificate, told->sha256);
    key_text(certificate, told->key, sizeof(told->key));
    signature_text(certificate, told->signature, sizeof(told->signature));
    told->self_signed = X509_self_signed(certificate, 0) == 1;
    told->sent = contains(X509_STORE_CTX_get0_untrusted(store), certificate);
    told->trusted = is_in_store(store, certificate);
    told->depth = depth;
}

static void add_names(struct tls_chain *chain, const X509 *certificate)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
    char text[256], *end = chain->names_text, *limit = end + sizeof(chain->names_text);

    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        if (!tls_general_name_text(sk_GENERAL_NAME_value(names, i), text, sizeof(text)))
            continue;
        size_t n = strlen(text) + 1;
        if (chain->n_names == TLS_CHAIN_NAMES_MAX || n > (size_t)(limit - end)) {
            chain->n_names_more++;
            limit = end; /* none behind it either: those told are the first ones */
            continue;
        }
        chain->names[chain->n_names++] = memcpy(end, text, n);
        end += n;
    }
    GENERAL_NAMES_free(names);
}

int tls_chain_new(struct tls_chain **ret_chain, const SSL *ssl, X509_STORE_CTX *store)
{
    struct tls_chain *chain = calloc(1, sizeof(*chain));
    const STACK_OF(X509) *built = X509_STORE_CTX_get0_chain(store);
    const STACK_OF(X509) *sent = X509_STORE_CTX_get0_untrusted(store);
    const SSL_CIPHER *cipher = SSL_get_pending_cipher(ssl);
    X509 *server = X509_STORE_CTX_get0_cert(store);

    if (!chain)
        return -ENOMEM;
    if (sk_X509_num(built) <= 0) /* refused before it was built: depths count what was sent then */
        built = sent;
    ERR_set_mark(); /* what cannot be read of a bad certificate is no failure of the handshake */
    chain->version = SSL_get_version(ssl);
    chain->cipher = cipher ? SSL_CIPHER_get_name(cipher) : "";
    tls_alpn_text(ssl, chain->alpn, sizeof(chain->alpn));
    if (server)
        add_names(chain, server);
    for (int i = 0; i < sk_X509_num(built); i++)
        add(chain, store, sk_X509_value(built, i), i);
    for (int i = 0; i < sk_X509_num(sent); i++)
        if (!contains(built, sk_X509_value(sent, i)))
            add(chain, store, sk_X509_value(sent, i), -1);
    ERR_pop_to_mark();
    *ret_chain = chain;
    return 0;
}
