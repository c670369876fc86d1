#include "lib/request.h"

#include <stdlib.h>
#include <string.h>

#include "lib/error.h"
#include "lib/label.h"
#include "proto/json.h"
#include "proto/message.h"

/* no method nests that deep; the default of the daemon, which could not tell whose request was too
 * deep */
enum { DEPTH_MAX = 31, METHOD_NAME_MAX = 128 };

/* The member that carries the asking thread, or NULL. */
static const struct field *thread_field(enum method method)
{
    const struct field_table *table = method_infos[method].params;
    for (size_t i = 0; table && i < table->n_fields; i++)
        if (table->fields[i].type == FIELD_THREAD && strcmp(table->fields[i].name, "thread") == 0)
            return &table->fields[i];
    return NULL;
}

static void set_thread(void *params, const struct field *field)
{
    bool *has = (bool *)((char *)params + field->has_offset);
    if (*has)
        return;
    *has = true;
    *(struct proto_thread *)((char *)params + field->offset) =
        (struct proto_thread){.text = label_get()};
}

static int finish(struct writer *line, struct tcpb_error *error)
{
    writer_raw(line, "\n", 1);
    return writer_failed(line) ? error_memory(error) : 0;
}

int request_typed(struct writer *line, int64_t id, enum method method, const void *params,
                  struct tcpb_error *error)
{
    const struct method_info *info = &method_infos[method];
    const struct field *field = thread_field(method);
    union method_params copy;
    if (params)
        memcpy(&copy, params, info->params->size);
    else
        memset(&copy, 0, sizeof(copy));
    if (field)
        set_thread(&copy, field);
    message_request(line, id, info->name, info->params, &copy, NULL);
    return finish(line, error);
}

/* An array by position has no place for the thread: write it by name. 1: it is wrong, the daemon
 * will say what. */
static int request_positional(struct writer *line, int64_t id, enum method method,
                              const struct json *array)
{
    struct json_arena arena = {0};
    struct field_fault fault;
    union method_params params;
    int r = fields_read(method_infos[method].params, array, &arena, FIELDS_STRICT, &params, &fault);
    if (r == 0) {
        set_thread(&params, thread_field(method));
        message_request(line, id, method_infos[method].name, method_infos[method].params, &params,
                        NULL);
    }
    json_arena_deinit(&arena);
    return r;
}

/* *text: the same value on one line, with room for and with the label when wanted. Blanks and line
 * ends outside of strings are the only ones that valid JSON can hold, so replacing line ends is
 * enough. */
static int one_line(const char *params, bool add_thread, bool empty, char **ret_text)
{
    const char *label = label_get();
    size_t n = strlen(params),
           n_extra = add_thread ? strlen(label) + sizeof(",\"thread\":\"\"}") : 1;
    char *text = malloc(n + n_extra);
    if (!text)
        return -1;
    memcpy(text, params, n + 1);
    for (size_t i = 0; i < n; i++)
        if (text[i] == '\n' || text[i] == '\r')
            text[i] = ' ';
    if (add_thread) {
        char *end = strrchr(text, '}');
        /* *end is there: the text was read as an object */
        char *p = stpcpy(end, empty ? "\"thread\":\"" : ",\"thread\":\"");
        stpcpy(stpcpy(p, label), "\"}");
    }
    *ret_text = text;
    return 0;
}

static int request_parsed(struct writer *line, int64_t id, const char *name, enum method method,
                          const char *params, const struct json *json, bool labelled,
                          struct tcpb_error *error)
{
    bool threaded = labelled && thread_field(method) != NULL;
    if (threaded && json_type(json) == JSON_ARRAY) {
        int r = request_positional(line, id, method, json);
        if (r < 0)
            return error_memory(error);
        if (r == 0)
            return finish(line, error);
    }
    bool object = json_type(json) == JSON_OBJECT;
    char *text;
    if (one_line(params, threaded && object && !json_member(json, "thread"), json_length(json) == 0,
                 &text))
        return error_memory(error);
    message_request(line, id, name, NULL, NULL, text);
    free(text);
    return finish(line, error);
}

int request_raw(struct writer *line, int64_t id, const char *name, const char *params,
                bool labelled, struct tcpb_error *error)
{
    struct json_fault fault;
    struct json *json;
    size_t valid, n_name = name ? strnlen(name, METHOD_NAME_MAX + 1) : 0;
    bool incomplete;
    if (n_name == 0 || n_name > METHOD_NAME_MAX ||
        !json_utf8_valid(name, n_name, &valid, &incomplete))
        return error_local(error, TCPB_LOCAL_ARGUMENT, 0,
                           "the method's name must be 1 to %d bytes of UTF-8", METHOD_NAME_MAX);
    enum method method = method_by_name(name);
    if (!params)
        params = "{}";
    int r = json_parse(&json, params, strlen(params), DEPTH_MAX, &fault);
    if (r < 0)
        return error_memory(error);
    if (r > 0)
        return error_local(error, TCPB_LOCAL_ARGUMENT, 0,
                           "the parameters of %s are not JSON: %s (byte %zu)", name, fault.text,
                           fault.position);
    if (json_type(json) != JSON_OBJECT && json_type(json) != JSON_ARRAY)
        r = error_local(
            error, TCPB_LOCAL_ARGUMENT, 0,
            "the parameters of %s must be a JSON object (by name) or array (by position)", name);
    else
        r = request_parsed(line, id, name, method, params, json, labelled, error);
    json_free(json);
    return r;
}
