#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base64.h"
#include "proto/text.h"
#include "proto/writer.h"

#define CAPACITY_FIRST 512

void writer_deinit(struct writer *writer)
{
    free(writer->data);
    *writer = WRITER_INIT;
}

int writer_reserve(struct writer *writer, size_t n)
{
    size_t capacity = writer->capacity ? writer->capacity : CAPACITY_FIRST;
    char *data;

    if (n <= writer->capacity - writer->n_data)
        return 0;
    if (n > SIZE_MAX / 4 || writer->n_data > SIZE_MAX / 4)
        return -ENOMEM;
    while (capacity - writer->n_data < n)
        capacity *= 2;
    data = realloc(writer->data, capacity);
    if (!data)
        return -ENOMEM;
    writer->data = data;
    writer->capacity = capacity;
    return 0;
}

struct writer_mark writer_mark(const struct writer *writer)
{
    return (struct writer_mark){.n_data = writer->n_data, .comma = writer->comma};
}

void writer_rewind(struct writer *writer, struct writer_mark mark)
{
    writer->n_data = mark.n_data;
    writer->comma = mark.comma;
    writer->failed = false;
}

void writer_consume(struct writer *writer, size_t n)
{
    if (n == 0)
        return;
    writer->n_data -= n;
    if (writer->n_data > 0)
        memmove(writer->data, writer->data + n, writer->n_data);
}

/* Room for n bytes and the comma before the value; false: failed, now or before. */
static bool begin(struct writer *writer, size_t n)
{
    if (writer->failed)
        return false;
    if (n > SIZE_MAX / 4 || writer_reserve(writer, n + 1) != 0) {
        writer->failed = true;
        return false;
    }
    if (writer->comma)
        writer->data[writer->n_data++] = ',';
    return true;
}

static void put(struct writer *writer, const char *text, size_t n)
{
    memcpy(writer->data + writer->n_data, text, n);
    writer->n_data += n;
}

static void put_value(struct writer *writer, const char *text, size_t n)
{
    if (!begin(writer, n))
        return;
    put(writer, text, n);
    writer->comma = true;
}

static void open_container(struct writer *writer, char bracket)
{
    if (!begin(writer, 1))
        return;
    put(writer, &bracket, 1);
    writer->comma = false;
}

static void close_container(struct writer *writer, char bracket)
{
    writer->comma = false;
    if (!begin(writer, 1))
        return;
    put(writer, &bracket, 1);
    writer->comma = true;
}

void writer_object_begin(struct writer *writer)
{
    open_container(writer, '{');
}

void writer_object_end(struct writer *writer)
{
    close_container(writer, '}');
}

void writer_array_begin(struct writer *writer)
{
    open_container(writer, '[');
}

void writer_array_end(struct writer *writer)
{
    close_container(writer, ']');
}

void writer_key(struct writer *writer, const char *key)
{
    size_t n = strlen(key);
    if (!begin(writer, n + 3))
        return;
    put(writer, "\"", 1);
    put(writer, key, n);
    put(writer, "\":", 2);
    writer->comma = false;
}

void writer_null(struct writer *writer)
{
    put_value(writer, "null", 4);
}

void writer_bool(struct writer *writer, bool value)
{
    put_value(writer, value ? "true" : "false", value ? 4 : 5);
}

