#include <stdio.h>
#include <string.h>

#include "proto/json_scan.h"
#include "proto/text.h"

struct scanner {
    const char *text;
    size_t at, n;
    size_t depth, max_depth;
    bool odd_numbers;
    struct json_fault *fault;
    unsigned char in_object[JSON_DEPTH_MAX / 8]; /* one bit a level */
};

static int fail(struct scanner *scanner, int error, size_t position, const char *text)
{
    scanner->fault->position = position;
    snprintf(scanner->fault->text, sizeof(scanner->fault->text), "%s", text);
    return error;
}

static int unexpected(struct scanner *scanner, const char *wanted)
{
    char text[sizeof(scanner->fault->text)];
    if (scanner->at >= scanner->n) {
        snprintf(text, sizeof(text), "the text ends where %s should be", wanted);
    } else {
        unsigned char c = (unsigned char)scanner->text[scanner->at];
        if (c > 0x20 && c < 0x7F)
            snprintf(text, sizeof(text), "'%c' where %s should be", c, wanted);
        else
            snprintf(text, sizeof(text), "byte 0x%02x where %s should be", c, wanted);
    }
    return fail(scanner, JSON_E_SYNTAX, scanner->at, text);
}

static void skip_blanks(struct scanner *scanner)
{
    while (scanner->at < scanner->n) {
        char c = scanner->text[scanner->at];
        if (c != ' ' && c != '\t' && c != '\n' && c != '\r')
            return;
        scanner->at++;
    }
}

