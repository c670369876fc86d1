/*
 * tls_verify: the verification of a server's chain. OpenSSL does it; added are what it leaves out:
 *
 * - other ways to a root. OpenSSL builds one chain and stands by it. When that one fails and the
 *   server has shown more than one certificate for the same CA (cross-signed, renewed), the others
 *   are tried, and then those of the server before those of the store;
 * - policies, where a CA requires them;
 * - the last second of a validity;
 * - what RFC 5280 takes of a trust anchor: its name and its key, and not how it is made;
 * - pinned keys.
 */
#include "net/tls_internal.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum {
    TRIES_MAX = 16,     /* of each kind, so that a server cannot buy much work with one handshake */
    CHAIN_MAX = 10,     /* longer ones get one try */
    UNTRUSTED_MAX = 32, /* certificates of the server that can be left out */
};

static struct tls_engine *engine_of(const X509_STORE_CTX *store)
{
    const SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    return SSL_get_app_data(ssl);
}

/* A certificate is valid through notAfter, inclusive (RFC 5280 section 4.1.2.5); OpenSSL's ends a
 * second before. */
static bool is_last_second(const X509_STORE_CTX *store)
{
    const X509 *certificate = X509_STORE_CTX_get_current_cert(store);
    return X509_STORE_CTX_get_error(store) == X509_V_ERR_CERT_HAS_EXPIRED && certificate &&
           ASN1_TIME_cmp_time_t(X509_get0_notAfter(certificate), time(NULL)) >= 0;
}

/* How a certificate of the store is made is the business of who has put it there (RFC 5280 section
 * 6.1: a trust anchor is a name and a key); many private CAs, and some public ones, have no
 * keyUsage or key identifiers. Whether it may issue, how strong it is and the like stay errors, as
 * does all of that in certificates that the server has sent. */
static bool is_form_of_anchor(const X509_STORE_CTX *store)
{
    int code = X509_STORE_CTX_get_error(store);
    return code >= X509_V_ERR_MISSING_AUTHORITY_KEY_IDENTIFIER &&
           code <= X509_V_ERR_EXTENSIONS_REQUIRE_VERSION_3 &&
           X509_STORE_CTX_get_error_depth(store) >= X509_STORE_CTX_get_num_untrusted(store);
}

int tls_verify_callback(int ok, X509_STORE_CTX *store)
{
    if (ok || !(is_last_second(store) || is_form_of_anchor(store)))
        return ok;
    X509_STORE_CTX_set_error(store, X509_V_OK);
    return 1;
}

/* ---- other ways ---- */

struct search {
    X509_STORE_CTX *given;
    const struct trust *trust;
    STACK_OF(X509) * untrusted; /* the given one's */
    int n_untrusted;
    uint32_t tries[TRIES_MAX]; /* each a set of untrusted certificates to leave out */
    unsigned n_tries;
    STACK_OF(X509) * found;
};

/* The server's certificate itself is not good: no other chain helps. */
static bool is_final(const X509_STORE_CTX *store)
{
    switch (X509_STORE_CTX_get_error(store)) {
    case X509_V_ERR_OUT_OF_MEM:
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
    case X509_V_ERR_EE_KEY_TOO_SMALL:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
        return true;
    case X509_V_ERR_CERT_NOT_YET_VALID:
    case X509_V_ERR_CERT_HAS_EXPIRED:
    case X509_V_ERR_CERT_REVOKED:
        return X509_STORE_CTX_get_error_depth(store) == 0;
    default:
        return false;
    }
}

static bool is_left_out(uint32_t left_out, int i)
{
    return left_out >> i & 1;
}

static bool has_twin(const struct search *search, uint32_t left_out, const X509 *certificate)
{
    for (int i = 0; i < search->n_untrusted; i++) {
        const X509 *other = sk_X509_value(search->untrusted, i);
        if (!is_left_out(left_out, i) && X509_cmp(other, certificate) != 0 &&
            X509_NAME_cmp(X509_get_subject_name(other), X509_get_subject_name(certificate)) == 0)
            return true;
    }
    return false;
}

static uint32_t copies_of(const struct search *search, const X509 *certificate)
{
    uint32_t copies = 0;
    for (int i = 0; i < search->n_untrusted; i++)
        if (X509_cmp(sk_X509_value(search->untrusted, i), certificate) == 0)
            copies |= UINT32_C(1) << i;
    return copies;
}

static void add_try(struct search *search, uint32_t left_out)
{
    for (unsigned i = 0; i < search->n_tries; i++)
        if (search->tries[i] == left_out)
            return;
    if (search->n_tries < TRIES_MAX)
        search->tries[search->n_tries++] = left_out;
}

