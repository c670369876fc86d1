/*
 * tls_store_until: when the revocation lists of a store are out of date.
 */
#include <errno.h>
#include <openssl/x509v3.h>
#include <time.h>

#include "net/tls_store.h"

/* INT64_MAX: never, or that cannot be read (such a list is accepted nowhere). */
static int64_t next_update(const X509_CRL *crl)
{
    struct tm until;
    const ASN1_TIME *next = X509_CRL_get0_nextUpdate(crl);
    return next && ASN1_TIME_to_tm(next, &until) == 1 ? timegm(&until) : INT64_MAX;
}

static int compare_extension(const X509_CRL *a, const X509_CRL *b, int nid)
{
    int at_a = X509_CRL_get_ext_by_NID(a, nid, -1), at_b = X509_CRL_get_ext_by_NID(b, nid, -1);
    if (at_a < 0 || at_b < 0)
        return (at_a >= 0) - (at_b >= 0);
    return ASN1_OCTET_STRING_cmp(X509_EXTENSION_get_data(X509_CRL_get_ext(a, at_a)),
                                 X509_EXTENSION_get_data(X509_CRL_get_ext(b, at_b)));
}

/* 0: one takes the place of the other. Those for other certificates of the issuer, or made with
 * another key of it, do not. */
static int compare_lists(const X509_CRL *const *a, const X509_CRL *const *b)
{
    int order = X509_CRL_cmp(*a, *b); /* the issuer's name */
    if (order == 0)
        order = compare_extension(*a, *b, NID_issuing_distribution_point);
    return order ? order : compare_extension(*a, *b, NID_authority_key_identifier);
}

/* The first moment at which certificates are left without a list: an old list beside a newer one of
 * the same kind holds nobody up. */
int tls_store_find_until(struct tls_store *store)
{
    STACK_OF(X509_OBJECT) *objects = X509_STORE_get0_objects(store->x509);
    STACK_OF(X509_CRL) *crls = sk_X509_CRL_new(compare_lists);
    bool complete = crls != NULL;

    for (int i = 0; complete && i < sk_X509_OBJECT_num(objects); i++) {
        X509_CRL *crl = X509_OBJECT_get0_X509_CRL(sk_X509_OBJECT_value(objects, i));
        complete = !crl || sk_X509_CRL_push(crls, crl) > 0;
    }
    if (!complete) {
        sk_X509_CRL_free(crls);
        return -ENOMEM;
    }
    sk_X509_CRL_sort(crls);
    store->crls_until = INT64_MAX;
    for (int i = 0; i < sk_X509_CRL_num(crls);) {
        const X509_CRL *first = sk_X509_CRL_value(crls, i), *each = first;
        int64_t until = INT64_MIN;
        for (; each && compare_lists(&first, &each) == 0; each = sk_X509_CRL_value(crls, ++i))
            if (next_update(each) > until)
                until = next_update(each);
        if (until < store->crls_until)
            store->crls_until = until;
    }
    sk_X509_CRL_free(crls);
    return 0;
}
