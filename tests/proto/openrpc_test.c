#include <inttypes.h>
#include <string.h>

#include "proto/json.h"
#include "proto/openrpc.h"
#include "proto/openrpc_schema.h"
#include "support/test.h"

static struct json *parsed(struct writer *writer)
{
    struct json_fault fault;
    struct json *json = NULL;

    CHECK(!writer_failed(writer));
    int r = json_parse(&json, writer->data, writer->n_data, 32, &fault);
    if (r != 0)
        fprintf(stderr, "at %zu: %s %s\n", fault.position, fault.text, fault.member);
    CHECK_INT(r, 0);
    writer_deinit(writer);
    return json;
}

static struct json *document(void)
{
    struct writer writer = WRITER_INIT;
    openrpc_write(&writer);
    return parsed(&writer);
}

/* json.a.b, by a path "a.b"; NULL when there is none */
static const struct json *at(const struct json *json, const char *path)
{
    while (json && *path) {
        char name[80];
        size_t n = strcspn(path, ".");
        snprintf(name, sizeof(name), "%.*s", (int)n, path);
        json = json_type(json) == JSON_OBJECT ? json_member(json, name) : NULL;
        path += n + (path[n] == '.');
    }
    return json;
}

static const char *text_at(const struct json *json, const char *path)
{
    const struct json *value = at(json, path);
    return value && json_type(value) == JSON_STRING ? json_string(value) : NULL;
}

static int64_t int_at(const struct json *json, const char *path)
{
    const struct json *value = at(json, path);
    int64_t number = -1;
    CHECK(value && json_integer(value, &number));
    return number;
}

static const struct json *named(const struct json *array, const char *name)
{
    for (const struct json *item = json_first(array); item; item = json_next(item))
        if (strcmp(text_at(item, "name"), name) == 0)
            return item;
    return NULL;
}

static bool lists(const struct json *array, const char *word)
{
    for (const struct json *item = json_first(array); item; item = json_next(item))
        if (strcmp(json_string(item), word) == 0)
            return true;
    return false;
}

static void check_params(const struct json *params, const struct field_table *table)
{
    const struct json *item = json_first(params);
    bool optional = false, by_name = false;
    int64_t position = 0;

    CHECK_INT(json_length(params), table->n_fields);
    for (; item; item = json_next(item)) {
        bool required = json_bool(at(item, "required"));
        CHECK(!(required && optional), "%s: required ones come first (Method Object)", table->name);
        optional = !required;
        if (at(item, "x-position"))
            CHECK(int_at(item, "x-position") == ++position && !by_name);
        else
            by_name = true;
    }
    for (size_t i = 0; i < table->n_fields; i++) {
        const struct field *field = &table->fields[i];
        const struct json *param = named(params, field->name);
        CHECK(param, "%s.%s", table->name, field->name);
        CHECK_INT(json_bool(at(param, "required")), (field->flags & FIELD_REQUIRED) != 0);
        CHECK_INT(at(param, "x-position") != NULL, (field->flags & FIELD_POSITIONAL) != 0);
        CHECK_INT(json_type(at(param, "schema")), JSON_OBJECT);
        CHECK_INT(at(param, "schema.default") != NULL, field->preset != FIELD_NO_PRESET);
        CHECK(strstr(text_at(param, "description"), field->doc) != NULL);
    }
}

static void check_object(const struct json *schema, const struct field_table *table)
{
    CHECK_STRING(text_at(schema, "type"), "object");
    CHECK(json_bool(at(schema, "additionalProperties")));
    CHECK_INT(json_length(at(schema, "properties")), table->n_fields);
    for (size_t i = 0; i < table->n_fields; i++) {
        const struct field *field = &table->fields[i];
        CHECK(json_member(at(schema, "properties"), field->name), "%s.%s", table->name,
              field->name);
        CHECK_INT(lists(at(schema, "required"), field->name), (field->flags & FIELD_REQUIRED) != 0);
    }
}

