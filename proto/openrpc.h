#pragma once
/*
 * openrpc: the tables of methods.h as an OpenRPC document, which describes them to other programs
 * (rpc.discover).
 *
 * Threads:   any; constant data.
 * Ownership: nothing is kept.
 * Errors:    the writer's (sticky).
 * Limits:    the document has some 60 KiB.
 */
#include <stdbool.h>

#include "proto/methods.h"
#include "proto/writer.h"

/* Write the document as one JSON object (OpenRPC 1.3.2, https://spec.open-rpc.org). */
void openrpc_write(struct writer *writer);

/* Is it an error that callers of the method should expect? What any line may be answered with
 * (parse error, invalid request, unknown method) belongs to no method. */
bool openrpc_may_answer(enum method method, enum wire_error error);
