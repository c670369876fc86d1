#pragma once
/*
 * verb: what a verb of the command is. Each has a file that exports one struct cli_verb; verbs.c is
 * the list. Help, completion and the tests of the manual page read the same structs.
 *
 * Threads:   the main thread, unless a verb says otherwise.
 * Ownership: static; arguments point into argv.
 * Errors:    run() returns an exit status and has told what is wrong.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "lib/tcpbroker.h"

enum cli_exit {
    EXIT_OK = 0,
    EXIT_ERROR = 1,
    EXIT_USAGE = 2,
    EXIT_POLICY = 3,
    EXIT_RESOLVE = 4,
    EXIT_CONNECT = 5,
    EXIT_TLS = 6,
    EXIT_TIMEOUT = 7,
    EXIT_NO_DAEMON = 69, /* EX_UNAVAILABLE of sysexits.h */
};

struct cli_option {
    const char *name;     /* without the dashes */
    const char *argument; /* "SECONDS", or NULL for a switch */
    const char *doc;
    char letter; /* 'v' for -v, or 0 */
};

enum { CLI_OPTIONS_MAX = 16 };

struct cli {
    const char *socket; /* NULL: the usual place */
    bool json;
    const char *values[CLI_OPTIONS_MAX]; /* by the verb's table: NULL absent; "" a switch */
    char **words;                        /* the rest of the line */
    size_t n_words;
};

struct cli_verb {
    const char *name;
    const char *arguments; /* "HOST PORT" */
    const char *summary;
    const char *details;              /* more lines for --help, or NULL */
    const struct cli_option *options; /* ends with a NULL name */
    size_t min_words, max_words;
    int (*run)(struct cli *cli);
};

extern const struct cli_verb *const cli_verbs[]; /* ends with NULL */
extern const struct cli_option cli_global_options[];

const struct cli_verb *cli_verb_by_name(const char *name);
const char *cli_verb_nearest(const char *name); /* a similar name, or NULL */
/* The verb's table value, NULL when the option was not given. */
const char *cli_value(const struct cli *cli, const struct cli_verb *verb, const char *option);

/* Read a verb's options and words (argv[0] is the first after the verb). Returns 0, or EXIT_USAGE
 * (told); *ret_help: --help was there. */
int cli_parse(const struct cli_verb *verb, struct cli *cli, int argc, char **argv, bool *ret_help);

void cli_help_verb(FILE *out, const struct cli_verb *verb);
void cli_help(FILE *out);