TEST(openrpc, all_methods)
{
    struct json *json = document();
    size_t n = 0;

    CHECK_STRING(text_at(json, "openrpc"), "1.3.2");
    CHECK_STRING(text_at(json, "info.version"), TCPBROKER_VERSION);
    for (unsigned i = METHOD_UNKNOWN + 1; i < METHOD_N; i++) {
        const struct method_info *info = &method_infos[i];
        const struct json *method = named(at(json, "methods"), info->name);
        CHECK(method != NULL);
        n++;
        CHECK_STRING(text_at(method, "summary"), info->summary);
        CHECK_INT(at(method, "x-immediate") != NULL, (info->traits & METHOD_IMMEDIATE) != 0);
        CHECK_INT(at(method, "x-admin") != NULL, (info->traits & METHOD_ADMIN) != 0);
        check_params(at(method, "params"), info->params);
        check_object(at(method, "result.schema"), info->result);
    }
    CHECK_INT(json_length(at(json, "methods")), n);
    json_free(json);
}

/* An array is promised exactly where fields_read() could take one. */
TEST(openrpc, arrays)
{
    struct json *json = document();

    for (const struct json *m = json_first(at(json, "methods")); m; m = json_next(m)) {
        const struct field_table *table = method_infos[method_by_name(text_at(m, "name"))].params;
        size_t n_positions = 0;
        bool all = true;
        for (size_t i = 0; i < table->n_fields; i++) {
            n_positions += (table->fields[i].flags & FIELD_POSITIONAL) != 0;
            if ((table->fields[i].flags & (FIELD_REQUIRED | FIELD_POSITIONAL)) == FIELD_REQUIRED)
                all = false;
        }
        CHECK_STRING(text_at(m, "paramStructure"),
                     all && (n_positions > 0 || table->n_fields == 0) ? "either" : "by-name");
    }
    json_free(json);
}

static void check_references(const struct json *root, const struct json *json)
{
    const char *path = json_type(json) == JSON_OBJECT ? text_at(json, "$ref") : NULL;

    if (path) {
        char dotted[200];
        CHECK(strncmp(path, "#/", 2) == 0);
        snprintf(dotted, sizeof(dotted), "%s", path + 2);
        for (char *p = dotted; *p; p++)
            if (*p == '/')
                *p = '.';
        CHECK(at(root, dotted), "%s", path);
    }
    if (json_type(json) == JSON_OBJECT || json_type(json) == JSON_ARRAY)
        for (const struct json *item = json_first(json); item; item = json_next(item))
            check_references(root, item);
}

TEST(openrpc, components)
{
    struct json *json = document();

    check_references(json, json);
    check_object(at(json, "components.schemas.error_object"), &proto_error_object_table);
    CHECK(at(json, "components.schemas.tls_peer"), "a shape inside a shape");
    for (unsigned i = WIRE_NONE + 1; i < WIRE_N; i++) {
        const struct json *error =
            json_member(at(json, "components.errors"), error_infos[i].symbol);
        CHECK(error, "%s", error_infos[i].symbol);
        CHECK_INT(int_at(error, "code"), error_infos[i].code);
        CHECK_STRING(text_at(error, "message"), error_infos[i].text);
        CHECK_STRING(text_at(error, "data.properties.symbol.const"), error_infos[i].symbol);
    }
    CHECK_INT(json_length(at(json, "components.errors")), WIRE_N - 1);
    json_free(json);
}

/* A new error is somebody's. */
TEST(openrpc, every_error_has_a_method)
{
    for (unsigned error = WIRE_NONE + 1; error < WIRE_N; error++) {
        bool line = error == WIRE_PARSE_ERROR || error == WIRE_INVALID_REQUEST ||
                    error == WIRE_METHOD_NOT_FOUND;
        bool found = false;
        for (unsigned method = METHOD_UNKNOWN + 1; method < METHOD_N; method++)
            found |= openrpc_may_answer((enum method)method, (enum wire_error)error);
        CHECK(found == !line, "%s", error_infos[error].symbol);
    }
    CHECK(openrpc_may_answer(METHOD_TCP_CONNECT, WIRE_TLS_VERIFY));
    CHECK(openrpc_may_answer(METHOD_TCP_BLOCK, WIRE_NOT_OWNER));
    CHECK(!openrpc_may_answer(METHOD_BROKER_STATS, WIRE_EINTR));
    CHECK(!openrpc_may_answer(METHOD_UNKNOWN, WIRE_INTERNAL));
}

