#include <string.h>

#include "proto/fields.h"

/*
 * A value that cannot be (a required string that is NULL, an index beyond the words of an ENUM) is
 * written as something the reader refuses with a clear text, not as something else that it would
 * take.
 */
static void write_string(struct writer *writer, const char *text)
{
    if (text)
        writer_string(writer, text);
    else
        writer_null(writer);
}

static void write_port(struct writer *writer, const char *text)
{
    size_t n = text ? strnlen(text, 6) : 0;
    if (n >= 1 && n <= 5 && strspn(text, "0123456789") == n && (n == 1 || text[0] != '0'))
        writer_raw_value(writer, text, n);
    else
        write_string(writer, text);
}

static void write_enum(struct writer *writer, const char *words, int64_t index)
{
    int64_t left = index;
    while (left > 0 && *words) {
        words += strcspn(words, "|");
        words += *words == '|';
        left--;
    }
    if (left == 0 && *words)
        writer_text(writer, words, strcspn(words, "|"));
    else
        writer_int(writer, index);
}

static void write_thread(struct writer *writer, const struct proto_thread *thread)
{
    if (thread->text)
        writer_string(writer, thread->text);
    else
        writer_int(writer, thread->number);
}

static void write_id(struct writer *writer, const struct proto_id *id)
{
    if (id->kind == PROTO_ID_STRING)
        write_string(writer, id->text);
    else if (id->kind == PROTO_ID_INTEGER)
        writer_int(writer, id->number);
    else
        writer_null(writer);
}

static void write_value(const struct field *field, const void *member, struct writer *writer)
{
    switch (field->type) {
    case FIELD_BOOL:
        writer_bool(writer, *(const bool *)member);
        break;
    case FIELD_INT:
    case FIELD_MS:
        writer_int(writer, *(const int64_t *)member);
        break;
    case FIELD_NUMBER:
        writer_number(writer, *(const double *)member);
        break;
    case FIELD_STRING:
    case FIELD_HOST:
        write_string(writer, *(const char *const *)member);
        break;
    case FIELD_PORT:
        write_port(writer, *(const char *const *)member);
        break;
    case FIELD_ENUM:
        write_enum(writer, field->extra, *(const int64_t *)member);
        break;
    case FIELD_TEXT: {
        const struct proto_bytes *bytes = member;
        writer_text(writer, bytes->data, bytes->n_bytes);
        break;
    }
    case FIELD_BASE64: {
        const struct proto_bytes *bytes = member;
        writer_base64(writer, bytes->data, bytes->n_bytes);
        break;
    }
    case FIELD_THREAD:
        write_thread(writer, member);
        break;
    case FIELD_ID:
        write_id(writer, member);
        break;
    case FIELD_STRINGS: {
        const struct proto_strings *strings = member;
        writer_array_begin(writer);
        for (size_t i = 0; i < strings->n_items; i++)
            write_string(writer, strings->items[i]);
        writer_array_end(writer);
        break;
    }
    case FIELD_OBJECT:
        fields_write(field->sub, member, writer);
        break;
    case FIELD_OBJECTS: {
        const struct proto_objects *objects = member;
        writer_array_begin(writer);
        for (size_t i = 0; i < objects->n_items; i++)
            fields_write(field->sub, (const char *)objects->items + i * field->sub->size, writer);
        writer_array_end(writer);
        break;
    }
    }
}

void fields_write(const struct field_table *table, const void *source, struct writer *writer)
{
    writer_object_begin(writer);
    for (size_t i = 0; i < table->n_fields; i++) {
        const struct field *field = &table->fields[i];
        if (field->has_offset != SIZE_MAX &&
            !*(const bool *)((const char *)source + field->has_offset))
            continue;
        writer_key(writer, field->name);
        write_value(field, (const char *)source + field->offset, writer);
    }
    writer_object_end(writer);
}