/* What could be done otherwise than in this chain, which has failed. */
static void add_tries(struct search *search, X509_STORE_CTX *failed, uint32_t left_out)
{
    const STACK_OF(X509) *chain = X509_STORE_CTX_get0_chain(failed);

    if (is_final(failed) || sk_X509_num(chain) > CHAIN_MAX)
        return;
    for (int depth = 1; depth < sk_X509_num(chain); depth++) {
        const X509 *certificate = sk_X509_value(chain, depth);
        uint32_t copies = copies_of(search, certificate);
        if (copies && has_twin(search, left_out, certificate))
            add_try(search, left_out | copies);
    }
}

static X509_STORE_CTX *new_try(const struct search *search, STACK_OF(X509) * untrusted,
                               bool trusted_first)
{
    X509_STORE_CTX *store = X509_STORE_CTX_new();
    if (!store)
        return NULL;
    X509_VERIFY_PARAM *param = NULL;
    if (X509_STORE_CTX_init(store, X509_STORE_CTX_get0_store(search->given),
                            X509_STORE_CTX_get0_cert(search->given), untrusted) == 1)
        param = X509_STORE_CTX_get0_param(store);
    /* everything that is asked of the given one: name, purpose, strength, flags */
    if (!param || X509_VERIFY_PARAM_set1(param, X509_STORE_CTX_get0_param(search->given)) != 1 ||
        (!trusted_first && X509_VERIFY_PARAM_clear_flags(param, X509_V_FLAG_TRUSTED_FIRST) != 1)) {
        X509_STORE_CTX_free(store);
        return NULL;
    }
    X509_STORE_CTX_set_verify_cb(store, tls_verify_callback);
    return store;
}

static void try_without(struct search *search, uint32_t left_out, bool trusted_first)
{
    STACK_OF(X509) *untrusted = sk_X509_new_null();
    bool complete = untrusted != NULL;

    for (int i = 0; complete && i < sk_X509_num(search->untrusted); i++)
        if (i >= search->n_untrusted || !is_left_out(left_out, i))
            complete = sk_X509_push(untrusted, sk_X509_value(search->untrusted, i)) > 0;
    X509_STORE_CTX *store = complete ? new_try(search, untrusted, trusted_first) : NULL;
    if (store && X509_verify_cert(store) > 0 &&
        trust_chain_pinned(search->trust, X509_STORE_CTX_get0_chain(store)))
        search->found = X509_STORE_CTX_get1_chain(store);
    else if (store)
        add_tries(search, store, left_out);
    X509_STORE_CTX_free(store);
    sk_X509_free(untrusted);
}

static bool find_other_way(X509_STORE_CTX *given, const struct trust *trust)
{
    struct search search = {
        .given = given, .trust = trust, .untrusted = X509_STORE_CTX_get0_untrusted(given)};
    int n = sk_X509_num(search.untrusted);

    search.n_untrusted = n < 0 ? 0 : n < UNTRUSTED_MAX ? n : UNTRUSTED_MAX;
    if (is_final(given) || sk_X509_num(X509_STORE_CTX_get0_chain(given)) > CHAIN_MAX)
        return false;
    add_try(&search, 0); /* the given one */
    add_tries(&search, given, 0);
    for (unsigned i = 1; i < search.n_tries && !search.found; i++)
        try_without(&search, search.tries[i], true);
    search.n_tries = 0;
    add_try(&search, 0);
    for (unsigned i = 0; i < search.n_tries && !search.found; i++)
        try_without(&search, search.tries[i], false);
    if (!search.found)
        return false;
    X509_STORE_CTX_set0_verified_chain(given, search.found);
    X509_STORE_CTX_set_error(given, X509_V_OK);
    return true;
}

/* ---- policies (RFC 5280 section 4.2.1.11) ---- */

/* OpenSSL takes policyConstraints for handled, also while policies are not checked. They are where
 * somebody has such an extension, and nowhere else. A certificate that has it and no policies would
 * lose a bit of memory each time (OpenSSL 3.0); there is no sound one. Returns the number of that
 * one, or -1. */