static void check_schema(struct field field, enum schema_side side, const char *wanted)
{
    struct writer writer = WRITER_INIT;
    field.name = "m";
    field.doc = "";
    schema_field(&writer, &field, side, false);
    writer_raw(&writer, "", 1);
    CHECK(!writer_failed(&writer));
    CHECK_STRING(writer.data, wanted);
    writer_deinit(&writer);
}

TEST(openrpc, types)
{
    const int64_t none = FIELD_NO_PRESET;

    check_schema((struct field){.type = FIELD_BOOL, .preset = 1}, SCHEMA_PARAM,
                 "{\"type\":\"boolean\",\"default\":true}");
    check_schema((struct field){.type = FIELD_INT, .preset = -5, .min = -9, .max = INT64_MAX},
                 SCHEMA_PARAM, "{\"type\":\"integer\",\"minimum\":-9,\"default\":-5}");
    check_schema((struct field){.type = FIELD_MS, .preset = none, .min = 0, .max = 7}, SCHEMA_PARAM,
                 "{\"type\":\"integer\",\"minimum\":0,\"maximum\":7}");
    check_schema((struct field){.type = FIELD_NUMBER, .preset = none}, SCHEMA_PARAM,
                 "{\"type\":\"number\"}");
    check_schema((struct field){.type = FIELD_STRING, .preset = none, .min = 5, .max = 9},
                 SCHEMA_PARAM, "{\"type\":\"string\",\"minLength\":2,\"maxLength\":9}");
    check_schema((struct field){.type = FIELD_STRING, .preset = none, .min = 5, .max = 9},
                 SCHEMA_RESULT, "{\"type\":\"string\"}");
    check_schema((struct field){.type = FIELD_TEXT, .preset = none, .max = INT64_MAX}, SCHEMA_PARAM,
                 "{\"type\":\"string\"}");
    check_schema((struct field){.type = FIELD_ENUM, .preset = 1, .extra = "a|bc|d"}, SCHEMA_PARAM,
                 "{\"type\":\"string\",\"enum\":[\"a\",\"bc\",\"d\"],\"default\":\"bc\"}");
    check_schema((struct field){.type = FIELD_BASE64, .preset = none, .min = 1, .max = 4},
                 SCHEMA_PARAM,
                 "{\"type\":\"string\",\"contentEncoding\":\"base64\",\"pattern\":"
                 "\"^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$\","
                 "\"minLength\":4,\"maxLength\":8}");
    check_schema((struct field){.type = FIELD_THREAD, .preset = none}, SCHEMA_PARAM,
                 "{\"oneOf\":[{\"type\":\"string\",\"minLength\":1,\"maxLength\":64},"
                 "{\"type\":\"integer\",\"minimum\":-9007199254740992,"
                 "\"maximum\":9007199254740992}]}");
    check_schema((struct field){.type = FIELD_ID, .preset = none}, SCHEMA_PARAM,
                 "{\"oneOf\":[{\"type\":\"string\",\"maxLength\":256},"
                 "{\"type\":\"integer\",\"minimum\":-9007199254740992,"
                 "\"maximum\":9007199254740992},{\"type\":\"null\"}]}");
    check_schema((struct field){.type = FIELD_STRINGS, .preset = none, .min = 1, .max = 3},
                 SCHEMA_PARAM,
                 "{\"type\":\"array\",\"items\":{\"type\":\"string\",\"minLength\":1,"
                 "\"maxLength\":255},\"minItems\":1,\"maxItems\":3}");
}

TEST(openrpc, meaning_in_words)
{
    struct field field = {
        .name = "m", .type = FIELD_STRING, .min = 1, .max = 64, .extra = "other", .doc = "a thing"};
    char text[200];

    schema_describe(&field, SCHEMA_PARAM, text, sizeof(text));
    CHECK_STRING(text, "a thing (string of 1..64 bytes); the member may also be called other (one "
                       "of both)");
    field.extra = NULL;
    schema_describe(&field, SCHEMA_RESULT, text, sizeof(text));
    CHECK_STRING(text, "a thing");
}
