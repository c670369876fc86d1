#pragma once
/*
 * message: JSON-RPC 2.0 envelopes. One line in, calls out; answers in, text out.
 *
 * Threads:   any; a message belongs to one thread at a time.
 * Ownership: everything in a struct call points into its message. A message is counted:
 * message_parse() gives one reference, each request that outlives the line takes another (same
 * thread, plain counter). Errors:    message_parse() returns 0 or -ENOMEM only: what is wrong with
 * the line or with one call is told in `wrong`, as the wire error to answer with. Limits: nesting
 * as given; id strings of at most 256 bytes; a batch of at most MESSAGE_CALLS_MAX calls.
 */
#include <stdbool.h>
#include <stddef.h>

#include "proto/fields.h"
#include "proto/json.h"
#include "proto/methods.h"

#define MESSAGE_CALLS_MAX 1024

struct message;

/* What is wrong, ready to be answered. error == WIRE_NONE: nothing. */
struct message_wrong {
    enum wire_error error;
    char text[256];     /* a sentence */
    char param[128];    /* "" or the member it is about */
    char expected[256]; /* "" or what would be right */
    int64_t position;   /* byte of the line, or -1 */
    bool too_deep;      /* it is nested deeper than max_depth */
};

/* One request of a message. */
struct call {
    struct proto_id id; /* PROTO_ID_ABSENT: a notification, never answered */
    enum method method; /* METHOD_UNKNOWN when wrong.error is set (but for METHOD_NOT_FOUND also
                           when known, not built) */
    const char *method_name;   /* as the client wrote it, or NULL */
    const struct json *params; /* object, array or NULL */
    struct message_wrong
        wrong; /* a call that is wrong is answered with this (id null when it could not be read) */
};

/*
 * Read a line. The result is always a message when 0 is returned: one that is wrong as a whole (not
 * JSON, empty batch, neither object nor array) has message_wrong() set and no calls.
 */
__attribute__((warn_unused_result)) int message_parse(struct message **ret_message,
                                                      const char *line, size_t n, size_t max_depth);
struct message *message_ref(struct message *message);
struct message *message_unref(struct message *message); /* NULL is fine; returns NULL */

const struct message_wrong *
message_wrong(const struct message *message); /* NULL: the line is fine */
bool message_is_batch(const struct message *message);
size_t message_calls(const struct message *message);
const struct call *message_call(const struct message *message, size_t index);
size_t
message_size(const struct message *message); /* bytes of the line it came from, for accounting */

/* Decode a call's params by its method's table (or another, for the library). Returns 0,
 * FIELDS_E_INVALID or -ENOMEM. */
__attribute__((warn_unused_result)) int message_params(struct message *message,
                                                       const struct call *call, void *params,
                                                       struct field_fault *fault);

bool proto_id_equal(const struct proto_id *a, const struct proto_id *b);
void message_write_id(struct writer *writer,
                      const struct proto_id *id); /* ABSENT is written as null */

/* The envelope of an answer; no line end. Between begin and end exactly one value is written. */
void message_result_begin(struct writer *writer, const struct proto_id *id);
void message_result_end(struct writer *writer);
void message_error(struct writer *writer, const struct proto_id *id,
                   const struct proto_error_object *error);

/* A request, for the library: params is a struct of the table, or raw JSON text, or both NULL. */
void message_request(struct writer *writer, int64_t id, const char *method,
                     const struct field_table *table, const void *params, const char *raw_params);

/* A notification that the daemon sends; no line end. */
void message_notification(struct writer *writer, const char *method,
                          const struct field_table *table, const void *params);

/* One notification line, for the library: its params as they came, inside the line. Returns 0, > 0:
 * it is no notification of that method (*ret_other: but of another), or -ENOMEM. */
__attribute__((warn_unused_result)) int notification_parse(const char *line, size_t n,
                                                           const char *method,
                                                           const char **ret_params,
                                                           size_t *ret_n_params, bool *ret_other);

/* One answer line, for the library. Exactly one of result and error is set when 0 is returned. */
struct answer {
    struct json *tree; /* owned: answer_deinit() */
    struct json_arena arena;
    struct proto_id id;
    const struct json *result;       /* NULL: an error */
    struct proto_error_object error; /* when result is NULL */
    const char
        *result_text; /* the result's JSON as it came, inside the line given to answer_parse() */
    size_t n_result_text;
};
enum { ANSWER_E_INVALID = 1 }; /* the line is not an answer */
__attribute__((warn_unused_result)) int answer_parse(struct answer *ret_answer, const char *line,
                                                     size_t n);
void answer_deinit(struct answer *answer);
