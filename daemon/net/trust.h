#pragma once
/*
 * trust: a trust profile: what certificates are verified against and what TLS is spoken, as an
 * immutable snapshot: one SSL_CTX built once (15 ms with the system's store) and shared by all
 * connections of its profile.
 *
 * Threads:   trust_new() on any thread (it reads files: at start or on a worker, never on an io
 * thread); a snapshot is immutable and counted atomically, so any thread may hold it. Ownership:
 * trust_ref()/trust_unref(). Errors:    trust_new() fails only for lack of memory or an invalid
 * setting (-EINVAL). A store that cannot be used makes a snapshot that says so (trust_state()):
 * verified connections then fail with that reason, unverified ones work.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "net/error.h"

struct trust;

/* Which certificates of a chain must be covered by a revocation list and not be revoked by it
 * (RFC 5280 section 6.3). */
enum trust_crl_check { TRUST_CRL_OFF, TRUST_CRL_LEAF, TRUST_CRL_CHAIN };

enum { TRUST_PIN_SIZE = 32 }; /* SHA-256 of a SubjectPublicKeyInfo (RFC 7469 section 2.4) */

/* Revocation lists that have been read, for profiles that are made one after another from the same
 * state of the files: each list is in memory once. */
struct trust_shared;
NODISCARD int trust_shared_new(struct trust_shared **ret_shared);
struct trust_shared *trust_shared_free(struct trust_shared *shared);

struct trust_settings {
    const char *cacerts;      /* folder; every PEM file in it is trusted; NULL or "": none */
    const char *const *extra; /* more folders (--cacerts), each must be usable */
    size_t n_extra;
    bool cacerts_optional; /* a missing cacerts folder is fine */
    bool system_store;     /* the system's certificates too (OpenSSL's default paths) */
    bool min_tls13;        /* TLS 1.3 only; else 1.2 and newer */
    const char *ciphers;   /* OpenSSL cipher list for TLS 1.2, without @SECLEVEL; NULL or "": the
                              library's. Anonymous ones are never taken */
    int security_level;    /* SSL_CTX_set_security_level(3) */
    bool lenient; /* certificates that are sent need not be made as RFC 5280 says: key identifiers,
                     keyUsage of CAs, what is critical. Those of the store need not anyway */
    enum trust_crl_check crl_check;
    const char *const *crls; /* PEM files with revocation lists, or folders of such files; each must
                                be usable; n_crls 0: nothing is checked */
    size_t n_crls;
    struct trust_shared *shared;           /* what others have read; NULL: all is read anew */
    const uint8_t (*pins)[TRUST_PIN_SIZE]; /* one of them must be a key of the verified chain */
    size_t n_pins;                         /* 0: any key will do */
    const unsigned char *alpn; /* offered when a request names none; wire form (RFC 7301 3.1) */
    size_t n_alpn;             /* at most TRUST_ALPN_MAX */

    size_t session_cache;    /* sessions kept for resumption; 0: none */
    int64_t session_time_ms; /* not for longer after the server was verified */

    bool ktls; /* the kernel may encrypt what is handed out (struct tls_request) */
};
enum { TRUST_ALPN_MAX = 256 };

NODISCARD int trust_new(struct trust **ret_trust, const struct trust_settings *settings,
                        char *error_text, size_t n_error_text);
struct trust *trust_ref(struct trust *trust);
struct trust *trust_unref(struct trust *trust);

/* NET_TRUST_OK, or why nothing can be verified; *ret_text (may be NULL) says it in words with the
 * path. */
enum net_trust trust_state(const struct trust *trust, const char **ret_text);
/* What is offered when a request names nothing. */
const unsigned char *trust_alpn(const struct trust *trust, size_t *ret_n);
bool trust_ktls(const struct trust *trust);
bool trust_uses_system(const struct trust *trust);
/* How many certificates came from the folders (the system's are not counted). */
size_t trust_folder_certificates(const struct trust *trust);
/* How many revocation lists are heeded. */
size_t trust_crls(const struct trust *trust);
/* When the first of them that has no newer one of its issuer beside it is out of date, seconds
 * since the epoch; INT64_MAX: never. */
int64_t trust_crls_until(const struct trust *trust);
/* Has what was loaded anew lost something by an accident, that old (NULL: there is none) had: a
 * file that is damaged, the system's certificates, lists that were up to date? text says what. */
bool trust_loses(const struct trust *trust, const struct trust *old, char *text, size_t n_text);
