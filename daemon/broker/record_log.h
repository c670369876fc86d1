#pragma once
/*
 * record_log: the line of a record in the log, and its fields in the journal (util/messages.def).
 *
 * Threads:   any.
 * Ownership: the event is borrowed.
 */
#include "broker/record.h"

/* An event of class close. */
void record_log_close(const struct proto_event *event);
/* One of class fail or deny, made of that failure. */
void record_log_fail(const struct proto_event *event, const struct record_failure *failure);
