#pragma once
/*
 * explain: what a dial has to tell beside its outcome, as members of an answer: which addresses
 * were tried, and, when the request has asked for it, all of them and the chain of certificates.
 *
 * Threads:   the request's io thread.
 * Ownership: it points into the dial, which must live as long.
 * Errors:    explain_new() gives NULL without memory; the answer then has less to tell.
 * Limits:    EXPLAIN_ADDRESSES_MAX addresses; certificates and names as in net/tls_chain.h.
 */
#include "net/dial.h"
#include "proto/methods.h"

enum { EXPLAIN_ADDRESSES_MAX = 64 };

struct explain_attempts {
    struct proto_attempt items[NET_ATTEMPTS_MAX];
    char addresses[NET_ATTEMPTS_MAX][ADDRESS_TEXT_MAX];
};

/* *ret_attempts holds what the list points to. */
struct proto_objects explain_attempts(const struct net_error *error,
                                      struct explain_attempts *ret_attempts);

struct explain {
    const struct tls_chain *chain; /* NULL: none */
    const char *addresses[EXPLAIN_ADDRESSES_MAX];
    char addresses_text[EXPLAIN_ADDRESSES_MAX][ADDRESS_TEXT_MAX];
    size_t n_addresses;
    struct explain_attempts attempts;
    struct proto_certificate certificates[TLS_CHAIN_MAX];
};

struct explain *explain_new(const struct dial *dial);
struct explain *explain_free(struct explain *explain); /* NULL is fine; returns NULL */

/* Fill the members that only an explanation has; error: the dial's. */
void explain_tls(const struct explain *explain, const struct net_error *error,
                 struct proto_tls_facts *facts);
void explain_result(struct explain *explain, const struct net_error *error,
                    struct proto_tcp_connect_result *result);
void explain_failure(struct explain *explain, struct proto_error_data *data);
