#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "net/tls_internal.h"
#include "net/tls_store.h"

struct trust {
    atomic_uint n_refs;
    SSL_CTX *context;
    struct tls_store store; /* how filling it went */
    size_t n_folder_certificates;
    bool wants_system, has_system, ktls;
    uint8_t (*pins)[TRUST_PIN_SIZE];
    size_t n_pins;
    unsigned char alpn[TRUST_ALPN_MAX];
    size_t n_alpn;
};

SSL_CTX *trust_context(const struct trust *trust)
{
    return trust->context;
}

/* ---- the snapshot ---- */

/* Without a certificate nobody is verified, so such ciphers are left out whatever the list says. */
static int set_ciphers(SSL_CTX *context, const char *ciphers, char *error_text, size_t n_error_text)
{
    static const char never[] = ":!aNULL:!eNULL";

    if (strcasestr(ciphers, "@SECLEVEL")) { /* it would override the option without a word */
        snprintf(error_text, n_error_text,
                 "the cipher list \"%s\" has a @SECLEVEL; leave it out, the option security_level "
                 "is for that",
                 ciphers);
        return -EINVAL;
    }
    size_t n = strlen(ciphers) + sizeof(never);
    char *list = malloc(n);
    if (!list)
        return -ENOMEM;
    snprintf(list, n, "%s%s", ciphers, never);
    int r = SSL_CTX_set_cipher_list(context, list);
    free(list);
    if (r == 1)
        return 0;
    snprintf(error_text, n_error_text,
             "no cipher matches the list \"%s\" (anonymous ones and those that do not encrypt are "
             "never used)",
             ciphers);
    return -EINVAL;
}

/* How many bytes a client with this context would begin with: the lists of ciphers, groups and
 * signature algorithms are in it. 0: out of memory. */
static int hello_size(SSL_CTX *context)
{
    SSL *ssl = SSL_new(context);
    BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());
    int n = 0;

    if (ssl && in && out) {
        SSL_set_bio(ssl, in, out);
        SSL_set_connect_state(ssl);
        /* it wants an answer now; else what it wrote may be an alert */
        if (SSL_get_error(ssl, SSL_do_handshake(ssl)) == SSL_ERROR_WANT_READ)
            n = (int)BIO_pending(out);
    } else {
        BIO_free(in);
        BIO_free(out);
    }
    SSL_free(ssl);
    ERR_clear_error();
    return n;
}

/* OpenSSL 3.0 takes an algorithm that it had no memory to look up for one that there is not, and
 * says nothing (ssl_load_ciphers(), ssl_setup_sig_algs()): a new context that has less to say than
 * another had is not whole. */
static bool is_whole(SSL_CTX *context)
{
    static atomic_int most;
    int n = hello_size(context), before = atomic_load_explicit(&most, memory_order_relaxed);

    while (before < n && !atomic_compare_exchange_weak_explicit(
                             &most, &before, n, memory_order_relaxed, memory_order_relaxed))
        ;
    return n > 0 && n >= before;
}

static int set_up_context(struct trust *trust, const struct trust_settings *settings,
                          char *error_text, size_t n_error_text)
{
    if (settings->security_level < 0 || settings->security_level > 5) {
        snprintf(error_text, n_error_text, "the TLS security level is 0 to 5, not %d",
                 settings->security_level);
        return -EINVAL;
    }
    SSL_CTX *context = SSL_CTX_new(TLS_method());
    trust->context = context;
    if (!context || !is_whole(context))
        return -ENOMEM;
    SSL_CTX_set_security_level(context, settings->security_level);
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                  SSL_MODE_RELEASE_BUFFERS | SSL_MODE_NO_AUTO_CHAIN);
    SSL_CTX_set_read_ahead(context, 1);
    X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(context),
                                X509_V_FLAG_TRUSTED_FIRST |
                                    (settings->lenient ? 0 : X509_V_FLAG_X509_STRICT));
    SSL_CTX_set_cert_verify_callback(context, tls_verify_chain, trust);
    SSL_CTX_set_alpn_select_cb(context, tls_choose_alpn, NULL);
    SSL_CTX_set_cert_cb(context, tls_on_certificate_asked, NULL);
    tls_store_init(&trust->store, SSL_CTX_get_cert_store(context));
    if (SSL_CTX_set_min_proto_version(context,
                                      settings->min_tls13 ? TLS1_3_VERSION : TLS1_2_VERSION) != 1)
        return -ENOMEM;
    int r = settings->ciphers && *settings->ciphers
                ? set_ciphers(context, settings->ciphers, error_text, n_error_text)
                : 0;
    if (r)
        return r;
    return tls_resume_set_up(context, settings->session_cache, settings->session_time_ms);
}

