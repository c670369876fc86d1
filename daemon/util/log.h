#pragma once
/*
 * log: one line per event, to standard error or to the journal. Nobody waits for either
 * (log_out.h): how many lines were not taken is told by a later one.
 *
 * Plain format: "2026-01-31T12:00:00.123Z level text"; journal format: "<n>text" (sd-daemon(3)
 * prefixes); both whole lines, one write each. After log_to_journal() the journal format is the
 * journal's own protocol instead: one datagram, with the message id and fields of log_event(). The
 * text of an event says all that matters by itself; its fields are for programs, and are left out
 * where there is no place for them. Never pass payload, keys or tokens.
 *
 * Threads: any; allocates nothing. log_set() before the threads start, or the control thread;
 * log_to_journal() before the threads start.
 * Errors:  none: what cannot be written is dropped. What the journal does not take at once is
 * counted, and the next line that it takes is preceded by one that tells how many are missing.
 * Limits:  a line is cut at 2048 bytes; control characters in it are replaced by '?', so nobody can
 * forge a line. The value of a field is cut at 1024 bytes, and may contain anything: its length is
 * sent along. What is beyond 8192 bytes in all, or 32 fields, is left out.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/messages.h"

enum log_level { LOG_ERROR_ = 3, LOG_WARNING_ = 4, LOG_NOTICE_ = 5, LOG_INFO_ = 6, LOG_DEBUG_ = 7 };

/* TAG_* and its value; NULL: there is none. */
struct log_field {
    const char *name, *value;
};

void log_set(enum log_level level, bool journal);
/* Standard error goes to the journal, so speak to it directly, at this place
 * (LOG_JOURNAL_SOCKET). NULL: no longer. Returns 0 or -errno: then the prefixes do. */
int log_to_journal(const char *path);
void log_set_level(enum log_level level);
enum log_level log_level(void);
const char *log_level_name(enum log_level level); /* "info", as log.level of the configuration */
bool log_enabled(enum log_level level);
/* Lines that the journal did not take, since the start. */
uint64_t log_lost(void);
__attribute__((format(printf, 2, 3))) void log_write(enum log_level level, const char *format, ...);
/* message_id: EVENT_*, or NULL. Does nothing when the level is not enabled. */
__attribute__((format(printf, 5, 6))) void log_event(enum log_level level, const char *message_id,
                                                     const struct log_field *fields,
                                                     size_t n_fields, const char *format, ...);

#define LOG_JOURNAL_SOCKET "/run/systemd/journal/socket"

#define LOG_AT(level, ...) (log_enabled(level) ? log_write(level, __VA_ARGS__) : (void)0)
#define log_error(...)     LOG_AT(LOG_ERROR_, __VA_ARGS__)
#define log_warning(...)   LOG_AT(LOG_WARNING_, __VA_ARGS__)
#define log_notice(...)    LOG_AT(LOG_NOTICE_, __VA_ARGS__)
#define log_info(...)      LOG_AT(LOG_INFO_, __VA_ARGS__)
#define log_debug(...)     LOG_AT(LOG_DEBUG_, __VA_ARGS__)
