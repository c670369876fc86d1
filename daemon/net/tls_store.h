#pragma once
/*
 * tls_store: filling an X509_STORE from files: folders of certificates, the system's store,
 * revocation lists. Part of making a trust snapshot.
 *
 * Threads:   one at a time; it reads files.
 * Ownership: the X509_STORE is borrowed; tls_store_deinit() frees the rest.
 * Errors:    -ENOMEM. What is wrong with the files is no error here: the first trouble is kept in
 * `state` and `text`, and nothing can be verified then.
 */
#include <openssl/x509.h>
#include <stdbool.h>
#include <stdint.h>

#include "net/error.h"

/* A file of a folder, and what it gave. */
struct tls_store_file {
    char *path;
    size_t n;
    bool damaged; /* behind those */
};

struct tls_store {
    X509_STORE *x509;
    struct tls_store_file *files; /* of certificates */
    size_t n_files;
    enum net_trust state;
    char text[512];
    size_t n_crls;
    /* when the newest list of some issuer is out of date, seconds since the epoch; INT64_MAX */
    int64_t crls_until;
};

void tls_store_init(struct tls_store *store, X509_STORE *x509);
void tls_store_deinit(struct tls_store *store);
size_t tls_store_count(const struct tls_store *store);
__attribute__((format(printf, 3, 4))) void
tls_store_spoil(struct tls_store *store, enum net_trust state, const char *format, ...);

/* All PEM files of a folder. Files without a certificate are passed over, with a line in the log.
 */
NODISCARD int tls_store_folder(struct tls_store *store, const char *path, bool optional,
                               size_t *ret_n);
/* Is there a file that is damaged or empty now, and was not? Only accidents are told: a file that
 * has gone was taken away by somebody. old NULL: nothing was there before. text says which. */
bool tls_store_loses(const struct tls_store *store, const struct tls_store *old, char *text,
                     size_t n_text);
/* Returns whether there is any certificate in the system's store. */
NODISCARD bool tls_store_system(struct tls_store *store);
/* A PEM file of revocation lists, or a folder of such files; each must be sound. shared (may be
 * NULL) has them when they have been read before, and gets them when not. */
struct trust_shared;
NODISCARD int tls_store_crls(struct tls_store *store, const char *path,
                             struct trust_shared *shared);
/* store->crls_until, of the lists that are in it now; part of tls_store_crls(). */
NODISCARD int tls_store_find_until(struct tls_store *store);
/* OpenSSL goes on without a key or an extension that it cannot read, as there are kinds it does not
 * know; also when it was memory that it lacked, and then nothing below that certificate would be
 * accepted any more. Returns 0 or -ENOMEM: read once more, it is whole. */
NODISCARD int tls_store_check_whole(X509 *certificate);
