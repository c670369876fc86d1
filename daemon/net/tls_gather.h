#pragma once
/*
 * tls_gather: records on their way to the socket, several with one send(2). Between begin and end
 * what OpenSSL writes is collected; flush sends it. What the socket does not take stays here, and
 * nothing gets past it.
 *
 * Threads:   as tls_engine.
 * Ownership: tls_gather_new() puts it in the place of the SSL's write BIO, and with that it dies.
 * Errors:    -errno.
 * Limits:    GATHER_RECORDS records and as many full ones' bytes; no memory while nothing waits.
 */
#include <openssl/ssl.h>
#include <stdbool.h>

#include "util/assert.h"

struct tls_gather;

NODISCARD int tls_gather_new(struct tls_gather **ret_gather, SSL *ssl, int fd);
/* Does something wait to be flushed? */
bool tls_gather_waits(const struct tls_gather *gather);
/* Collect from now on; nothing may wait. Returns false when there is no memory for that: records
 * then go out one by one. */
bool tls_gather_begin(struct tls_gather *gather);
/* OpenSSL has made a record of n bytes of plain text. */
void tls_gather_mark(struct tls_gather *gather, size_t n);
/* Is there room for another record? True while nothing is collected. */
bool tls_gather_has_room(const struct tls_gather *gather);
void tls_gather_end(struct tls_gather *gather);
/* *ret_n: the plain text of the records that have gone out since this was asked last. Returns 0, 1:
 * the socket takes no more, or -errno. */
NODISCARD int tls_gather_flush(struct tls_gather *gather, size_t *ret_n);
