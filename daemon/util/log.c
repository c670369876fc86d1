#include "util/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "util/log_out.h"

#include "util/journal.h"

enum { LINE_MAX_BYTES = 2048 };

static atomic_int current_level = LOG_INFO_;
static atomic_bool journal_format;
static atomic_bool native; /* with journal_format: journal.h does it */
static _Atomic uint64_t n_lost, n_lost_told;

void log_set(enum log_level level, bool journal)
{
    atomic_store_explicit(&current_level, (int)level, memory_order_relaxed);
    atomic_store_explicit(&journal_format, journal, memory_order_relaxed);
}

int log_to_journal(const char *path)
{
    int r = path ? journal_open(path) : 0;

    if (!path)
        journal_close();
    atomic_store_explicit(&native, path && r == 0, memory_order_relaxed);
    return r;
}

void log_set_level(enum log_level level)
{
    atomic_store_explicit(&current_level, (int)level, memory_order_relaxed);
}

enum log_level log_level(void)
{
    return (enum log_level)atomic_load_explicit(&current_level, memory_order_relaxed);
}

bool log_enabled(enum log_level level)
{
    return (int)level <= atomic_load_explicit(&current_level, memory_order_relaxed);
}

uint64_t log_lost(void)
{
    return atomic_load_explicit(&n_lost, memory_order_relaxed);
}

const char *log_level_name(enum log_level level)
{
    switch (level) {
    case LOG_ERROR_:
        return "error";
    case LOG_WARNING_:
        return "warning";
    case LOG_NOTICE_:
        return "notice";
    case LOG_INFO_:
        return "info";
    case LOG_DEBUG_:
        return "debug";
    }
    return "?";
}

static size_t write_prefix(char *line, size_t n_line, enum log_level level)
{
    struct timespec now;
    struct tm utc;
    int n;

    if (atomic_load_explicit(&journal_format, memory_order_relaxed)) {
        n = snprintf(line, n_line, "<%d>", (int)level);
    } else {
        char stamp[32];
        (void)clock_gettime(CLOCK_REALTIME, &now);
        gmtime_r(&now.tv_sec, &utc);
        strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S", &utc);
        n = snprintf(line, n_line, "%s.%03ldZ %s ", stamp, now.tv_nsec / 1000000,
                     log_level_name(level));
    }
    return n > 0 ? (size_t)n : 0;
}

/* The text after the prefix, with room left for the end of the line. Returns where it ends. */
__attribute__((format(printf, 3, 0))) static size_t
write_text(char *line, size_t n_prefix, const char *format, va_list arguments)
{
    int n = vsnprintf(line + n_prefix, LINE_MAX_BYTES - n_prefix - 1, format, arguments);
    size_t n_line = n_prefix + (n > 0 ? (size_t)n : 0);

    if (n_line > LINE_MAX_BYTES - 2)
        n_line = LINE_MAX_BYTES - 2;
    for (size_t i = n_prefix; i < n_line; i++)
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
            line[i] = '?';
    return n_line;
}

/* Some were lost, and nobody has said so yet: this comes first, or is lost itself. */
static void tell_lost(void)
{
    uint64_t lost = atomic_load_explicit(&n_lost, memory_order_relaxed);
    uint64_t told = atomic_load_explicit(&n_lost_told, memory_order_relaxed);
    char number[24], text[128];
    const struct log_field field = {TAG_LOST, number};

    if (lost == told || !atomic_compare_exchange_strong_explicit(
                            &n_lost_told, &told, lost, memory_order_relaxed, memory_order_relaxed))
        return;
    snprintf(number, sizeof(number), "%llu", (unsigned long long)(lost - told));
    int n = snprintf(text, sizeof(text),
                     "%s lines of the log are missing here: the journal did "
                     "not take them",
                     number);
    if (journal_send(LOG_WARNING_, EVENT_LINES_LOST, text, (size_t)n, &field, 1))
        atomic_fetch_sub_explicit(&n_lost_told, lost - told, memory_order_relaxed);
}

__attribute__((format(printf, 5, 0))) static void
write_line(enum log_level level, const char *message_id, const struct log_field *fields,
           size_t n_fields, const char *format, va_list arguments)
{
    char line[LINE_MAX_BYTES];
    size_t n_prefix = write_prefix(line, sizeof(line), level);
    size_t n_line = write_text(line, n_prefix, format, arguments);

    if (atomic_load_explicit(&journal_format, memory_order_relaxed) &&
        atomic_load_explicit(&native, memory_order_relaxed)) {
        tell_lost();
        int r = journal_send((int)level, message_id, line + n_prefix, n_line - n_prefix, fields,
                             n_fields);
        if (r == -EAGAIN)
            atomic_fetch_add_explicit(&n_lost, 1, memory_order_relaxed);
        if (r == 0 || r == -EAGAIN)
            return;
        /* it is not there at all: its other way in may be */
    }
    line[n_line++] = '\n';
    if (!log_out(line, n_line))
        return;
    unsigned n_dropped = log_out_take_lost();
    if (n_dropped)
        log_warning("%u lines of the log before this one were lost: standard error did not take "
                    "them",
                    n_dropped);
}

void log_write(enum log_level level, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    write_line(level, NULL, NULL, 0, format, arguments);
    va_end(arguments);
}

void log_event(enum log_level level, const char *message_id, const struct log_field *fields,
               size_t n_fields, const char *format, ...)
{
    va_list arguments;

    if (!log_enabled(level))
        return;
    va_start(arguments, format);
    write_line(level, message_id, fields, n_fields, format, arguments);
    va_end(arguments);
}
