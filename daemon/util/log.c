#include "util/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "util/log_out.h"

static atomic_int current_level = LOG_INFO_;
static atomic_bool journal_format;

void log_set(enum log_level level, bool journal)
{
    atomic_store_explicit(&current_level, (int)level, memory_order_relaxed);
    atomic_store_explicit(&journal_format, journal, memory_order_relaxed);
}

bool log_enabled(enum log_level level)
{
    return (int)level <= atomic_load_explicit(&current_level, memory_order_relaxed);
}

static const char *level_name(enum log_level level)
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
                     level_name(level));
    }
    return n > 0 ? (size_t)n : 0;
}

void log_write(enum log_level level, const char *format, ...)
{
    char line[2048];
    va_list arguments;

    size_t n_prefix = write_prefix(line, sizeof(line), level);
    va_start(arguments, format);
    int n = vsnprintf(line + n_prefix, sizeof(line) - n_prefix - 1, format, arguments);
    va_end(arguments);
    if (n < 0)
        return;
    size_t n_line = n_prefix + (size_t)n;
    if (n_line > sizeof(line) - 2)
        n_line = sizeof(line) - 2;
    for (size_t i = n_prefix; i < n_line; i++)
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
            line[i] = '?';
    line[n_line++] = '\n';
    if (!log_out(line, n_line))
        return;
    unsigned n_lost = log_out_take_lost();
    if (n_lost)
        log_warning("%u lines of the log before this one were lost: standard error did not take "
                    "them",
                    n_lost);
}
