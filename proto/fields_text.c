/* The part of fields that speaks to people. */
#include <inttypes.h>
#include <stdio.h>

#include "proto/fields.h"
#include "proto/text.h"

static void describe_integer(const struct field *field, char *text, size_t n_text)
{
    const char *what = field->type == FIELD_MS ? "milliseconds" : "integer";

    if (field->min == field->max)
        snprintf(text, n_text, "%s %" PRId64, what, field->min);
    else if (field->max == INT64_MAX && field->min == INT64_MIN)
        snprintf(text, n_text, "%s", what);
    else if (field->max == INT64_MAX)
        snprintf(text, n_text, "%s from %" PRId64, what, field->min);
    else
        snprintf(text, n_text, "%s %" PRId64 "..%" PRId64, what, field->min, field->max);
}

static void describe_sized(const struct field *field, const char *what, char *text, size_t n_text)
{
    if (field->max == INT64_MAX && field->min <= 0)
        snprintf(text, n_text, "%s", what);
    else if (field->max == INT64_MAX)
        snprintf(text, n_text, "%s of at least %" PRId64 " bytes", what, field->min);
    else
        snprintf(text, n_text, "%s of %" PRId64 "..%" PRId64 " bytes", what, field->min,
                 field->max);
}

static void describe_words(const char *words, char *text, size_t n_text)
{
    size_t n = 0;
    while (n + 4 < n_text && *words) {
        size_t n_word = strcspn(words, "|");
        int r =
            snprintf(text + n, n_text - n, "%s\"%.*s\"", n > 0 ? " or " : "", (int)n_word, words);
        if (r < 0 || (size_t)r >= n_text - n)
            return;
        n += (size_t)r;
        words += n_word + (words[n_word] == '|');
    }
}

void field_describe(const struct field *field, char *text, size_t n_text)
{
    const char *fixed = "";

    switch (field->type) {
    case FIELD_BOOL:
        fixed = "true or false";
        break;
    case FIELD_INT:
    case FIELD_MS:
        describe_integer(field, text, n_text);
        return;
    case FIELD_NUMBER:
        fixed = "number";
        break;
    case FIELD_STRING:
        describe_sized(field, "string", text, n_text);
        return;
    case FIELD_HOST:
        snprintf(text, n_text,
                 "host name or address of %" PRId64 "..%" PRId64 " bytes, without blanks",
                 field->min, field->max);
        return;
    case FIELD_PORT:
        snprintf(text, n_text, "integer %" PRId64 "..%" PRId64 " or a service name", field->min,
                 field->max);
        return;
    case FIELD_ENUM:
        describe_words(field->extra, text, n_text);
        return;
    case FIELD_TEXT:
        describe_sized(field, "text", text, n_text);
        return;
    case FIELD_BASE64:
        describe_sized(field, "base64 (RFC 4648, padded)", text, n_text);
        return;
    case FIELD_THREAD:
        fixed = "string of 1..64 bytes or an integer";
        break;
    case FIELD_ID:
        fixed = "string of at most 256 bytes, integer or null";
        break;
    case FIELD_STRINGS:
        snprintf(text, n_text, "list of %" PRId64 "..%" PRId64 " strings of 1..255 bytes",
                 field->min, field->max);
        return;
    case FIELD_OBJECT:
        fixed = "object";
        break;
    case FIELD_OBJECTS:
        fixed = "list of objects";
        break;
    }
    snprintf(text, n_text, "%s", fixed);
}

const char *fields_nearest(const struct field_table *table, const char *word)
{
    const char *nearest = NULL;
    size_t least = SIZE_MAX;

    for (size_t i = 0; i < table->n_fields; i++) {
        const struct field *field = &table->fields[i];
        const char *names[] = {field->name, field->type == FIELD_ENUM ? NULL : field->extra};
        for (size_t k = 0; k < 2 && names[k]; k++) {
            size_t distance = text_near(word, names[k]);
            if (distance < least) {
                least = distance;
                nearest = names[k];
            }
        }
    }
    return nearest;
}
