#pragma once
/*
 * call: ask and wait; what tcpb_call() and the typed wrappers share.
 *
 * Threads:   any.
 * Ownership: *ret_reply is the caller's.
 * Errors:    as for the functions of <tcpbroker.h>.
 */
#include "lib/connection.h"

/* Is the connection usable in this process? */
int call_check(struct tcpb *broker, struct tcpb_error *error);
int64_t call_next_id(struct tcpb *broker);

/* tcpb_exchange(); labelled as for request_raw(). */
int call_exchange(struct tcpb *broker, const char *method, const char *params, bool labelled,
                  struct tcpb_reply **ret_reply, struct tcpb_error *error);
/* A typed call: params as the method's struct, *ret_result as the method's result struct (both may
 * be NULL). */
int call_typed(struct tcpb *broker, enum method method, const void *params,
               struct tcpb_reply **ret_reply, const void **ret_result, struct tcpb_error *error);
