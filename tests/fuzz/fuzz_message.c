/*
 * A line is read; the params of every call are decoded, written, decoded and written again: both
 * texts must be the same. Every call's tree is also tried against the tables of all methods. The
 * line is read as an answer, too.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proto/message.h"

static void check_text(const char *text, size_t n_text)
{
    size_t n = strnlen(text, n_text), valid;
    bool incomplete;
    if (n == n_text || !json_utf8_valid(text, n, &valid, &incomplete))
        abort();
}

static void round_trip(const struct field_table *table, const void *params)
{
    struct writer first = WRITER_INIT, second = WRITER_INIT;
    struct json_arena arena = {0};
    struct json_fault json_fault;
    struct field_fault fault;
    union method_params again;
    struct json *json;

    fields_write(table, params, &first);
    if (json_parse(&json, first.data, first.n_data, 32, &json_fault) != 0)
        abort();
    if (fields_read(table, json, &arena, FIELDS_STRICT, &again, &fault) != 0)
        abort();
    fields_write(table, &again, &second);
    if (first.n_data != second.n_data || memcmp(first.data, second.data, first.n_data) != 0)
        abort();
    json_arena_deinit(&arena);
    json_free(json);
    writer_deinit(&first);
    writer_deinit(&second);
}

static void try_all_tables(const struct json *params)
{
    for (unsigned i = METHOD_UNKNOWN + 1; i < METHOD_N; i++) {
        struct json_arena arena = {0};
        struct field_fault fault;
        union method_params decoded;
        int r =
            fields_read(method_infos[i].params, params, &arena, FIELDS_STRICT, &decoded, &fault);
        if (r == 0) {
            round_trip(method_infos[i].params, &decoded);
        } else {
            check_text(fault.param, sizeof(fault.param));
            check_text(fault.expected, sizeof(fault.expected));
        }
        json_arena_deinit(&arena);
    }
}

static void check_call(struct message *message, const struct call *call)
{
    struct writer writer = WRITER_INIT;
    struct field_fault fault;
    union method_params params;

    check_text(call->wrong.text, sizeof(call->wrong.text));
    check_text(call->wrong.param, sizeof(call->wrong.param));
    check_text(call->wrong.expected, sizeof(call->wrong.expected));
    if (call->wrong.error == WIRE_NONE) {
        if (call->method == METHOD_UNKNOWN)
            abort();
        if (message_params(message, call, &params, &fault) == 0)
            round_trip(method_infos[call->method].params, &params);
        try_all_tables(call->params);
    }
    /* what is answered can be read by the library, with the same id */
    struct proto_error_object error = {.code = -1, .message = call->wrong.text};
    struct answer answer;
    message_error(&writer, &call->id, &error);
    if (answer_parse(&answer, writer.data, writer.n_data) != 0)
        abort();
    if (call->id.kind != PROTO_ID_ABSENT && !proto_id_equal(&call->id, &answer.id))
        abort();
    answer_deinit(&answer);
    writer_deinit(&writer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    char *line = malloc(n + 1); /* exact size: a byte read too far is seen */
    struct message *message;
    struct answer answer;
    char *exact = realloc(line, n ? n : 1);

    memcpy(exact, data, n);
    if (message_parse(&message, exact, n, 32) != 0)
        abort();
    const struct message_wrong *wrong = message_wrong(message);
    if (!wrong == !message_calls(message))
        abort();
    if (wrong) {
        check_text(wrong->text, sizeof(wrong->text));
        if (wrong->position > (int64_t)n)
            abort();
    }
    for (size_t i = 0; i < message_calls(message); i++)
        check_call(message, message_call(message, i));
    message_unref(message);
    if (answer_parse(&answer, exact, n) == 0) {
        struct json_fault fault;
        struct json *json;
        if (answer.result) {
            if (answer.result_text < exact || answer.result_text + answer.n_result_text > exact + n)
                abort();
            if (json_parse(&json, answer.result_text, answer.n_result_text, 64, &fault) != 0 ||
                json_type(json) != json_type(answer.result))
                abort();
            json_free(json);
        }
        answer_deinit(&answer);
    }
    free(exact);
    return 0;
}
