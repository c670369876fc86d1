#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "proto/base64.h"
#include "proto/fields.h"
#include "proto/json.h"
#include "proto/text.h"

#define ID_MAX           256
#define THREAD_MAX       64
#define SERVICE_MAX      64
#define STRINGS_ITEM_MAX 255
#define INTEGER_MAX      (INT64_C(1) << 53)

#define FAULTED 2 /* FIELDS_E_INVALID, and the fault is filled already */

struct reader {
    struct json_arena *arena;
    bool strict;
    struct field_fault *fault;
};

static void *at_offset(void *target, size_t offset)
{
    return (char *)target + offset;
}

/* ---- faults ---- */

static int fault_expected(const struct reader *reader, const char *param, const struct field *field,
                          const char *more)
{
    char text[200];
    field_describe(field, text, sizeof(text));
    text_cut(reader->fault->param, sizeof(reader->fault->param), param);
    snprintf(reader->fault->expected, sizeof(reader->fault->expected), "%s%s", text, more);
    return FIELDS_E_INVALID;
}

static int fault_text(const struct reader *reader, const char *param, const char *text)
{
    text_cut(reader->fault->param, sizeof(reader->fault->param), param);
    snprintf(reader->fault->expected, sizeof(reader->fault->expected), "%s", text);
    return FIELDS_E_INVALID;
}

/* A fault inside a sub object gets the path to it before its name. */
static void fault_inside(const struct reader *reader, const struct field *field, size_t index)
{
    char inner[sizeof(reader->fault->param)];
    char full[sizeof(inner) + 64];

    memcpy(inner, reader->fault->param, sizeof(inner));
    if (field->type == FIELD_OBJECTS)
        snprintf(full, sizeof(full), "%.30s[%zu].%s", field->name, index, inner);
    else
        snprintf(full, sizeof(full), "%.30s.%s", field->name, inner);
    text_cut(reader->fault->param, sizeof(reader->fault->param), full);
}

/* ---- reading values; each returns 0, FIELDS_E_INVALID (fault not yet filled) or -ENOMEM ---- */

static int read_string(const struct field *field, const struct json *value, bool strict,
                       const char **ret_text, size_t *ret_n)
{
    const char *text = json_string(value);
    size_t n;

    if (!text)
        return FIELDS_E_INVALID;
    n = strlen(text);
    if (strict && ((int64_t)n < field->min || (int64_t)n > field->max))
        return FIELDS_E_INVALID;
    *ret_text = text;
    *ret_n = n;
    return 0;
}

static bool host_valid(const char *text, size_t n)
{
    if (n == 0 || text[0] == '.')
        return false;
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)text[i] <= 0x20 || text[i] == 0x7F)
            return false;
    return true;
}

/* A decimal number as people write it: no sign, no leading zero. */
static bool port_number(const struct field *field, const char *text, size_t n)
{
    int64_t number = 0;
    if (n > 5 || (n > 1 && text[0] == '0'))
        return false;
    for (size_t i = 0; i < n; i++)
        number = number * 10 + (text[i] - '0');
    return number >= field->min && number <= field->max;
}

