#pragma once
/*
 * listing: a call whose result is printed, as JSON or by a function that makes it readable.
 *
 * Threads:   the main thread.
 * Errors:    an exit status; told.
 */
#include "cli/verb.h"

/* joined: for the session of the environment, if it names one. */
enum listing_session { LISTING_OWN, LISTING_JOINED };

/* Call method (no parameters); with --json print the result, else print(cli, its result struct). */
int listing(struct cli *cli, const char *method, enum listing_session session,
            void (*print)(const struct cli *cli, const void *result));
