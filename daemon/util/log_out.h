#pragma once
/*
 * log_out: where lines of the log go: standard error, which may be slow, full or gone. Nobody waits
 * for it: what it does not take at once is dropped, and counted.
 *
 * A pipe or a terminal blocks for all who share its open file description; so it is opened anew,
 * for this process alone, and the flag is set there. Where that is not possible it is asked first
 * if it has room. A socket (the journal's) needs neither.
 *
 * Threads: any.
 * Errors:  none: false, and the line is lost.
 * Limits:  PIPE_BUF bytes a line, so that a pipe takes all or nothing.
 */
#include <stdbool.h>
#include <stddef.h>

/* Looks what standard error is, before the threads start; without it lines are just written. */
void log_out_open(void);
bool log_out(const char *line, size_t n_line);
/* How many were lost since the last time this was asked. */
unsigned log_out_take_lost(void);
