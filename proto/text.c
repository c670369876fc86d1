#include "proto/text.h"

#define WORD_MAX 64

size_t text_character(const char *text, size_t n, bool *ret_incomplete)
{
    const unsigned char *byte = (const unsigned char *)text;
    unsigned char low = 0x80;
    unsigned char high = 0xBF;
    size_t length;

    *ret_incomplete = false;
    if (byte[0] < 0x80)
        return 1;
    if (byte[0] < 0xC2 || byte[0] > 0xF4)
        return 0;
    length = byte[0] < 0xE0 ? 2 : byte[0] < 0xF0 ? 3 : 4;
    /* The second byte's range excludes overlong forms, surrogates and what lies beyond U+10FFFF. */
    if (byte[0] == 0xE0)
        low = 0xA0;
    else if (byte[0] == 0xED)
        high = 0x9F;
    else if (byte[0] == 0xF0)
        low = 0x90;
    else if (byte[0] == 0xF4)
        high = 0x8F;
    for (size_t i = 1; i < length; i++) {
        if (i == n) {
            *ret_incomplete = true;
            return 0;
        }
        if (byte[i] < low || byte[i] > high)
            return 0;
        low = 0x80;
        high = 0xBF;
    }
    return length;
}

void text_cut(char *target, size_t n_target, const char *source)
{
    size_t n = strnlen(source, n_target);
    if (n == n_target) {
        n--;
        while (n > 0 && ((unsigned char)source[n] & 0xC0) == 0x80)
            n--;
    }
    memcpy(target, source, n);
    target[n] = '\0';
}

void text_tidy(char *target, size_t n_target, const char *source)
{
    size_t n_source = strlen(source), n = 0, at = 0;
    bool incomplete;

    while (at < n_source) {
        size_t length = text_character(source + at, n_source - at, &incomplete);
        bool odd = length == 0 || (unsigned char)source[at] < 0x20 || source[at] == 0x7f;
        if (length == 0)
            length = 1;
        if (n + length >= n_target)
            break;
        memcpy(target + n, odd ? "?" : source + at, length);
        n += length;
        at += length;
    }
    target[n] = '\0';
}

static char fold(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static bool contains(const char *text, size_t n_text, const char *part, size_t n_part)
{
    for (size_t at = 0; at + n_part <= n_text; at++) {
        size_t i = 0;
        while (i < n_part && fold(text[at + i]) == fold(part[i]))
            i++;
        if (i == n_part)
            return true;
    }
    return false;
}

/* Edits (insert, delete, replace, swap of neighbours) that make one word the other. */
static size_t distance(const char *a, size_t n_a, const char *b, size_t n_b)
{
    size_t rows[3][WORD_MAX + 1];
    for (size_t j = 0; j <= n_b; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= n_a; i++) {
        size_t *row = rows[i % 3];
        size_t *before = rows[(i + 2) % 3];
        row[0] = i;
        for (size_t j = 1; j <= n_b; j++) {
            size_t best = before[j - 1] + (fold(a[i - 1]) != fold(b[j - 1]));
            if (before[j] + 1 < best)
                best = before[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            if (i > 1 && j > 1 && fold(a[i - 1]) == fold(b[j - 2]) &&
                fold(a[i - 2]) == fold(b[j - 1]) && rows[(i + 1) % 3][j - 2] + 1 < best)
                best = rows[(i + 1) % 3][j - 2] + 1;
            row[j] = best;
        }
    }
    return rows[n_a % 3][n_b];
}

size_t text_near(const char *word, const char *name)
{
    size_t n_word = strnlen(word, WORD_MAX + 1);
    size_t n_name = strnlen(name, WORD_MAX + 1);
    size_t edits, limit;

    if (n_word == 0 || n_word > WORD_MAX || n_name > WORD_MAX)
        return SIZE_MAX;
    edits = distance(word, n_word, name, n_name);
    limit = n_word / 3 > 0 ? n_word / 3 : 1;
    if (edits <= limit)
        return edits;
    /* "timeout" means timeout_ms and "Connect" means TCPConnect, however many letters are missing
     */
    if (n_word >= 3 && n_name >= 3 &&
        (contains(name, n_name, word, n_word) || contains(word, n_word, name, n_name)))
        return edits;
    return SIZE_MAX;
}
