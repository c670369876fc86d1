#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/message.h"
#include "proto/text.h"

#define ID_MAX 256

struct message {
    size_t n_refs;
    size_t n_line;
    struct json *tree;
    struct json_arena arena;
    struct message_wrong wrong;
    bool batch;
    size_t n_calls;
    struct call calls[];
};

/* ---- wrong ---- */

__attribute__((format(printf, 3, 4))) static void
set_wrong(struct message_wrong *wrong, enum wire_error error, const char *format, ...)
{
    char text[2 * sizeof(wrong->text)];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    wrong->error = error;
    wrong->position = -1;
    wrong->param[0] = '\0';
    wrong->expected[0] = '\0';
    text_cut(wrong->text, sizeof(wrong->text), text);
}

static void set_wrong_param(struct message_wrong *wrong, const char *param, const char *expected)
{
    text_cut(wrong->param, sizeof(wrong->param), param);
    text_cut(wrong->expected, sizeof(wrong->expected), expected);
}

static void set_invalid(struct call *call, const char *member, const char *expected)
{
    char name[64];
    text_cut(name, sizeof(name), member);
    set_wrong(&call->wrong, WIRE_INVALID_REQUEST, "Not a JSON-RPC 2.0 request: \"%s\": %s", name,
              expected);
    set_wrong_param(&call->wrong, member, expected);
}

/* ---- one call ---- */

static bool read_id(struct proto_id *id, const struct json *value)
{
    const char *text = json_string(value);
    size_t n;

    if (text) {
        n = strnlen(text, ID_MAX + 1);
        if (n > ID_MAX)
            return false;
        *id = (struct proto_id){.kind = PROTO_ID_STRING, .text = text};
        return true;
    }
    if (json_type(value) == JSON_NULL) {
        id->kind = PROTO_ID_NULL;
        return true;
    }
    if (!json_integer(value, &id->number))
        return false;
    id->kind = PROTO_ID_INTEGER;
    return true;
}

static void check_jsonrpc(struct call *call, const struct json *value)
{
    const char *text = value ? json_string(value) : NULL;
    if (!text || strcmp(text, "2.0") != 0)
        set_invalid(call, "jsonrpc", value ? "must be \"2.0\"" : "must be there and be \"2.0\"");
}

static void check_params(struct call *call, const struct json *value)
{
    if (json_type(value) == JSON_OBJECT || json_type(value) == JSON_ARRAY)
        call->params = value;
    else
        set_invalid(call, "params", "must be an object or an array");
}

static void check_method(struct call *call, const struct json *value)
{
    if (!value || !json_string(value))
        set_invalid(call, "method", value ? "must be a string" : "must be there, a string");
    else
        call->method_name = json_string(value);
}

/* The envelope: what JSON-RPC itself demands. Everything but the first thing that is wrong is
 * ignored. */
static int read_envelope(struct call *call, const struct json *object)
{
    const struct json *jsonrpc = NULL;
    const struct json *method = NULL;
    const struct json *params = NULL;
    const struct json *id = NULL;
    const char *stranger = NULL;
    const char *twice = NULL;
    int r = json_duplicate(object, false, &twice);

    if (r < 0)
        return r;
    for (const struct json *item = json_first(object); item; item = json_next(item)) {
        const char *name = json_key(item);
        if (strcmp(name, "jsonrpc") == 0)
            jsonrpc = item;
        else if (strcmp(name, "id") == 0)
            id = item;
        else if (strcmp(name, "method") == 0)
            method = item;
        else if (strcmp(name, "params") == 0)
            params = item;
        else if (!stranger)
            stranger = name;
    }
    /* Of two ids neither is the one to answer with. */
    if (id && twice && strcmp(twice, "id") == 0)
        call->id.kind = PROTO_ID_NULL;
    else if (id && !read_id(&call->id, id)) {
        call->id.kind = PROTO_ID_NULL;
        set_invalid(call, "id",
                    "must be a string of at most 256 bytes, an integer within +-2^53, or null");
    }
    if (call->wrong.error == WIRE_NONE && twice)
        set_invalid(call, twice, "is given twice");
    if (call->wrong.error == WIRE_NONE)
        check_jsonrpc(call, jsonrpc);
    if (call->wrong.error == WIRE_NONE)
        check_method(call, method);
    if (call->wrong.error == WIRE_NONE && params)
        check_params(call, params);
    if (call->wrong.error == WIRE_NONE && stranger)
        set_invalid(call, stranger,
                    "is not a member of a request (jsonrpc, id, method and params are)");
    /* What is no request is no notification either: it gets an answer. */
    if (call->wrong.error != WIRE_NONE && call->id.kind == PROTO_ID_ABSENT)
        call->id.kind = PROTO_ID_NULL;
    return 0;
}

static void find_method(struct call *call)
{
    const char *nearest;
    char name[96];

    call->method = method_by_name(call->method_name);
    if (call->method != METHOD_UNKNOWN)
        return;
    nearest = method_nearest(call->method_name);
    text_cut(name, sizeof(name), call->method_name);
    if (nearest)
        set_wrong(&call->wrong, WIRE_METHOD_NOT_FOUND,
                  "There is no method \"%s\"; did you mean %s?", name, nearest);
    else
        set_wrong(&call->wrong, WIRE_METHOD_NOT_FOUND,
                  "There is no method \"%s\"; Broker.Hello lists what there is", name);
}

