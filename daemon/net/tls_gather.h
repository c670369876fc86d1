#pragma once
/*
 * tls_gather: records on their way to the socket. Between begin and end they are collected when
 * several are to come, so that one send(2) takes them all; and a record that the socket takes half
 * is kept here, so that OpenSSL never stands in the middle of one. Nothing gets past what waits.
 *
 * Threads:   as tls_engine.
 * Ownership: tls_gather_new() puts it in the place of the SSL's write BIO, and with that it dies.
 * Errors:    -errno.
 * Limits:    GATHER_RECORDS records, four full ones' bytes; no memory while nothing waits.
 */
#include <openssl/ssl.h>
#include <stdbool.h>

#include "util/assert.h"

struct tls_gather;

NODISCARD int tls_gather_new(struct tls_gather **ret_gather, SSL *ssl, int fd);
/* Writing begins; nothing may wait. several: collect. */
void tls_gather_begin(struct tls_gather *gather, bool several);
/* OpenSSL has made a record of n bytes of plain text. */
void tls_gather_mark(struct tls_gather *gather, size_t n);
/* May another record follow before the flush? */
bool tls_gather_has_room(const struct tls_gather *gather);
void tls_gather_end(struct tls_gather *gather);
/* *ret_n: the plain text of the records that have gone out since this was asked last. Returns 0, 1:
 * the socket takes no more, or -errno. */
NODISCARD int tls_gather_flush(struct tls_gather *gather, size_t *ret_n);