static bool next_is(const struct scanner *scanner, char c)
{
    return scanner->at < scanner->n && scanner->text[scanner->at] == c;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Four hex digits from at; -1 when they are not. */
static int hex4(const struct scanner *scanner, size_t at)
{
    int value = 0;
    if (scanner->n - at < 4)
        return -1;
    for (size_t i = at; i < at + 4; i++) {
        char c = scanner->text[i];
        if (is_digit(c))
            value = value * 16 + (c - '0');
        else if ((c | 32) >= 'a' && (c | 32) <= 'f')
            value = value * 16 + ((c | 32) - 'a' + 10);
        else
            return -1;
    }
    return value;
}

/* at is behind \u */
static int scan_unicode_escape(struct scanner *scanner)
{
    size_t escape = scanner->at - 2;
    int unit = hex4(scanner, scanner->at);
    int low;

    if (unit < 0)
        return fail(scanner, JSON_E_SYNTAX, escape, "\\u without four hexadecimal digits");
    if (unit == 0)
        return fail(scanner, JSON_E_NUL, escape, "\\u0000 is not allowed in text");
    scanner->at += 4;
    if (unit < 0xD800 || unit > 0xDFFF)
        return 0;
    if (unit < 0xDC00 && scanner->n - scanner->at >= 6 && next_is(scanner, '\\') &&
        scanner->text[scanner->at + 1] == 'u') {
        low = hex4(scanner, scanner->at + 2);
        if (low >= 0xDC00 && low <= 0xDFFF) {
            scanner->at += 6;
            return 0;
        }
    }
    return fail(scanner, JSON_E_UTF8, escape, "half of a surrogate pair");
}

/* at is on the opening quote */
static int scan_string(struct scanner *scanner)
{
    const char *text = scanner->text;
    size_t n = scanner->n;
    size_t open = scanner->at++;

    for (;;) {
        bool incomplete;
        size_t length;
        size_t at = scanner->at;
        char c;

        while (at + 16 <= n) {
            uint64_t a = text_load(text + at);
            uint64_t b = text_load(text + at + 8);
            if (text_has_special(a) | text_has_special(b) | ((a | b) & TEXT_HIGHS))
                break;
            at += 16;
        }
        while (at < n && (unsigned char)text[at] >= 0x20 && (unsigned char)text[at] < 0x80 &&
               text[at] != '"' && text[at] != '\\')
            at++;
        scanner->at = at;
        if (at == n)
            return fail(scanner, JSON_E_SYNTAX, open, "a string without end");
        c = text[at];
        if (c == '"') {
            scanner->at++;
            return 0;
        }
        if ((unsigned char)c >= 0x80) {
            length = text_character(text + at, n - at, &incomplete);
            if (length == 0)
                return fail(scanner, JSON_E_UTF8, at, "invalid UTF-8");
            scanner->at += length;
        } else if (c == '\\') {
            scanner->at += 2;
            if (scanner->at > n)
                return fail(scanner, JSON_E_SYNTAX, open, "a string without end");
            if (text[at + 1] == 'u') {
                int r = scan_unicode_escape(scanner);
                if (r != 0)
                    return r;
            } else if (text[at + 1] == '\0' || !strchr("\"\\/bfnrt", text[at + 1])) {
                return fail(scanner, JSON_E_SYNTAX, at, "an escape that JSON does not have");
            }
        } else {
            return fail(scanner, JSON_E_SYNTAX, at,
                        "a control character in a string; it must be escaped");
        }
    }
}

static size_t skip_digits(struct scanner *scanner)
{
    size_t first = scanner->at;
    while (scanner->at < scanner->n && is_digit(scanner->text[scanner->at]))
        scanner->at++;
    return scanner->at - first;
}

static int scan_number(struct scanner *scanner)
{
    size_t first = scanner->at;

    if (next_is(scanner, '-'))
        scanner->at++;
    if (next_is(scanner, '0')) {
        scanner->at++;
        if (scanner->at < scanner->n && is_digit(scanner->text[scanner->at]))
            return fail(scanner, JSON_E_SYNTAX, first, "a number with a leading zero");
    } else if (skip_digits(scanner) == 0) {
        return unexpected(scanner, "a digit");
    }
    if (scanner->at - first > 15)
        scanner->odd_numbers = true;
    if (next_is(scanner, '.')) {
        scanner->odd_numbers = true;
        scanner->at++;
        if (skip_digits(scanner) == 0)
            return unexpected(scanner, "a digit");
    }
    if (next_is(scanner, 'e') || next_is(scanner, 'E')) {
        scanner->odd_numbers = true;
        scanner->at++;
        if (next_is(scanner, '+') || next_is(scanner, '-'))
            scanner->at++;
        if (skip_digits(scanner) == 0)
            return unexpected(scanner, "a digit");
    }
    if (scanner->at - first > JSON_NUMBER_MAX)
        return fail(scanner, JSON_E_SYNTAX, first, "a number of more than 63 characters");
    return 0;
}

static int scan_word(struct scanner *scanner, const char *word)
{
    size_t n = strlen(word);
    if (scanner->n - scanner->at < n || memcmp(scanner->text + scanner->at, word, n) != 0)
        return fail(scanner, JSON_E_SYNTAX, scanner->at, "neither true, false nor null");
    scanner->at += n;
    return 0;
}

static int scan_scalar(struct scanner *scanner)
{
    char c = scanner->at < scanner->n ? scanner->text[scanner->at] : '\0';
    switch (c) {
    case '"':
        return scan_string(scanner);
    case 't':
        return scan_word(scanner, "true");
    case 'f':
        return scan_word(scanner, "false");
    case 'n':
        return scan_word(scanner, "null");
    default:
        if (c == '-' || is_digit(c))
            return scan_number(scanner);
        return unexpected(scanner, "a value");
    }
}

static int push(struct scanner *scanner, bool object)
{
    unsigned char bit = (unsigned char)(1u << (scanner->depth % 8));
    if (scanner->depth == scanner->max_depth) {
        snprintf(scanner->fault->text, sizeof(scanner->fault->text),
                 "nested deeper than %zu levels", scanner->max_depth);
        scanner->fault->position = scanner->at;
        return JSON_E_DEPTH;
    }
    if (object)
        scanner->in_object[scanner->depth / 8] |= bit;
    else
        scanner->in_object[scanner->depth / 8] &= (unsigned char)~bit;
    scanner->depth++;
    scanner->at++;
    skip_blanks(scanner);
    return 0;
}

static bool inside_object(const struct scanner *scanner)
{
    size_t level = scanner->depth - 1;
    return scanner->in_object[level / 8] >> (level % 8) & 1;
}

static int scan_name(struct scanner *scanner)
{
    int r;
    if (!next_is(scanner, '"'))
        return unexpected(scanner, "a member's name");
    r = scan_string(scanner);
    if (r != 0)
        return r;
    skip_blanks(scanner);
    if (!next_is(scanner, ':'))
        return unexpected(scanner, "':'");
    scanner->at++;
    skip_blanks(scanner);
    return 0;
}

/* From the start of a value to its end, or into a container. *ret_complete: a whole value was read.
 */
static int scan_value_start(struct scanner *scanner, bool *ret_complete)
{
    bool object = next_is(scanner, '{');
    int r;

    *ret_complete = true;
    if (!object && !next_is(scanner, '['))
        return scan_scalar(scanner);
    r = push(scanner, object);
    if (r != 0)
        return r;
    if (next_is(scanner, object ? '}' : ']')) {
        scanner->at++;
        scanner->depth--;
        return 0;
    }
    *ret_complete = false;
    return object ? scan_name(scanner) : 0;
}

int json_scan(const char *text, size_t n, size_t max_depth, bool *ret_odd_numbers,
              struct json_fault *fault)
{
    struct scanner scanner = {.text = text,
                              .n = n,
                              .max_depth = max_depth < JSON_DEPTH_MAX ? max_depth : JSON_DEPTH_MAX,
                              .fault = fault};
    int r;

    skip_blanks(&scanner);
    for (;;) {
        bool complete;
        r = scan_value_start(&scanner, &complete);
        if (r != 0)
            return r;
        while (complete && scanner.depth > 0) {
            bool object = inside_object(&scanner);
            skip_blanks(&scanner);
            if (next_is(&scanner, object ? '}' : ']')) {
                scanner.at++;
                scanner.depth--;
                continue;
            }
            if (!next_is(&scanner, ','))
                return unexpected(&scanner, object ? "',' or '}'" : "',' or ']'");
            scanner.at++;
            skip_blanks(&scanner);
            r = object ? scan_name(&scanner) : 0;
            if (r != 0)
                return r;
            complete = false;
        }
        if (complete)
            break;
    }
    skip_blanks(&scanner);
    if (scanner.at != n)
        return unexpected(&scanner, "the end");
    *ret_odd_numbers = scanner.odd_numbers;
    return 0;
}

/* ---- looking things up again in accepted text: nothing can be wrong in it ---- */

/* Behind the string that starts at at. */
static size_t string_end(const char *text, size_t n, size_t at)
{
    for (at++; at < n && text[at] != '"'; at++) {
        while (at + 8 <= n && !text_has_special(text_load(text + at)))
            at += 8;
        if (at < n && text[at] == '\\')
            at++;
        else if (at < n && text[at] == '"')
            break;
    }
    return at < n ? at + 1 : n;
}

bool json_scan_number(const char *text, size_t n, size_t *at, const char **ret_number,
                      size_t *ret_n_number)
{
    size_t i = *at;
    size_t first;

    while (i < n && text[i] != '-' && !is_digit(text[i]))
        i = text[i] == '"' ? string_end(text, n, i) : i + 1;
    first = i;
    while (i < n && (is_digit(text[i]) || strchr("+-.eE", text[i])))
        i++;
    *at = i;
    *ret_number = text + first;
    *ret_n_number = i - first;
    return i > first;
}

bool json_scan_whole(const char *number, size_t n, int64_t *ret_value)
{
    const int64_t limit = INT64_C(1) << 53;
    bool negative = n > 0 && number[0] == '-';
    bool less = false;
    size_t i = negative ? 1 : 0;
    size_t n_zeros = 0; /* at the end of the digits so far */
    int64_t value = 0;  /* the digits without these zeros */
    long exponent = 0;

    for (; i < n && is_digit(number[i]); i++) {
        if (number[i] == '0') {
            n_zeros++;
            continue;
        }
        for (; n_zeros > 0; n_zeros--)
            if ((value *= 10) > limit)
                return false;
        value = value * 10 + (number[i] - '0');
        if (value > limit)
            return false;
    }
    if (i < n && number[i] == '.')
        return false;
    if (i < n) {
        i++;
        less = number[i] == '-';
        if (less || number[i] == '+')
            i++;
        for (; i < n && exponent < 1000; i++)
            exponent = exponent * 10 + (number[i] - '0');
    }
    exponent = (less ? -exponent : exponent) + (long)n_zeros;
    if (value == 0)
        exponent = 0;
    if (exponent < 0)
        return false;
    for (; exponent > 0; exponent--)
        if ((value *= 10) > limit)
            return false;
    *ret_value = negative ? -value : value;
    return true;
}

bool json_scan_member(const char *text, size_t n, size_t index, const char **ret_value,
                      size_t *ret_n_value)
{
    size_t depth = 0;
    size_t first = 0; /* of the value, behind the ':' */
    size_t last;

    for (size_t at = 0; at < n;) {
        char c = text[at];
        if (c == '"') {
            at = string_end(text, n, at);
            continue;
        }
        if (depth == 1 && c == ':')
            first = at + 1;
        if (depth == 1 && (c == ',' || c == '}')) {
            if (index-- == 0) {
                last = at;
                while (first < last && strchr(" \t\r\n", text[first]))
                    first++;
                while (last > first && strchr(" \t\r\n", text[last - 1]))
                    last--;
                *ret_value = text + first;
                *ret_n_value = last - first;
                return last > first;
            }
        }
        if (c == '{' || c == '[')
            depth++;
        else if (c == '}' || c == ']')
            depth--;
        at++;
    }
    return false;
}
