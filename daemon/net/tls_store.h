#pragma once
/*
 * tls_store: filling an X509_STORE from files: folders of certificates, the system's store,
 * revocation lists. Part of making a trust snapshot.
 *
 * Threads:   one at a time; it reads files.
 * Ownership: the X509_STORE is borrowed; struct tls_store is plain data.
 * Errors:    -ENOMEM. What is wrong with the files is no error here: the first trouble is kept in
 * `state` and `text`, and nothing can be verified then.
 */
#include <openssl/x509.h>
#include <stdbool.h>
#include <stdint.h>

#include "net/error.h"

struct tls_store {
    X509_STORE *x509;
    enum net_trust state;
    char text[512];
    size_t n_crls;
    /* when the newest list of some issuer is out of date, seconds since the epoch; INT64_MAX */
    int64_t crls_until;
};

void tls_store_init(struct tls_store *store, X509_STORE *x509);
size_t tls_store_count(const struct tls_store *store);
__attribute__((format(printf, 3, 4))) void
tls_store_spoil(struct tls_store *store, enum net_trust state, const char *format, ...);

/* All PEM files of a folder. Files without a certificate are passed over, with a line in the log.
 */
NODISCARD int tls_store_folder(struct tls_store *store, const char *path, bool optional,
                               size_t *ret_n);
/* Returns whether there is any certificate in the system's store. */
NODISCARD bool tls_store_system(struct tls_store *store);
/* A PEM file of revocation lists, or a folder of such files; each must be sound. */
NODISCARD int tls_store_crls(struct tls_store *store, const char *path);
