#pragma once
/*
 * log: one line per event to standard error, whole lines only (one write each). Nobody waits for it
 * (log_out.h): how many lines it did not take is told by a later one.
 *
 * Plain format: "2026-01-31T12:00:00.123Z level text"; journal format: "<n>text" (sd-daemon(3)
 * prefixes). Never pass payload, keys or tokens.
 *
 * Threads: any. log_set() before the threads start, log_set_level() any time.
 * Errors:  none: what cannot be written is dropped.
 * Limits:  a line is cut at 2048 bytes; control characters in it are replaced by '?', so nobody can
 * forge a line.
 */
#include <stdbool.h>

enum log_level { LOG_ERROR_ = 3, LOG_WARNING_ = 4, LOG_NOTICE_ = 5, LOG_INFO_ = 6, LOG_DEBUG_ = 7 };

void log_set(enum log_level level, bool journal);
bool log_enabled(enum log_level level);
__attribute__((format(printf, 2, 3))) void log_write(enum log_level level, const char *format, ...);

#define LOG_AT(level, ...) (log_enabled(level) ? log_write(level, __VA_ARGS__) : (void)0)
#define log_error(...)     LOG_AT(LOG_ERROR_, __VA_ARGS__)
#define log_warning(...)   LOG_AT(LOG_WARNING_, __VA_ARGS__)
#define log_notice(...)    LOG_AT(LOG_NOTICE_, __VA_ARGS__)
#define log_info(...)      LOG_AT(LOG_INFO_, __VA_ARGS__)
#define log_debug(...)     LOG_AT(LOG_DEBUG_, __VA_ARGS__)
