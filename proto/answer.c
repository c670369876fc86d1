/* Answers and requests as text, and answers read again: the part of message.h that looks outward.
 */
#include <errno.h>
#include <string.h>

#include "proto/json_scan.h"
#include "proto/message.h"
#include "proto/text.h"

#define ANSWER_DEPTH_MAX 64

#define LITERAL(text) (text), sizeof(text) - 1

void message_write_id(struct writer *writer, const struct proto_id *id)
{
    if (id->kind == PROTO_ID_INTEGER)
        writer_int(writer, id->number);
    else if (id->kind == PROTO_ID_STRING)
        writer_string(writer, id->text);
    else
        writer_null(writer);
}

static void envelope_begin(struct writer *writer, const struct proto_id *id)
{
    writer_object_begin(writer);
    writer_raw(writer, LITERAL("\"jsonrpc\":\"2.0\",\"id\":"));
    message_write_id(writer, id);
}

void message_result_begin(struct writer *writer, const struct proto_id *id)
{
    envelope_begin(writer, id);
    writer_key(writer, "result");
}

void message_result_end(struct writer *writer)
{
    writer_object_end(writer);
}

void message_error(struct writer *writer, const struct proto_id *id,
                   const struct proto_error_object *error)
{
    envelope_begin(writer, id);
    writer_key(writer, "error");
    fields_write(&proto_error_object_table, error, writer);
    writer_object_end(writer);
}

void message_request(struct writer *writer, int64_t id, const char *method,
                     const struct field_table *table, const void *params, const char *raw_params)
{
    struct proto_id number = {.kind = PROTO_ID_INTEGER, .number = id};

    envelope_begin(writer, &number);
    writer_key(writer, "method");
    writer_string(writer, method);
    if (params) {
        writer_key(writer, "params");
        fields_write(table, params, writer);
    } else if (raw_params) {
        writer_key(writer, "params");
        writer_raw_value(writer, raw_params, strlen(raw_params));
    }
    writer_object_end(writer);
}

void message_notification(struct writer *writer, const char *method,
                          const struct field_table *table, const void *params)
{
    writer_object_begin(writer);
    writer_raw(writer, LITERAL("\"jsonrpc\":\"2.0\",\"method\":"));
    writer_string(writer, method);
    writer_key(writer, "params");
    fields_write(table, params, writer);
    writer_object_end(writer);
}

/* ---- reading ---- */

static bool read_id(struct proto_id *id, const struct json *value)
{
    id->text = json_string(value);
    if (id->text)
        id->kind = PROTO_ID_STRING;
    else if (json_type(value) == JSON_NULL)
        id->kind = PROTO_ID_NULL;
    else if (json_integer(value, &id->number))
        id->kind = PROTO_ID_INTEGER;
    return id->kind != PROTO_ID_ABSENT;
}

/* An error whose data is not what ours looks like still has its code and its text. */
static int read_error(struct answer *answer, const struct json *value)
{
    const struct json *code = json_member(value, "code");
    const struct json *message = json_member(value, "message");
    struct field_fault fault;
    int r = fields_read(&proto_error_object_table, value, &answer->arena, FIELDS_LENIENT,
                        &answer->error, &fault);

    if (r != FIELDS_E_INVALID)
        return r;
    answer->error = (struct proto_error_object){0};
    if (!code || !message || !json_integer(code, &answer->error.code) || !json_string(message))
        return ANSWER_E_INVALID;
    answer->error.message = json_string(message);
    return 0;
}

static int read_answer(struct answer *answer, const char *line, size_t n)
{
    const struct json *id = json_member(answer->tree, "id");
    const struct json *error = json_member(answer->tree, "error");
    const struct json *result = NULL;
    size_t index = 0;

    if (json_type(answer->tree) != JSON_OBJECT || !id || !read_id(&answer->id, id))
        return ANSWER_E_INVALID;
    for (const struct json *item = json_first(answer->tree); item; item = json_next(item)) {
        if (strcmp(json_key(item), "result") == 0) {
            result = item;
            break;
        }
        index++;
    }
    if (!result == !error)
        return ANSWER_E_INVALID;
    if (error)
        return read_error(answer, error);
    answer->result = result;
    if (!json_scan_member(line, n, index, &answer->result_text, &answer->n_result_text))
        return ANSWER_E_INVALID;
    return 0;
}

int answer_parse(struct answer *ret_answer, const char *line, size_t n)
{
    struct json_fault fault;
    int r;

    *ret_answer = (struct answer){0};
    r = json_parse(&ret_answer->tree, line, n, ANSWER_DEPTH_MAX, &fault);
    if (r == 0)
        r = read_answer(ret_answer, line, n);
    else if (r > 0)
        r = ANSWER_E_INVALID;
    if (r != 0)
        answer_deinit(ret_answer);
    return r;
}

void answer_deinit(struct answer *answer)
{
    json_free(answer->tree);
    json_arena_deinit(&answer->arena);
    *answer = (struct answer){0};
}

int notification_parse(const char *line, size_t n, const char *method, const char **ret_params,
                       size_t *ret_n_params, bool *ret_other)
{
    struct json_fault fault;
    struct json *tree;
    size_t index = 0;
    bool found = false;

    *ret_other = false;
    int r = json_parse(&tree, line, n, ANSWER_DEPTH_MAX, &fault);
    if (r)
        return r;
    if (json_type(tree) == JSON_OBJECT && json_member(tree, "method") && !json_member(tree, "id")) {
        const char *text = json_string(json_member(tree, "method"));
        *ret_other = true;
        for (const struct json *item = json_first(tree); item; item = json_next(item), index++)
            if (strcmp(json_key(item), "params") == 0)
                break;
        found = text && strcmp(text, method) == 0 &&
                json_scan_member(line, n, index, ret_params, ret_n_params);
    }
    json_free(tree);
    return found ? 0 : 1;
}
