#pragma once
/*
 * identity: a certificate with its chain and its key, to show who we are: to servers that ask for a
 * client certificate, and to clients when we are the server. An immutable snapshot.
 *
 * Threads:   identity_new() on any thread (it reads files: at start or on a worker, never on an io
 * thread); a snapshot is immutable and counted atomically, so any thread may hold it.
 * Ownership: identity_ref()/identity_unref(). The key never leaves it: nothing here gives it out.
 * Errors:    identity_new() tells in words what is wrong with the files.
 * Limits:    IDENTITY_MAX_CHAIN certificates beside the first.
 */
#include <stddef.h>
#include <stdint.h>

#include "util/assert.h"

enum { IDENTITY_MAX_CHAIN = 16 };

struct identity;

/* certificate: a PEM file, the own certificate first, then those that lead to the root; key: a PEM
 * file, "" when it is in the certificate's, without a passphrase. Returns 0, -EINVAL (error_text
 * says why), or -ENOMEM. A certificate that has expired is taken: the peer judges it. */
NODISCARD int identity_new(struct identity **ret_identity, const char *name,
                           const char *certificate, const char *key, char *error_text,
                           size_t n_error_text);
/* NULL is fine. */
struct identity *identity_ref(struct identity *identity);
struct identity *identity_unref(struct identity *identity);

const char *identity_name(const struct identity *identity);
/* The end of its validity, seconds since the epoch; in the past: it has expired. */
int64_t identity_not_after(const struct identity *identity);
