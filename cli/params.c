#include "cli/params.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/talk.h"
#include "proto/json.h"
#include "proto/writer.h"

/* As the library has it: no method nests that deep. */
enum { DEPTH_MAX = 31 };

static const struct field *find_field(const struct field_table *table, const char *name, size_t n)
{
    for (size_t i = 0; i < table->n_fields; i++) {
        const struct field *field = &table->fields[i];
        const char *alias = field->type == FIELD_ENUM ? NULL : field->extra;
        if ((strlen(field->name) == n && memcmp(field->name, name, n) == 0) ||
            (alias && strlen(alias) == n && memcmp(alias, name, n) == 0))
            return field;
    }
    return NULL;
}

static bool integer(const char *text, int64_t *ret_value)
{
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (errno || end == text || *end || (*text != '-' && (*text < '0' || *text > '9')))
        return false;
    *ret_value = value;
    return true;
}

static void write_list(struct writer *writer, const char *text)
{
    writer_array_begin(writer);
    for (const char *item = text; *text; item += strcspn(item, ",") + 1) {
        size_t n = strcspn(item, ",");
        writer_text(writer, item, n);
        if (!item[n])
            break;
    }
    writer_array_end(writer);
}

static bool write_bool(struct writer *writer, const char *text)
{
    static const char *const words[] = {"true", "yes", "false", "no"};
    for (size_t i = 0; i < 4; i++)
        if (strcmp(text, words[i]) == 0) {
            writer_bool(writer, i < 2);
            return true;
        }
    return false;
}

static bool write_enum(struct writer *writer, const struct field *field, const char *text)
{
    size_t n = strlen(text);
    for (const char *word = field->extra; word;
         word = strchr(word, '|') ? strchr(word, '|') + 1 : NULL)
        if (n && strcspn(word, "|") == n && memcmp(word, text, n) == 0) {
            writer_string(writer, text);
            return true;
        }
    return false;
}

/* Returns false when text is not of the field's type. Ranges are the daemon's business. */
static bool write_value(struct writer *writer, const struct field *field, const char *text)
{
    int64_t number;
    char *end;
    switch (field->type) {
    case FIELD_BOOL:
        return write_bool(writer, text);
    case FIELD_INT:
    case FIELD_MS:
        if (!integer(text, &number))
            return false;
        writer_int(writer, number);
        return true;
    case FIELD_NUMBER: {
        double value = strtod(text, &end);
        if (end == text || *end)
            return false;
        writer_number(writer, value);
        return true;
    }
    case FIELD_ENUM:
        return write_enum(writer, field, text);
    case FIELD_ID:
        if (integer(text, &number))
            writer_int(writer, number);
        else
            writer_string(writer, text);
        return true;
    case FIELD_STRINGS:
        write_list(writer, text);
        return true;
    case FIELD_OBJECT:
    case FIELD_OBJECTS:
        return false;
    default:
        writer_string(writer, text);
        return true;
    }
}

static int unknown(enum method method, const char *name, size_t n)
{
    char word[128];
    snprintf(word, sizeof(word), "%.*s", (int)(n < sizeof(word) ? n : sizeof(word) - 1), name);
    const char *near = fields_nearest(method_infos[method].params, word);
    return talk_usage("call", "%s has no parameter \"%s\"%s%s%s (tcpbroker help %s)",
                      method_infos[method].name, word, near ? "; did you mean " : "",
                      near ? near : "", near ? "?" : "", method_infos[method].name);
}

static int write_word(struct writer *writer, enum method method, const char *word, bool *seen)
{
    const struct field_table *table = method_infos[method].params;
    const char *equals = strchr(word, '=');
    size_t valid, n = strlen(word);
    bool incomplete;
    if (!equals || equals == word)
        return talk_usage("call", "\"%s\" is not name=value", word);
    if (!json_utf8_valid(word, n, &valid, &incomplete))
        return talk_usage("call", "\"%s\" is not valid UTF-8; bytes go in data_base64", word);
    bool raw = equals > word && equals[-1] == ':';
    size_t n_name = (size_t)(equals - word) - (raw ? 1 : 0);
    const struct field *field = find_field(table, word, n_name);
    if (!field)
        return unknown(method, word, n_name);
    if (seen[field - table->fields])
        return talk_usage("call", "%s is given twice", field->name);
    seen[field - table->fields] = true;
    writer_key(writer, field->name);
    if (raw) {
        struct json_fault fault;
        struct json *json;
        int r = json_parse(&json, equals + 1, strlen(equals + 1), DEPTH_MAX, &fault);
        if (r)
            return talk_usage("call", "%s is not JSON: %s", field->name,
                              r > 0 ? fault.text : "out of memory");
        json_free(json);
        writer_raw_value(writer, equals + 1, strlen(equals + 1));
    } else if (!write_value(writer, field, equals + 1)) {
        char wanted[256];
        field_describe(field, wanted, sizeof(wanted));
        return talk_usage("call", "%s must be %s, not \"%s\"", field->name, wanted, equals + 1);
    }
    return 0;
}

int params_check_json(enum method method, const char *text)
{
    struct json_fault fault;
    struct json *json;
    int r = json_parse(&json, text, strlen(text), DEPTH_MAX, &fault);
    if (r < 0) {
        talk("out of memory");
        return EXIT_ERROR;
    }
    if (r > 0)
        return talk_usage("call", "the parameters are not JSON: %s%s%s (byte %zu)", fault.text,
                          r == JSON_E_DUPLICATE ? ": " : "",
                          r == JSON_E_DUPLICATE ? fault.member : "", fault.position);
    if (json_type(json) != JSON_OBJECT && json_type(json) != JSON_ARRAY)
        r = talk_usage("call", "the parameters must be a JSON object (by name) or array (by "
                               "position)");
    else if (json_type(json) == JSON_OBJECT)
        for (const struct json *item = json_first(json); item && r == 0; item = json_next(item)) {
            size_t n = strlen(json_key(item));
            if (!find_field(method_infos[method].params, json_key(item), n))
                r = unknown(method, json_key(item), n);
        }
    json_free(json);
    return r;
}

int params_from_words(enum method method, char **words, size_t n_words, char **ret_json)
{
    struct writer writer = WRITER_INIT;
    bool seen[64] = {0};
    int r = 0;
    writer_object_begin(&writer);
    for (size_t i = 0; i < n_words && r == 0; i++)
        r = write_word(&writer, method, words[i], seen);
    writer_object_end(&writer);
    writer_raw(&writer, "", 1);
    if (r == 0 && writer_failed(&writer)) {
        talk("out of memory");
        r = EXIT_ERROR;
    }
    if (r)
        writer_deinit(&writer);
    else
        *ret_json = writer.data;
    return r;
}