static int load_crls(struct trust *trust, const struct trust_settings *settings)
{
    X509_VERIFY_PARAM *param = SSL_CTX_get0_param(trust->context);
    int r = 0;

    if (settings->crl_check == TRUST_CRL_OFF)
        return 0;
    for (size_t i = 0; r == 0 && i < settings->n_crls; i++)
        r = tls_store_crls(&trust->store, settings->crls[i], settings->shared);
    if (settings->n_crls > 0)
        X509_VERIFY_PARAM_set_flags(param, settings->crl_check == TRUST_CRL_CHAIN
                                               ? X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL
                                               : X509_V_FLAG_CRL_CHECK);
    return r;
}

static int load_certificates(struct trust *trust, const struct trust_settings *settings)
{
    struct tls_store *store = &trust->store;
    bool has_folder = settings->cacerts && *settings->cacerts;
    size_t n;
    int r =
        has_folder ? tls_store_folder(store, settings->cacerts, settings->cacerts_optional, &n) : 0;
    for (size_t i = 0; r == 0 && i < settings->n_extra; i++) {
        r = tls_store_folder(store, settings->extra[i], false, &n);
        if (r == 0 && n == 0) /* somebody named it on purpose */
            tls_store_spoil(store, NET_TRUST_EMPTY,
                            "the folder %s holds no PEM certificate; put one into it or leave it "
                            "out",
                            settings->extra[i]);
    }
    if (r)
        return r;
    trust->n_folder_certificates = tls_store_count(store);
    trust->wants_system = settings->system_store;
    trust->has_system = settings->system_store && tls_store_system(store);
    if (trust->n_folder_certificates > 0 || trust->has_system)
        return 0;
    if (settings->system_store)
        tls_store_spoil(store, NET_TRUST_BUNDLE,
                        "the system's certificates cannot be read (%s, %s); install "
                        "ca-certificates or put a PEM file into %s",
                        X509_get_default_cert_file(), X509_get_default_cert_dir(),
                        has_folder ? settings->cacerts : "a folder configured as cacerts");
    else
        tls_store_spoil(store, NET_TRUST_EMPTY,
                        "there is no certificate to verify with: put a PEM file into %s",
                        has_folder ? settings->cacerts : "a folder and configure it as cacerts");
    return 0;
}

static int keep_pins(struct trust *trust, const struct trust_settings *settings)
{
    if (settings->n_pins == 0)
        return 0;
    trust->pins = malloc(settings->n_pins * sizeof(*trust->pins));
    if (!trust->pins)
        return -ENOMEM;
    memcpy(trust->pins, settings->pins, settings->n_pins * sizeof(*trust->pins));
    trust->n_pins = settings->n_pins;
    return 0;
}

static int load(struct trust *trust, const struct trust_settings *settings)
{
    if (settings->n_alpn > sizeof(trust->alpn))
        return -EINVAL;
    if (settings->n_alpn > 0)
        memcpy(trust->alpn, settings->alpn, settings->n_alpn);
    trust->n_alpn = settings->n_alpn;
    trust->ktls = settings->ktls;
    int r = keep_pins(trust, settings);
    if (r == 0)
        r = load_certificates(trust, settings);
    if (r == 0)
        r = load_crls(trust, settings);
    /* at that moment it is out of date, and nobody is verified by it, or resumed */
    if (r == 0)
        tls_resume_bound(trust->context, trust->store.crls_until - 1);
    return r;
}

/* OpenSSL works out a certificate's extensions when they are first asked for and keeps them in it.
 * Done here once, the snapshot is immutable for the dial threads, and no handshake pays for it.
 * Returns 0 or -ENOMEM. */
