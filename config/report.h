#pragma once
/*
 * report: putting errors into a struct config_report.
 *
 * Threads:   any, one at a time for each report.
 * Ownership: everything is copied.
 * Limits:    CONFIG_MAX_ERRORS texts of CONFIG_ERROR_SIZE bytes; a longer text is cut between
 * characters.
 */
#include "config/config.h"

/* line 0: the error belongs to no line. Returns CONFIG_E_INVALID. */
__attribute__((format(printf, 4, 5))) int report_add(struct config_report *report, const char *name,
                                                     size_t line, const char *format, ...);

/* Bytes of text worth quoting in an error: at most 60, not ending in half a character. For "%.*s".
 */
int report_cut(const char *text);
