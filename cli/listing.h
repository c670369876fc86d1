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

/* One call on a connection that is there; with --json print the result, else print(cli, its result
 * struct). params: JSON or NULL. */
int listing_ask(struct cli *cli, struct tcpb *broker, const char *method, const char *params,
                void (*print)(const struct cli *cli, const void *result));
/* Call method (no parameters) on a connection of its own; with --json print the result, else
 * print(cli, its result struct). */
int listing(struct cli *cli, const char *method, enum listing_session session,
            void (*print)(const struct cli *cli, const void *result));
