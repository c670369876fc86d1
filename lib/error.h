#pragma once
/*
 * error: filling struct tcpb_error.
 *
 * Threads:   any.
 * Ownership: all text is copied into the struct (cut when longer).
 * Errors:    none; a NULL error is ignored, the code is returned all the same.
 */
#include "lib/tcpbroker.h"
#include "proto/methods.h"

/* A failure of this library. format may hold no %m; sys_errno is told in words when not 0. Returns
 * code. */
__attribute__((format(printf, 4, 5))) int error_local(struct tcpb_error *error,
                                                      enum tcpb_local_code code, int sys_errno,
                                                      const char *format, ...);
int error_memory(struct tcpb_error *error);
/* Copy. Returns its code. */
int error_copy(struct tcpb_error *error, const struct tcpb_error *from);
/* What the daemon answered. Returns its code (never 0). */
int error_wire(struct tcpb_error *error, const struct proto_error_object *object);
