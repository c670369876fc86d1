#pragma once
/*
 * talk: what goes to standard error, and how errors become exit statuses.
 *
 * Threads:   any (one stdio call a line).
 * Ownership: nothing is kept.
 * Errors:    none.
 */
#include "cli/verb.h"

/* "tcpbroker: …" */
__attribute__((format(printf, 1, 2))) void talk(const char *format, ...);
/* The same with a pointer to --help. Returns EXIT_USAGE. */
__attribute__((format(printf, 2, 3))) int talk_usage(const char *verb, const char *format, ...);
/* Tell an error: as a sentence, or with --json as {"error":…} on one line of standard error. json:
 * the full error object, or NULL to make one of error. Returns the exit status. */
int talk_error(const struct cli *cli, const struct tcpb_error *error, const char *json);
int talk_exit(const struct tcpb_error *error);

/* Text from elsewhere for a terminal: control characters become '?'. */
void talk_clean(char *text);
/* Was everything written to standard output? Returns status, or EXIT_ERROR (told). */
int talk_finish(int status);