static int read_port(const struct reader *reader, const struct field *field,
                     const struct json *value, const char **ret_port)
{
    const char *text = json_string(value);
    size_t n, n_digits;
    int64_t number;
    char *copy;

    if (json_integer(value, &number)) {
        if (number < field->min || number > field->max)
            return FIELDS_E_INVALID;
        copy = json_arena_alloc(reader->arena, 24);
        if (!copy)
            return -ENOMEM;
        snprintf(copy, 24, "%lld", (long long)number);
        *ret_port = copy;
        return 0;
    }
    if (!text)
        return FIELDS_E_INVALID;
    n = strnlen(text, SERVICE_MAX + 1);
    if (n == 0 || n > SERVICE_MAX)
        return FIELDS_E_INVALID;
    n_digits = strspn(text, "0123456789");
    if (*text == '+' || *text == '-') /* the resolver would read it as a number */
        return FIELDS_E_INVALID;
    if (n_digits == n && !port_number(field, text, n))
        return FIELDS_E_INVALID;
    if (strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.+-") != n)
        return FIELDS_E_INVALID;
    *ret_port = text;
    return 0;
}

static int read_enum(const struct field *field, const struct json *value, int64_t *ret_index)
{
    const char *text = json_string(value);
    const char *word = field->extra;
    int64_t index = 0;
    size_t n;

    if (!text)
        return FIELDS_E_INVALID;
    n = strlen(text);
    for (;; index++) {
        size_t n_word = strcspn(word, "|");
        if (n_word == n && memcmp(word, text, n) == 0) {
            *ret_index = index;
            return 0;
        }
        if (word[n_word] == '\0')
            return FIELDS_E_INVALID;
        word += n_word + 1;
    }
}

static int read_base64(const struct reader *reader, const struct field *field,
                       const struct json *value, struct proto_bytes *ret_bytes)
{
    const char *text = json_string(value);
    size_t n, n_bytes;
    char *data;

    if (!text)
        return FIELDS_E_INVALID;
    n = strlen(text);
    data = json_arena_alloc(reader->arena, base64_decoded_size_max(n));
    if (!data)
        return -ENOMEM;
    if (base64_decode(data, &n_bytes, text, n) != 0)
        return FIELDS_E_INVALID;
    if (reader->strict && ((int64_t)n_bytes < field->min || (int64_t)n_bytes > field->max))
        return FIELDS_E_INVALID;
    *ret_bytes = (struct proto_bytes){.data = data, .n_bytes = n_bytes};
    return 0;
}

static int read_thread(const struct json *value, struct proto_thread *ret_thread)
{
    const char *text = json_string(value);
    size_t n = text ? strnlen(text, THREAD_MAX + 1) : 0;

    if (text && (n == 0 || n > THREAD_MAX))
        return FIELDS_E_INVALID;
    ret_thread->text = text;
    return text || json_integer(value, &ret_thread->number) ? 0 : FIELDS_E_INVALID;
}

static int read_id(const struct json *value, struct proto_id *ret_id)
{
    const char *text = json_string(value);
    size_t n = text ? strnlen(text, ID_MAX + 1) : 0;

    if (text) {
        if (n > ID_MAX)
            return FIELDS_E_INVALID;
        *ret_id = (struct proto_id){.kind = PROTO_ID_STRING, .text = text};
        return 0;
    }
    if (json_type(value) == JSON_NULL) {
        *ret_id = (struct proto_id){.kind = PROTO_ID_NULL};
        return 0;
    }
    if (!json_integer(value, &ret_id->number))
        return FIELDS_E_INVALID;
    ret_id->kind = PROTO_ID_INTEGER;
    return 0;
}

static int read_strings(const struct reader *reader, const struct field *field,
                        const struct json *value, struct proto_strings *ret_strings)
{
    const char **items;
    size_t n_items, i = 0;

    if (json_type(value) != JSON_ARRAY)
        return FIELDS_E_INVALID;
    n_items = json_length(value);
    if (reader->strict && ((int64_t)n_items < field->min || (int64_t)n_items > field->max))
        return FIELDS_E_INVALID;
    items = json_arena_alloc(reader->arena, n_items * sizeof(*items));
    if (!items)
        return -ENOMEM;
    for (const struct json *item = json_first(value); item; item = json_next(item)) {
        const char *text = json_string(item);
        size_t n = text ? strnlen(text, STRINGS_ITEM_MAX + 1) : 0;
        if (!text || (reader->strict && (n == 0 || n > STRINGS_ITEM_MAX)))
            return FIELDS_E_INVALID;
        items[i++] = text;
    }
    *ret_strings = (struct proto_strings){.items = items, .n_items = n_items};
    return 0;
}

static int read_object(const struct reader *reader, const struct field_table *table,
                       const struct json *value, void *target);

static int read_objects(const struct reader *reader, const struct field *field,
                        const struct json *value, struct proto_objects *ret_objects)
{
    size_t n_items, i = 0;
    char *items;

    if (json_type(value) != JSON_ARRAY)
        return FIELDS_E_INVALID;
    n_items = json_length(value);
    items = json_arena_alloc(reader->arena, n_items * field->sub->size);
    if (!items)
        return -ENOMEM;
    for (const struct json *item = json_first(value); item; item = json_next(item), i++) {
        int r;
        if (json_type(item) != JSON_OBJECT)
            return FIELDS_E_INVALID;
        r = read_object(reader, field->sub, item, items + i * field->sub->size);
        if (r == FIELDS_E_INVALID) {
            fault_inside(reader, field, i);
            return FAULTED;
        }
        if (r != 0)
            return r;
    }
    *ret_objects = (struct proto_objects){.items = items, .n_items = n_items};
    return 0;
}

static int read_value(const struct reader *reader, const struct field *field,
                      const struct json *value, void *member)
{
    size_t n;
    int r;

    switch (field->type) {
    case FIELD_BOOL:
        if (json_type(value) != JSON_BOOL)
            return FIELDS_E_INVALID;
        *(bool *)member = json_bool(value);
        return 0;
    case FIELD_INT:
    case FIELD_MS: {
        int64_t number;
        if (!json_integer(value, &number))
            return FIELDS_E_INVALID;
        if (reader->strict && (number < field->min || number > field->max))
            return FIELDS_E_INVALID;
        *(int64_t *)member = number;
        return 0;
    }
    case FIELD_NUMBER:
        if (json_type(value) != JSON_NUMBER || !isfinite(json_number(value)))
            return FIELDS_E_INVALID;
        *(double *)member = json_number(value);
        return 0;
    case FIELD_STRING:
        return read_string(field, value, reader->strict, (const char **)member, &n);
    case FIELD_HOST:
        r = read_string(field, value, reader->strict, (const char **)member, &n);
        if (r == 0 && reader->strict && !host_valid(*(const char **)member, n))
            return FIELDS_E_INVALID;
        return r;
    case FIELD_PORT:
        return read_port(reader, field, value, (const char **)member);
    case FIELD_ENUM:
        return read_enum(field, value, (int64_t *)member);
    case FIELD_TEXT: {
        struct proto_bytes *bytes = member;
        return read_string(field, value, reader->strict, &bytes->data, &bytes->n_bytes);
    }
    case FIELD_BASE64:
        return read_base64(reader, field, value, member);
    case FIELD_THREAD:
        return read_thread(value, member);
    case FIELD_ID:
        return read_id(value, member);
    case FIELD_STRINGS:
        return read_strings(reader, field, value, member);
    case FIELD_OBJECT:
        if (json_type(value) != JSON_OBJECT)
            return FIELDS_E_INVALID;
        r = read_object(reader, field->sub, value, member);
        if (r != FIELDS_E_INVALID)
            return r;
        fault_inside(reader, field, 0);
        return FAULTED;
    case FIELD_OBJECTS:
        return read_objects(reader, field, value, member);
    }
    return FIELDS_E_INVALID;
}

/* ---- reading structs ---- */

static void preset_members(const struct field_table *table, void *target)
{
    memset(target, 0, table->size);
    for (size_t i = 0; i < table->n_fields; i++) {
        const struct field *field = &table->fields[i];
        void *member = at_offset(target, field->offset);
        if (field->preset == FIELD_NO_PRESET)
            continue;
        if (field->type == FIELD_BOOL)
            *(bool *)member = field->preset != 0;
        else if (field->type == FIELD_INT || field->type == FIELD_MS || field->type == FIELD_ENUM)
            *(int64_t *)member = field->preset;
    }
}

/* name: as the client wrote it */
static int read_member(const struct reader *reader, const struct field *field, const char *name,
                       const struct json *value, void *target)
{
    int r = read_value(reader, field, value, at_offset(target, field->offset));
    if (r == FIELDS_E_INVALID)
        return fault_expected(reader, name, field, "");
    if (r == FAULTED)
        return FIELDS_E_INVALID;
    if (r == 0 && field->has_offset != SIZE_MAX)
        *(bool *)at_offset(target, field->has_offset) = true;
    return r;
}

static const struct field *find_field(const struct field_table *table, const char *name)
{
    for (size_t i = 0; i < table->n_fields; i++) {
        const struct field *field = &table->fields[i];
        if (field->name[0] == name[0] && strcmp(field->name, name) == 0)
            return field;
        if (field->extra && field->type != FIELD_ENUM && strcmp(field->extra, name) == 0)
            return field;
    }
    return NULL;
}

static int fault_unknown(const struct reader *reader, const struct field_table *table,
                         const char *name)
{
    char text[sizeof(reader->fault->expected)];
    const char *nearest = fields_nearest(table, name);

    if (nearest)
        snprintf(text, sizeof(text), "no such member; did you mean %.64s?", nearest);
    else
        snprintf(text, sizeof(text), "no such member");
    return fault_text(reader, name, text);
}

static int fault_twice(const struct reader *reader, const struct field *field, const char *name)
{
    char text[sizeof(reader->fault->expected)];
    if (field->extra && field->type != FIELD_ENUM)
        snprintf(text, sizeof(text), "given twice; %.64s and %.64s are the same: give one of them",
                 field->name, field->extra);
    else
        snprintf(text, sizeof(text), "given twice; give it once");
    return fault_text(reader, name, text);
}

/* Which members were there; tables are smaller than this (tests/proto/methods_test.c). */
struct seen {
    uint64_t bits[FIELDS_MAX / 64];
};

static bool was_seen(const struct seen *seen, size_t i)
{
    return seen->bits[i / 64] >> i % 64 & 1;
}

static int check_required(const struct reader *reader, const struct field_table *table,
                          const struct seen *seen)
{
    for (size_t i = 0; i < table->n_fields; i++)
        if ((table->fields[i].flags & FIELD_REQUIRED) && !was_seen(seen, i))
            return fault_expected(reader, table->fields[i].name, &table->fields[i],
                                  "; it is missing");
    return 0;
}

static int read_object(const struct reader *reader, const struct field_table *table,
                       const struct json *value, void *target)
{
    struct seen seen = {{0}};

    preset_members(table, target);
    for (const struct json *item = json_first(value); item; item = json_next(item)) {
        const char *name = json_key(item);
        const struct field *field = find_field(table, name);
        int r;

        if (!field) {
            if (reader->strict)
                return fault_unknown(reader, table, name);
            continue;
        }
        size_t i = (size_t)(field - table->fields);
        if (was_seen(&seen, i))
            return fault_twice(reader, field, name);
        seen.bits[i / 64] |= UINT64_C(1) << i % 64;
        r = read_member(reader, field, name, item, target);
        if (r != 0)
            return r;
    }
    return check_required(reader, table, &seen);
}

static int fault_too_many(const struct reader *reader, size_t n_allowed, size_t n_given)
{
    char text[sizeof(reader->fault->expected)];
    if (n_allowed == 0)
        snprintf(text, sizeof(text), "no values by position, not %zu", n_given);
    else
        snprintf(text, sizeof(text), "at most %zu value%s by position, not %zu", n_allowed,
                 n_allowed == 1 ? "" : "s", n_given);
    return fault_text(reader, "params", text);
}

static int read_array(const struct reader *reader, const struct field_table *table,
                      const struct json *value, void *target)
{
    const struct json *item = json_first(value);
    struct seen seen = {{0}};
    size_t n_allowed = 0;

    preset_members(table, target);
    for (size_t i = 0; i < table->n_fields; i++) {
        int r;
        if (!(table->fields[i].flags & FIELD_POSITIONAL))
            continue;
        n_allowed++;
        if (!item)
            continue;
        seen.bits[i / 64] |= UINT64_C(1) << i % 64;
        r = read_member(reader, &table->fields[i], table->fields[i].name, item, target);
        if (r != 0)
            return r;
        item = json_next(item);
    }
    if (item)
        return fault_too_many(reader, n_allowed, json_length(value));
    return check_required(reader, table, &seen);
}

int fields_read(const struct field_table *table, const struct json *value, struct json_arena *arena,
                enum fields_mode mode, void *target, struct field_fault *fault)
{
    struct reader reader = {.arena = arena, .strict = mode == FIELDS_STRICT, .fault = fault};

    fault->param[0] = '\0';
    fault->expected[0] = '\0';
    if (!value) {
        preset_members(table, target);
        return check_required(&reader, table, &(struct seen){{0}});
    }
    if (json_type(value) == JSON_OBJECT)
        return read_object(&reader, table, value, target);
    if (json_type(value) == JSON_ARRAY && reader.strict)
        return read_array(&reader, table, value, target);
    preset_members(table, target);
    return fault_text(&reader, reader.strict ? "params" : "",
                      reader.strict ? "object or array" : "object");
}
