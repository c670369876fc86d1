#pragma once
/*
 * tls_chain: the certificates of a handshake, told in full for who wants to know what is wrong with
 * them. Made on request only (struct dial: explain), while they are verified; nothing of it stays
 * with the connection.
 *
 * Threads:   one at a time; it travels with its struct dial.
 * Ownership: one allocation, freed with free(); no pointers into anything that goes away.
 * Errors:    -ENOMEM.
 * Limits:    TLS_CHAIN_MAX certificates and TLS_CHAIN_NAMES_MAX names, of whatever the server
 * sends; the rest is counted. All text is printable ASCII.
 */
#include <stdbool.h>
#include <stddef.h>

enum { TLS_CHAIN_MAX = 16, TLS_CHAIN_NAMES_MAX = 64 };

struct tls_certificate {
    char subject[256], issuer[256];     /* RFC 2253 */
    char not_before[32], not_after[32]; /* RFC 3339 */
    char sha256[65], key[64], signature[64];
    bool self_signed;
    bool sent;    /* by the server */
    bool trusted; /* it is in the store */
    int depth;    /* in the chain that was verified, or failed to be; -1: not part of it */
};

struct tls_chain {
    const char *version, *cipher; /* static; "" : not agreed yet */
    char alpn[256];
    unsigned n_names, n_names_more; /* of the server's certificate */
    const char *names[TLS_CHAIN_NAMES_MAX];
    char names_text[4096];
    unsigned n_certificates, n_more;
    struct tls_certificate certificates[TLS_CHAIN_MAX]; /* the chain upwards, then the unused */
};