/* Decimal digits of value, right-aligned before end; returns the first one. */
static char *digits(char *end, uint64_t value)
{
    do {
        *--end = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    return end;
}

void writer_int(struct writer *writer, int64_t value)
{
    char text[24];
    char *first = digits(text + sizeof(text), value < 0 ? -(uint64_t)value : (uint64_t)value);
    if (value < 0)
        *--first = '-';
    put_value(writer, first, (size_t)(text + sizeof(text) - first));
}

void writer_number(struct writer *writer, double value)
{
    char text[80];
    char *end = text + sizeof(text);
    char *first;
    uint64_t thousandths;
    unsigned decimals;

    if (!isfinite(value)) {
        writer_null(writer);
        return;
    }
    /* No "%.3f" for the usual case: its decimal point is the locale's. */
    if (fabs(value) >= 1e12) {
        int n = snprintf(text, sizeof(text), fabs(value) < 1e60 ? "%.0f" : "%.0e", value);
        put_value(writer, text, (size_t)n);
        return;
    }
    thousandths = (uint64_t)(fabs(value) * 1000 + 0.5);
    decimals = (unsigned)(thousandths % 1000);
    if (decimals > 0) {
        char *point = end - 4;

        point[0] = '.';
        point[1] = (char)('0' + decimals / 100);
        point[2] = (char)('0' + decimals / 10 % 10);
        point[3] = (char)('0' + decimals % 10);
        while (end[-1] == '0')
            end--;
        first = digits(point, thousandths / 1000);
    } else {
        first = digits(end, thousandths / 1000);
    }
    if (value < 0 && thousandths > 0)
        *--first = '-';
    put_value(writer, first, (size_t)(end - first));
}

/* Bytes from the front that need no escape. */
static size_t plain_run(const char *text, size_t n)
{
    size_t i = 0;
    while (i + 32 <= n) {
        uint64_t special =
            text_has_special(text_load(text + i)) | text_has_special(text_load(text + i + 8)) |
            text_has_special(text_load(text + i + 16)) | text_has_special(text_load(text + i + 24));
        if (special)
            break;
        i += 32;
    }
    for (; i < n; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c < 0x20 || c == '"' || c == '\\')
            break;
    }
    return i;
}

static size_t escape(char *to, char c)
{
    static const char hex[] = "0123456789abcdef";
    static const char letters[32] = {
        ['\b'] = 'b', ['\f'] = 'f', ['\n'] = 'n', ['\r'] = 'r', ['\t'] = 't'};

    to[0] = '\\';
    if (c == '"' || c == '\\') {
        to[1] = c;
        return 2;
    }
    if (letters[(unsigned char)c]) {
        to[1] = letters[(unsigned char)c];
        return 2;
    }
    to[1] = 'u';
    to[2] = '0';
    to[3] = '0';
    to[4] = hex[(unsigned char)c >> 4];
    to[5] = hex[(unsigned char)c & 15];
    return 6;
}

void writer_text(struct writer *writer, const char *text, size_t n)
{
    struct writer_mark mark = writer_mark(writer);

    if (!begin(writer, n + 2))
        return;
    put(writer, "\"", 1);
    while (n > 0) {
        size_t run = plain_run(text, n);
        /* the rest as it is, one escape and the closing quote always fit */
        if (writer_reserve(writer, n + 8) != 0) {
            writer_rewind(writer, mark);
            writer->failed = true;
            return;
        }
        put(writer, text, run);
        text += run;
        n -= run;
        if (n > 0) {
            writer->n_data += escape(writer->data + writer->n_data, *text);
            text++;
            n--;
        }
    }
    put(writer, "\"", 1);
    writer->comma = true;
}

void writer_string(struct writer *writer, const char *text)
{
    writer_text(writer, text, strlen(text));
}

void writer_base64(struct writer *writer, const void *data, size_t n)
{
    if (n > SIZE_MAX / 8) {
        writer->failed = true;
        return;
    }
    if (!begin(writer, base64_encoded_size(n) + 3))
        return;
    put(writer, "\"", 1);
    writer->n_data += base64_encode(writer->data + writer->n_data, data, n);
    put(writer, "\"", 1);
    writer->comma = true;
}

void writer_raw(struct writer *writer, const char *text, size_t n)
{
    writer->comma = false;
    if (n == 0 || !begin(writer, n))
        return;
    put(writer, text, n);
}

void writer_raw_value(struct writer *writer, const char *text, size_t n)
{
    put_value(writer, text, n);
}
