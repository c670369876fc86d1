#include "proto/openrpc.h"

#include <stdio.h>
#include <string.h>

#include "proto/openrpc_schema.h"

/* The specification is https://spec.open-rpc.org; comments below quote its object names. */
#define OPENRPC_VERSION "1.3.2"

enum { SHAPES_MAX = 64 };

/* The shapes that something refers to, each once. */
struct shapes {
    const struct field_table *tables[SHAPES_MAX];
    size_t n_tables;
    bool full;
};

static void put_string(struct writer *writer, const char *key, const char *text)
{
    writer_key(writer, key);
    writer_string(writer, text);
}

static void put_bool(struct writer *writer, const char *key, bool value)
{
    writer_key(writer, key);
    writer_bool(writer, value);
}

/* ---- Info Object ---- */

static void put_info(struct writer *writer)
{
    writer_key(writer, "info");
    writer_object_begin(writer);
    put_string(writer, "title", "tcpbroker");
    put_string(writer, "version", TCPBROKER_VERSION);
    put_string(writer, "description",
               "A connection broker: TCP and verified TLS connections for local programs. JSON-RPC "
               "2.0 over a Unix stream socket, one message a line. Parameters are strict: what is "
               "not listed is refused. Results are objects and may grow: ignore members you do not "
               "know. Descriptors with x-position may be given by position, up to the last of "
               "these; all may be given by name.");
    writer_key(writer, "license");
    writer_object_begin(writer);
    put_string(writer, "name", "MIT");
    writer_object_end(writer);
    writer_object_end(writer);
}

/* ---- Method Object ---- */

/* position: counted from 1; 0: by name only */
static void put_param(struct writer *writer, const struct field *field, int64_t position)
{
    char text[512];

    writer_object_begin(writer);
    put_string(writer, "name", field->name);
    schema_describe(field, SCHEMA_PARAM, text, sizeof(text));
    put_string(writer, "description", text);
    put_bool(writer, "required", (field->flags & FIELD_REQUIRED) != 0);
    writer_key(writer, "schema");
    schema_field(writer, field, SCHEMA_PARAM, false);
    if (position > 0) {
        writer_key(writer, "x-position");
        writer_int(writer, position);
    }
    if (field->extra && field->type != FIELD_ENUM)
        put_string(writer, "x-alias", field->extra);
    writer_object_end(writer);
}

/* Those with a position first, in their order; a member without one is out of an array's reach. */
static void put_params(struct writer *writer, const struct field_table *table)
{
    int64_t position = 0;

    writer_key(writer, "params");
    writer_array_begin(writer);
    for (size_t i = 0; i < table->n_fields; i++)
        if (table->fields[i].flags & FIELD_POSITIONAL)
            put_param(writer, &table->fields[i], ++position);
    for (size_t i = 0; i < table->n_fields; i++)
        if (!(table->fields[i].flags & FIELD_POSITIONAL))
            put_param(writer, &table->fields[i], 0);
    writer_array_end(writer);
}

/* An array can be read when it can hold all that must be there, and anything at all. */
static bool positional(const struct field_table *table)
{
    bool some = table->n_fields == 0;

    for (size_t i = 0; i < table->n_fields; i++) {
        if (table->fields[i].flags & FIELD_POSITIONAL)
            some = true;
        else if (table->fields[i].flags & FIELD_REQUIRED)
            return false;
    }
    return some;
}

static void put_errors(struct writer *writer, enum method method)
{
    writer_key(writer, "errors");
    writer_array_begin(writer);
    for (unsigned error = WIRE_NONE + 1; error < WIRE_N; error++)
        if (openrpc_may_answer(method, (enum wire_error)error))
            schema_reference(writer, "errors", error_infos[error].symbol);
    writer_array_end(writer);
}

