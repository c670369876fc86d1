#pragma once
/*
 * request: the line that asks, with the asking thread's label filled in.
 *
 * Threads:   any.
 * Ownership: the writer is the caller's.
 * Errors:    as for the functions of <tcpbroker.h> (TCPB_LOCAL_ARGUMENT, TCPB_LOCAL_MEMORY).
 * Limits:    raw params nest at most 31 deep.
 */
#include "lib/tcpbroker.h"
#include "proto/methods.h"
#include "proto/writer.h"

/* From JSON text (NULL: none). labelled: with the asking thread's label where there is a place for
 * it; else as it is, which without `thread` speaks for the session's unnamed thread. */
int request_raw(struct writer *line, int64_t id, const char *method_name, const char *params,
                bool labelled, struct tcpb_error *error);
/* From the method's params struct. */
int request_typed(struct writer *line, int64_t id, enum method method, const void *params,
                  struct tcpb_error *error);