static int read_call(struct call *call, const struct json *value)
{
    const char *twice;
    int r;

    *call = (struct call){.wrong = {.position = -1}};
    if (json_type(value) != JSON_OBJECT) {
        call->id.kind = PROTO_ID_NULL;
        set_wrong(&call->wrong, WIRE_INVALID_REQUEST, "Not a JSON-RPC 2.0 request: not an object");
        set_wrong_param(&call->wrong, "", "object with jsonrpc, method, params and id");
        return 0;
    }
    r = read_envelope(call, value);
    if (r != 0 || call->wrong.error != WIRE_NONE)
        return r;
    find_method(call);
    if (call->wrong.error != WIRE_NONE || !call->params)
        return 0;
    r = json_duplicate(call->params, true, &twice);
    if (r == JSON_E_DUPLICATE) {
        char name[64];
        text_cut(name, sizeof(name), twice);
        call->method = METHOD_UNKNOWN;
        set_wrong(&call->wrong, WIRE_INVALID_PARAMS, "%s: \"%s\" is given twice; give it once",
                  call->method_name, name);
        set_wrong_param(&call->wrong, twice, "given twice; give it once");
        return 0;
    }
    return r;
}

/* ---- messages ---- */

/* What is wrong with the line as a whole. */
static void read_fault(struct message_wrong *wrong, int error, const struct json_fault *fault)
{
    set_wrong(wrong, WIRE_PARSE_ERROR, "The line is not valid JSON: %s (byte %zu)", fault->text,
              fault->position);
    wrong->position = (int64_t)fault->position;
    wrong->too_deep = error == JSON_E_DEPTH;
    if (error == JSON_E_UTF8)
        set_wrong_param(wrong, "", "valid UTF-8");
    else if (error == JSON_E_NUL)
        set_wrong_param(wrong, "", "text without NUL");
    else if (error == JSON_E_DEPTH)
        set_wrong_param(wrong, "", "fewer levels of nesting");
    else
        set_wrong_param(wrong, "", "one JSON text a line (RFC 8259)");
}

static void check_whole(struct message_wrong *wrong, const struct json *tree, size_t n_items)
{
    if (json_type(tree) == JSON_OBJECT)
        return;
    if (json_type(tree) != JSON_ARRAY) {
        set_wrong(wrong, WIRE_INVALID_REQUEST, "Neither a request nor a batch of requests");
        set_wrong_param(wrong, "", "object, or array of objects");
    } else if (n_items == 0) {
        set_wrong(wrong, WIRE_INVALID_REQUEST, "The batch is empty");
        set_wrong_param(wrong, "", "array of 1..1024 requests");
    } else if (n_items > MESSAGE_CALLS_MAX) {
        set_wrong(wrong, WIRE_INVALID_REQUEST,
                  "The batch holds %zu requests; at most %d are possible", n_items,
                  MESSAGE_CALLS_MAX);
        set_wrong_param(wrong, "", "array of 1..1024 requests");
    }
}

static int read_calls(struct message *message)
{
    const struct json *item = message->tree;
    size_t n = message->n_calls;
    int r = 0;

    if (n == 0)
        return 0;
    if (message->batch)
        item = json_first(item);
    for (size_t i = 0; i < n && r == 0; i++) {
        r = read_call(&message->calls[i], item);
        if (message->batch)
            item = json_next(item);
    }
    return r;
}

int message_parse(struct message **ret_message, const char *line, size_t n, size_t max_depth)
{
    struct message_wrong wrong = {.error = WIRE_NONE, .position = -1};
    struct json_fault fault;
    struct json *tree = NULL;
    size_t n_items = 0;
    bool batch = false;
    struct message *message;
    int r;

    *ret_message = NULL;
    r = json_parse_unchecked(&tree, line, n, max_depth, &fault);
    if (r < 0)
        return r;
    if (r > 0) {
        read_fault(&wrong, r, &fault);
    } else {
        batch = json_type(tree) == JSON_ARRAY;
        n_items = batch ? json_length(tree) : 1;
        check_whole(&wrong, tree, n_items);
    }
    if (wrong.error != WIRE_NONE)
        n_items = 0;
    message = malloc(sizeof(*message) + n_items * sizeof(struct call));
    if (!message) {
        json_free(tree);
        return -ENOMEM;
    }
    *message = (struct message){
        .n_refs = 1, .n_line = n, .tree = tree, .wrong = wrong, .batch = batch, .n_calls = n_items};
    r = read_calls(message);
    if (r != 0) {
        message_unref(message);
        return r;
    }
    *ret_message = message;
    return 0;
}

struct message *message_ref(struct message *message)
{
    message->n_refs++;
    return message;
}

struct message *message_unref(struct message *message)
{
    if (!message || --message->n_refs > 0)
        return NULL;
    json_free(message->tree);
    json_arena_deinit(&message->arena);
    free(message);
    return NULL;
}

const struct message_wrong *message_wrong(const struct message *message)
{
    return message->wrong.error == WIRE_NONE ? NULL : &message->wrong;
}

bool message_is_batch(const struct message *message)
{
    return message->batch;
}

size_t message_calls(const struct message *message)
{
    return message->n_calls;
}

const struct call *message_call(const struct message *message, size_t index)
{
    return &message->calls[index];
}

size_t message_size(const struct message *message)
{
    return message->n_line;
}

int message_params(struct message *message, const struct call *call, void *params,
                   struct field_fault *fault)
{
    return fields_read(method_infos[call->method].params, call->params, &message->arena,
                       FIELDS_STRICT, params, fault);
}

bool proto_id_equal(const struct proto_id *a, const struct proto_id *b)
{
    if (a->kind != b->kind)
        return false;
    if (a->kind == PROTO_ID_INTEGER)
        return a->number == b->number;
    return a->kind != PROTO_ID_STRING || strcmp(a->text, b->text) == 0;
}