static int settle(struct trust *trust)
{
    STACK_OF(X509_OBJECT) *objects =
        X509_STORE_get0_objects(SSL_CTX_get_cert_store(trust->context));

    for (int i = 0; i < sk_X509_OBJECT_num(objects); i++) {
        X509 *certificate = X509_OBJECT_get0_X509(sk_X509_OBJECT_value(objects, i));
        int r = certificate ? tls_store_check_whole(certificate) : 0;
        if (r)
            return r;
    }
    return 0;
}

int trust_new(struct trust **ret_trust, const struct trust_settings *settings, char *error_text,
              size_t n_error_text)
{
    if (n_error_text > 0)
        error_text[0] = '\0';
    struct trust *trust = calloc(1, sizeof(*trust));
    if (!trust)
        return -ENOMEM;
    atomic_init(&trust->n_refs, 1);
    int r = set_up_context(trust, settings, error_text, n_error_text);
    if (r == 0)
        r = load(trust, settings);
    if (r == 0)
        r = settle(trust);
    ERR_clear_error();
    if (r) {
        trust_unref(trust);
        return r;
    }
    *ret_trust = trust;
    return 0;
}

struct trust *trust_ref(struct trust *trust)
{
    if (trust)
        atomic_fetch_add_explicit(&trust->n_refs, 1, memory_order_relaxed);
    return trust;
}

struct trust *trust_unref(struct trust *trust)
{
    if (!trust || atomic_fetch_sub_explicit(&trust->n_refs, 1, memory_order_acq_rel) != 1)
        return NULL;
    /* connections may keep the context for long; its sessions serve nobody any more */
    tls_resume_close(trust->context);
    SSL_CTX_free(trust->context);
    tls_store_deinit(&trust->store);
    free(trust->pins);
    free(trust);
    return NULL;
}

enum net_trust trust_state(const struct trust *trust, const char **ret_text)
{
    if (ret_text)
        *ret_text = trust->store.text;
    return trust->store.state;
}

size_t trust_folder_certificates(const struct trust *trust)
{
    return trust->n_folder_certificates;
}

bool trust_ktls(const struct trust *trust)
{
    return trust->ktls;
}

bool trust_uses_system(const struct trust *trust)
{
    return trust->has_system;
}

size_t trust_crls(const struct trust *trust)
{
    return trust->store.n_crls;
}

int64_t trust_crls_until(const struct trust *trust)
{
    return trust->store.crls_until;
}

bool trust_loses(const struct trust *trust, const struct trust *old, char *text, size_t n_text)
{
    const int64_t now = (int64_t)time(NULL);

    if (old && old->has_system && trust->wants_system && !trust->has_system) {
        snprintf(text, n_text, "the system's certificates cannot be read any more (%s, %s)",
                 X509_get_default_cert_file(), X509_get_default_cert_dir());
        return true;
    }
    if (old && old->store.crls_until >= now && trust->store.crls_until < now) {
        snprintf(text, n_text, "a revocation list is out of date, and those in force are not");
        return true;
    }
    return tls_store_loses(&trust->store, old ? &old->store : NULL, text, n_text);
}

const unsigned char *trust_alpn(const struct trust *trust, size_t *ret_n)
{
    *ret_n = trust->n_alpn;
    return trust->alpn;
}

static bool is_pinned(const struct trust *trust, const X509 *certificate)
{
    unsigned char hash[EVP_MAX_MD_SIZE], *key = NULL;
    unsigned n_hash = 0;
    bool pinned = false;

    int n_key = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), &key);
    if (n_key > 0 && EVP_Digest(key, (size_t)n_key, hash, &n_hash, EVP_sha256(), NULL) == 1)
        for (size_t i = 0; i < trust->n_pins && !pinned; i++)
            pinned = n_hash == TRUST_PIN_SIZE && memcmp(hash, trust->pins[i], n_hash) == 0;
    OPENSSL_free(key);
    return pinned;
}

bool trust_chain_pinned(const struct trust *trust, const STACK_OF(X509) * chain)
{
    bool pinned = trust->n_pins == 0;
    for (int i = 0; i < sk_X509_num(chain) && !pinned; i++)
        pinned = is_pinned(trust, sk_X509_value(chain, i));
    return pinned;
}
