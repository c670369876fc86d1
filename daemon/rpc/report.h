#pragma once
/*
 * report: what requests have to say to broker/record.h.
 *
 * Threads: the request's io thread only.
 */
#include "rpc/request.h"

/* The TCPConnect or TCPAccept gives no connection. fault: NULL, nobody waits for one any more. */
void report_failure(const struct request *request, const struct fault *fault);
/* Any request that is refused: told when a rule does not allow it; else nothing. */
void report_denied(const struct request *request, const struct fault *fault);
/* A TCPConnect has failed with that. */
void report_count(const struct fault *fault);
/* May a client have it written into the log? */
bool report_printable(const char *text);
/* The client was told that a limit is reached. */
void report_limit(const struct client *client, const struct fault *fault);
