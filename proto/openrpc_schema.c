#include "proto/openrpc_schema.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* as in fields.c: what JSON numbers hold exactly, and the sizes its readers accept */
#define INTEGER_MAX      (INT64_C(1) << 53)
#define ID_MAX           256
#define THREAD_MAX       64
#define SERVICE_MAX      64
#define STRINGS_ITEM_MAX 255

static void put_string(struct writer *writer, const char *key, const char *text)
{
    writer_key(writer, key);
    writer_string(writer, text);
}

static void put_int(struct writer *writer, const char *key, int64_t value)
{
    writer_key(writer, key);
    writer_int(writer, value);
}

void schema_reference(struct writer *writer, const char *folder, const char *name)
{
    char path[160];

    snprintf(path, sizeof(path), "#/components/%s/%s", folder, name);
    writer_object_begin(writer);
    put_string(writer, "$ref", path);
    writer_object_end(writer);
}

static const char *alias_of(const struct field *field)
{
    return field->type == FIELD_ENUM ? NULL : field->extra;
}

void schema_describe(const struct field *field, enum schema_side side, char *text, size_t n_text)
{
    const char *alias = alias_of(field);
    char what[256] = "";

    /* what a schema says in numbers need not be said again */
    if (side == SCHEMA_PARAM && field->type != FIELD_BOOL && field->type != FIELD_ENUM)
        field_describe(field, what, sizeof(what));
    snprintf(text, n_text, "%s%s%s%s%s%s%s", field->doc, *what ? " (" : "", what, *what ? ")" : "",
             alias ? "; the member may also be called " : "", alias ? alias : "",
             alias ? " (one of both)" : "");
}

/* Bounds of a number of at most 2^53 either way; beyond, no bound can be told exactly in JSON. */
static void put_range(struct writer *writer, int64_t min, int64_t max)
{
    if (min >= -INTEGER_MAX)
        put_int(writer, "minimum", min);
    if (max <= INTEGER_MAX)
        put_int(writer, "maximum", max);
}

/* JSON Schema counts characters, of one to four bytes in UTF-8: the bounds that hold for them. */
static void put_lengths(struct writer *writer, int64_t min_bytes, int64_t max_bytes)
{
    if (min_bytes > 0)
        put_int(writer, "minLength", (min_bytes + 3) / 4);
    if (max_bytes < INTEGER_MAX)
        put_int(writer, "maxLength", max_bytes);
}

static void string_schema(struct writer *writer, int64_t min_bytes, int64_t max_bytes)
{
    writer_object_begin(writer);
    put_string(writer, "type", "string");
    put_lengths(writer, min_bytes, max_bytes);
    writer_object_end(writer);
}

static void integer_schema(struct writer *writer, int64_t min, int64_t max)
{
    writer_object_begin(writer);
    put_string(writer, "type", "integer");
    put_range(writer, min, max);
    writer_object_end(writer);
}

static void put_string_type(struct writer *writer, const struct field *field, enum schema_side side)
{
    put_string(writer, "type", "string");
    if (side == SCHEMA_RESULT)
        return;
    put_lengths(writer, field->min, field->max);
    if (field->type == FIELD_HOST)
        put_string(writer, "pattern", "^[^.\\x00-\\x20\\x7F][^\\x00-\\x20\\x7F]*$");
}

static void put_port(struct writer *writer, const struct field *field)
{
    writer_key(writer, "oneOf");
    writer_array_begin(writer);
    integer_schema(writer, field->min, field->max);
    writer_object_begin(writer);
    put_string(writer, "type", "string");
    put_lengths(writer, 1, SERVICE_MAX);
    /* a number without leading zeros, or a name: anything else but digits only, and no sign */
    put_string(writer, "pattern",
               field->min == 0 ? "^(0|[1-9][0-9]{0,4}|(?=.*[^0-9])[A-Za-z0-9_.][A-Za-z0-9_.+-]*)$"
                               : "^([1-9][0-9]{0,4}|(?=.*[^0-9])[A-Za-z0-9_.][A-Za-z0-9_.+-]*)$");
    writer_object_end(writer);
    writer_array_end(writer);
}

static void put_enum(struct writer *writer, const struct field *field)
{
    const char *word = field->extra;

    put_string(writer, "type", "string");
    writer_key(writer, "enum");
    writer_array_begin(writer);
    for (;;) {
        size_t n = strcspn(word, "|");
        writer_text(writer, word, n);
        if (word[n] == '\0')
            break;
        word += n + 1;
    }
    writer_array_end(writer);
}

/* RFC 4648 section 4, with padding */
static void put_base64(struct writer *writer, const struct field *field, enum schema_side side)
{
    put_string(writer, "type", "string");
    put_string(writer, "contentEncoding", "base64");
    put_string(writer, "pattern", "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$");
    if (side == SCHEMA_PARAM && field->min > 0)
        put_int(writer, "minLength", (field->min + 2) / 3 * 4);
    if (side == SCHEMA_PARAM && field->max < INTEGER_MAX)
        put_int(writer, "maxLength", (field->max + 2) / 3 * 4);
}