static int heed_policies(X509_STORE_CTX *store)
{
    const STACK_OF(X509) *shown = X509_STORE_CTX_get0_untrusted(store);
    X509_VERIFY_PARAM *param = X509_STORE_CTX_get0_param(store);
    bool heeded = false;

    for (int i = 0; i < sk_X509_num(shown); i++) {
        const X509 *certificate = sk_X509_value(shown, i);
        if (X509_get_ext_by_NID(certificate, NID_policy_constraints, -1) < 0)
            continue;
        if (X509_get_ext_by_NID(certificate, NID_certificate_policies, -1) < 0)
            return i;
        if (!heeded) { /* any will do; without memory for that, none does */
            (void)X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_POLICY_CHECK);
            (void)X509_VERIFY_PARAM_add0_policy(param, OBJ_nid2obj(NID_any_policy));
        }
        heeded = true;
    }
    return -1;
}

static bool policies_sound(X509_STORE_CTX *store)
{
    int bad = heed_policies(store);
    if (bad < 0)
        return true;
    X509_STORE_CTX_set_error(store, X509_V_ERR_INVALID_POLICY_EXTENSION);
    X509_STORE_CTX_set_error_depth(store, bad);
    X509_STORE_CTX_set_current_cert(store,
                                    sk_X509_value(X509_STORE_CTX_get0_untrusted(store), bad));
    return false;
}

/* ---- the verdict ---- */

static void tell(struct tls_engine *engine, X509_STORE_CTX *store)
{
    struct net_error *error = engine->verify_error;
    int code = X509_STORE_CTX_get_error(store);
    const X509 *certificate = X509_STORE_CTX_get_current_cert(store);

    ASSERT(error);
    error->verify_code = code == X509_V_OK ? X509_V_ERR_UNSPECIFIED : code;
    error->verify_depth = X509_STORE_CTX_get_error_depth(store);
    snprintf(error->verify_text, sizeof(error->verify_text), "%s",
             code == X509_V_ERR_APPLICATION_VERIFICATION
                 ? "no key of its chain is pinned by the trust profile"
                 : X509_verify_cert_error_string(error->verify_code));
    error->of_client = engine->server;
    if (certificate) {
        tls_name_text(X509_get_subject_name(certificate), error->subject, sizeof(error->subject));
        tls_name_text(X509_get_issuer_name(certificate), error->issuer, sizeof(error->issuer));
        if (code == X509_V_ERR_HOSTNAME_MISMATCH || code == X509_V_ERR_IP_ADDRESS_MISMATCH)
            tls_certificate_names(certificate, error->names, sizeof(error->names));
    }
}

/* A chain that is good in itself, but has none of the keys that are pinned. */
static bool has_pinned_key(X509_STORE_CTX *store, const struct trust *trust)
{
    if (trust_chain_pinned(trust, X509_STORE_CTX_get0_chain(store)))
        return true;
    X509_STORE_CTX_set_error(store, X509_V_ERR_APPLICATION_VERIFICATION);
    X509_STORE_CTX_set_error_depth(store, 0);
    X509_STORE_CTX_set_current_cert(store, X509_STORE_CTX_get0_cert(store));
    return false;
}

/* What is asked of the chain, the name too, OpenSSL copies from the SSL, and does not look whether
 * it had the memory for that (3.0, ssl_verify_cert_chain()): without it no name would be asked for.
 */
static bool all_is_asked(X509_STORE_CTX *store, const struct tls_engine *engine)
{
    X509_VERIFY_PARAM *param = X509_STORE_CTX_get0_param(store);

    if (X509_VERIFY_PARAM_set1(param, SSL_get0_param(engine->ssl)) == 1)
        return true;
    X509_STORE_CTX_set_error(store, X509_V_ERR_OUT_OF_MEM);
    return false;
}

int tls_verify_chain(X509_STORE_CTX *store, void *trust)
{
    struct tls_engine *engine = engine_of(store);

    if (!engine->verify)
        tls_resume_verified(engine, NULL);
    if (!engine->verify && !engine->explain)
        return 1; /* nobody asked */
    ERR_set_mark();
    bool verified = all_is_asked(store, engine) && policies_sound(store) &&
                    ((X509_verify_cert(store) > 0 && has_pinned_key(store, trust)) ||
                     find_other_way(store, trust));
    bool accepted = verified || !engine->verify;
    if (accepted)
        ERR_pop_to_mark(); /* what failed on the way is no failure of the handshake */
    else
        ERR_clear_last_mark();
    if (!verified)
        tell(engine, store);
    if (verified && engine->verify)
        tls_resume_verified(engine, X509_STORE_CTX_get0_chain(store));
    if (engine->explain && !engine->chain && tls_chain_new(&engine->chain, engine->ssl, store))
        engine->chain = NULL; /* without memory there is no explanation, but the verdict */
    return accepted;
}
