#pragma once
/*
 * journal: one entry to systemd's journal by its own protocol: one datagram with fields. (Written
 * here because sd_journal_sendv(3) may wait for the journal and may need memory; see
 * https://systemd.io/JOURNAL_NATIVE_PROTOCOL/.)
 *
 * Threads:   journal_open() and journal_close() before the threads; journal_send() any, between.
 * Ownership: the one socket of the process.
 * Errors:    -errno; -EAGAIN: the journal is busy. Nothing waits.
 * Limits:    as in log.h; a field that does not fit is left out.
 */
#include <stddef.h>

#include "util/assert.h"

struct log_field;

NODISCARD int journal_open(const char *path);
void journal_close(void);
/* priority as in syslog(3); message_id may be NULL. */
NODISCARD int journal_send(int priority, const char *message_id, const char *text, size_t n_text,
                           const struct log_field *fields, size_t n_fields);