static void put_thread(struct writer *writer)
{
    writer_key(writer, "oneOf");
    writer_array_begin(writer);
    string_schema(writer, 1, THREAD_MAX);
    integer_schema(writer, -INTEGER_MAX, INTEGER_MAX);
    writer_array_end(writer);
}

static void put_id(struct writer *writer)
{
    writer_key(writer, "oneOf");
    writer_array_begin(writer);
    string_schema(writer, 0, ID_MAX);
    integer_schema(writer, -INTEGER_MAX, INTEGER_MAX);
    writer_object_begin(writer);
    put_string(writer, "type", "null");
    writer_object_end(writer);
    writer_array_end(writer);
}

static void put_strings(struct writer *writer, const struct field *field, enum schema_side side)
{
    bool in = side == SCHEMA_PARAM;

    put_string(writer, "type", "array");
    writer_key(writer, "items");
    string_schema(writer, in ? 1 : 0, in ? STRINGS_ITEM_MAX : INT64_MAX);
    if (!in)
        return;
    put_int(writer, "minItems", field->min);
    put_int(writer, "maxItems", field->max);
}

static void put_sub(struct writer *writer, const struct field *field)
{
    if (field->type == FIELD_OBJECTS) {
        put_string(writer, "type", "array");
        writer_key(writer, "items");
        schema_reference(writer, "schemas", field->sub->name);
        return;
    }
    /* what stands beside a $ref does not count in draft-07 */
    writer_key(writer, "allOf");
    writer_array_begin(writer);
    schema_reference(writer, "schemas", field->sub->name);
    writer_array_end(writer);
}

static void put_type(struct writer *writer, const struct field *field, enum schema_side side)
{
    switch (field->type) {
    case FIELD_BOOL:
        put_string(writer, "type", "boolean");
        break;
    case FIELD_INT:
    case FIELD_MS:
        put_string(writer, "type", "integer");
        put_range(writer, field->min, field->max);
        break;
    case FIELD_NUMBER:
        put_string(writer, "type", "number");
        break;
    case FIELD_STRING:
    case FIELD_HOST:
    case FIELD_TEXT:
        put_string_type(writer, field, side);
        break;
    case FIELD_PORT:
        put_port(writer, field);
        break;
    case FIELD_ENUM:
        put_enum(writer, field);
        break;
    case FIELD_BASE64:
        put_base64(writer, field, side);
        break;
    case FIELD_THREAD:
        put_thread(writer);
        break;
    case FIELD_ID:
        put_id(writer);
        break;
    case FIELD_STRINGS:
        put_strings(writer, field, side);
        break;
    case FIELD_OBJECT:
    case FIELD_OBJECTS:
        put_sub(writer, field);
        break;
    }
}

static void put_preset(struct writer *writer, const struct field *field)
{
    const char *word = field->extra;

    if (field->preset == FIELD_NO_PRESET)
        return;
    writer_key(writer, "default");
    if (field->type == FIELD_BOOL) {
        writer_bool(writer, field->preset != 0);
    } else if (field->type == FIELD_ENUM) {
        for (int64_t i = 0; i < field->preset; i++)
            word += strcspn(word, "|") + 1;
        writer_text(writer, word, strcspn(word, "|"));
    } else {
        writer_int(writer, field->preset);
    }
}

void schema_field(struct writer *writer, const struct field *field, enum schema_side side, bool doc)
{
    char text[512];

    writer_object_begin(writer);
    if (doc) {
        schema_describe(field, side, text, sizeof(text));
        put_string(writer, "description", text);
    }
    put_type(writer, field, side);
    if (side == SCHEMA_PARAM)
        put_preset(writer, field);
    writer_object_end(writer);
}

void schema_object(struct writer *writer, const struct field_table *table)
{
    writer_object_begin(writer);
    put_string(writer, "title", table->name);
    put_string(writer, "type", "object");
    writer_key(writer, "properties");
    writer_object_begin(writer);
    for (size_t i = 0; i < table->n_fields; i++) {
        writer_key(writer, table->fields[i].name);
        schema_field(writer, &table->fields[i], SCHEMA_RESULT, true);
    }
    writer_object_end(writer);
    writer_key(writer, "required");
    writer_array_begin(writer);
    for (size_t i = 0; i < table->n_fields; i++)
        if (table->fields[i].flags & FIELD_REQUIRED)
            writer_string(writer, table->fields[i].name);
    writer_array_end(writer);
    writer_key(writer, "additionalProperties");
    writer_bool(writer, true);
    writer_object_end(writer);
}
