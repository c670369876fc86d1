#include "rpc/explain.h"

#include <stdlib.h>
#include <string.h>

static const char *attempt_text(const struct net_attempt *attempt)
{
    switch (attempt->sys_errno) {
    case 0:
        return "pending";
    case NET_ATTEMPT_CONNECTED:
        return "connected"; /* what failed, if anything, came after */
    default: {
        const char *name = strerrorname_np(attempt->sys_errno);
        return name ? name : "unknown";
    }
    }
}

struct proto_objects explain_attempts(const struct net_error *error,
                                      struct explain_attempts *ret_attempts)
{
    for (unsigned i = 0; i < error->n_attempts; i++) {
        const struct net_attempt *attempt = &error->attempts[i];
        ret_attempts->items[i] = (struct proto_attempt){
            .address = address_text(&attempt->address, ret_attempts->addresses[i],
                                    sizeof(ret_attempts->addresses[i])),
            .error = attempt_text(attempt),
            .ms = attempt->ms,
            .has_tried = attempt->untried,
        };
    }
    return (struct proto_objects){.items = ret_attempts->items, .n_items = error->n_attempts};
}

static struct proto_certificate certificate_of(const struct tls_chain *chain, unsigned i)
{
    const struct tls_certificate *certificate = &chain->certificates[i];
    return (struct proto_certificate){
        .subject = certificate->subject,
        .issuer = certificate->issuer,
        .not_before = certificate->not_before,
        .not_after = certificate->not_after,
        .sha256 = certificate->sha256,
        .key = certificate->key,
        .signature = certificate->signature,
        .has_names = i == 0,
        .names = {.items = chain->names, .n_items = chain->n_names},
        .has_names_more = i == 0 && chain->n_names_more > 0,
        .names_more = chain->n_names_more,
        .self_signed = certificate->self_signed,
        .sent = certificate->sent,
        .trusted = certificate->trusted,
        .has_depth = certificate->depth >= 0,
        .depth = certificate->depth,
    };
}

struct explain *explain_new(const struct dial *dial)
{
    struct explain *explain = calloc(1, sizeof(*explain));
    if (!explain)
        return NULL;
    for (size_t i = 0; i < dial->n_addresses && i < EXPLAIN_ADDRESSES_MAX; i++)
        explain->addresses[explain->n_addresses++] = address_text(
            &dial->addresses[i], explain->addresses_text[i], sizeof(explain->addresses_text[i]));
    explain->chain = dial->chain;
    for (unsigned i = 0; dial->chain && i < dial->chain->n_certificates; i++)
        explain->certificates[i] = certificate_of(dial->chain, i);
    return explain;
}

struct explain *explain_free(struct explain *explain)
{
    free(explain);
    return NULL;
}

static struct proto_objects certificates(const struct explain *explain)
{
    return (struct proto_objects){.items = explain->certificates,
                                  .n_items = explain->chain->n_certificates};
}

void explain_tls(const struct explain *explain, const struct net_error *error,
                 struct proto_tls_facts *facts)
{
    if (!explain->chain)
        return;
    facts->has_chain = true;
    facts->chain = certificates(explain);
    facts->has_chain_more = explain->chain->n_more > 0;
    facts->chain_more = explain->chain->n_more;
    if (error->verify_code == 0)
        return;
    facts->has_refusal = true;
    facts->refusal = (struct proto_tls_failure){
        .has_verify_code = true,
        .verify_code = error->verify_code,
        .has_verify_text = true,
        .verify_text = error->verify_text,
        .has_depth = true,
        .depth = error->verify_depth,
        .has_subject = error->subject[0] != '\0',
        .subject = error->subject,
        .has_issuer = error->issuer[0] != '\0',
        .issuer = error->issuer,
    };
}

void explain_result(struct explain *explain, const struct net_error *error,
                    struct proto_tcp_connect_result *result)
{
    result->has_addresses = true;
    result->addresses =
        (struct proto_strings){.items = explain->addresses, .n_items = explain->n_addresses};
    result->has_attempts = true;
    result->attempts = explain_attempts(error, &explain->attempts);
    if (result->has_tls)
        explain_tls(explain, error, &result->tls);
}

void explain_failure(struct explain *explain, struct proto_error_data *data)
{
    data->has_addresses = explain->n_addresses > 0;
    data->addresses =
        (struct proto_strings){.items = explain->addresses, .n_items = explain->n_addresses};
    if (!explain->chain)
        return;
    data->has_tls = true; /* zeroed when it was false */
    data->tls.has_version = true;
    data->tls.version = explain->chain->version;
    data->tls.has_cipher = explain->chain->cipher[0] != '\0';
    data->tls.cipher = explain->chain->cipher;
    data->tls.has_alpn = explain->chain->alpn[0] != '\0';
    data->tls.alpn = explain->chain->alpn;
    data->tls.has_chain = true;
    data->tls.chain = certificates(explain);
    data->tls.has_chain_more = explain->chain->n_more > 0;
    data->tls.chain_more = explain->chain->n_more;
}