static void put_method(struct writer *writer, enum method method)
{
    const struct method_info *info = &method_infos[method];

    writer_object_begin(writer);
    put_string(writer, "name", info->name);
    put_string(writer, "summary", info->summary);
    put_string(writer, "paramStructure", positional(info->params) ? "either" : "by-name");
    put_params(writer, info->params);
    writer_key(writer, "result");
    writer_object_begin(writer);
    put_string(writer, "name", info->result->name);
    put_bool(writer, "required", true);
    writer_key(writer, "schema");
    schema_object(writer, info->result);
    writer_object_end(writer);
    put_errors(writer, method);
    if (info->traits & METHOD_IMMEDIATE)
        put_bool(writer, "x-immediate", true);
    if (info->traits & METHOD_ADMIN)
        put_bool(writer, "x-admin", true);
    writer_object_end(writer);
}

/* ---- Components Object ---- */

static void collect(struct shapes *shapes, const struct field_table *table)
{
    for (size_t i = 0; i < shapes->n_tables; i++)
        if (shapes->tables[i] == table)
            return;
    if (shapes->n_tables == SHAPES_MAX) {
        shapes->full = true;
        return;
    }
    shapes->tables[shapes->n_tables++] = table;
}

static void collect_members(struct shapes *shapes, const struct field_table *table)
{
    for (size_t i = 0; i < table->n_fields; i++)
        if (table->fields[i].sub)
            collect(shapes, table->fields[i].sub);
}

static void put_schemas(struct writer *writer)
{
    struct shapes shapes = {.n_tables = 0};

    collect(&shapes, &proto_error_object_table);
    for (unsigned method = METHOD_UNKNOWN + 1; method < METHOD_N; method++) {
        collect_members(&shapes, method_infos[method].params);
        collect_members(&shapes, method_infos[method].result);
    }
    writer_key(writer, "schemas");
    writer_object_begin(writer);
    /* the list grows while it is walked: a shape's own shapes come behind it */
    for (size_t i = 0; i < shapes.n_tables; i++) {
        collect_members(&shapes, shapes.tables[i]);
        writer_key(writer, shapes.tables[i]->name);
        schema_object(writer, shapes.tables[i]);
    }
    writer_object_end(writer);
    if (shapes.full) /* a reference without its target is no document */
        writer->failed = true;
}

/* Error Object. Its data is described by a schema; no x- members are allowed here. */
static void put_error(struct writer *writer, const struct error_info *info)
{
    writer_key(writer, info->symbol);
    writer_object_begin(writer);
    writer_key(writer, "code");
    writer_int(writer, info->code);
    put_string(writer, "message", info->text);
    writer_key(writer, "data");
    writer_object_begin(writer);
    writer_key(writer, "allOf");
    writer_array_begin(writer);
    schema_reference(writer, "schemas", "error_data");
    writer_array_end(writer);
    writer_key(writer, "properties");
    writer_object_begin(writer);
    writer_key(writer, "symbol");
    writer_object_begin(writer);
    put_string(writer, "const", info->symbol);
    writer_object_end(writer);
    /* the usual ones; the answer has the last word */
    writer_key(writer, "stage");
    writer_object_begin(writer);
    put_string(writer, "default", error_stage_name(info->stage));
    writer_object_end(writer);
    writer_key(writer, "retryable");
    writer_object_begin(writer);
    put_bool(writer, "default", info->retryable);
    writer_object_end(writer);
    writer_object_end(writer);
    writer_object_end(writer);
    writer_object_end(writer);
}

void openrpc_write(struct writer *writer)
{
    writer_object_begin(writer);
    put_string(writer, "openrpc", OPENRPC_VERSION);
    put_info(writer);
    writer_key(writer, "methods");
    writer_array_begin(writer);
    for (unsigned method = METHOD_UNKNOWN + 1; method < METHOD_N; method++)
        put_method(writer, (enum method)method);
    writer_array_end(writer);
    writer_key(writer, "components");
    writer_object_begin(writer);
    put_schemas(writer);
    writer_key(writer, "errors");
    writer_object_begin(writer);
    for (unsigned error = WIRE_NONE + 1; error < WIRE_N; error++)
        put_error(writer, &error_infos[error]);
    writer_object_end(writer);
    writer_object_end(writer);
    writer_object_end(writer);
}
