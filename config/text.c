#include "config/text.h"

#include <string.h>

/* Bytes of the well-formed UTF-8 character at p (RFC 3629), 0: there is none. */
static size_t utf8_length(const unsigned char *p, size_t n)
{
    unsigned char low = 0x80, high = 0xBF;
    size_t length;
    if (p[0] < 0x80)
        return 1;
    if (p[0] >= 0xC2 && p[0] <= 0xDF)
        length = 2;
    else if (p[0] >= 0xE0 && p[0] <= 0xEF)
        length = 3;
    else if (p[0] >= 0xF0 && p[0] <= 0xF4)
        length = 4;
    else
        return 0;
    if (p[0] == 0xE0)
        low = 0xA0; /* overlong */
    if (p[0] == 0xED)
        high = 0x9F; /* surrogates */
    if (p[0] == 0xF0)
        low = 0x90; /* overlong */
    if (p[0] == 0xF4)
        high = 0x8F; /* above U+10FFFF */
    if (n < length || p[1] < low || p[1] > high)
        return 0;
    for (size_t i = 2; i < length; i++)
        if ((p[i] & 0xC0) != 0x80)
            return 0;
    return length;
}

const char *text_bad_bytes(const char *text, size_t n, size_t *ret_column)
{
    const unsigned char *p = (const unsigned char *)text;
    for (size_t i = 0; i < n;) {
        size_t length = utf8_length(p + i, n - i);
        *ret_column = i + 1;
        if (p[i] == 0)
            return "a NUL byte";
        if ((p[i] < 0x20 && p[i] != '\t') || p[i] == 0x7F)
            return "a control character";
        if (length == 0)
            return "a byte that is not UTF-8";
        /* C1 control characters are two bytes in UTF-8; in a log they would reach somebody's
         * terminal */
        if (p[i] == 0xC2 && p[i + 1] < 0xA0)
            return "a control character";
        i += length;
    }
    return NULL;
}

char *text_trim(char *text)
{
    while (*text == ' ' || *text == '\t')
        text++;
    size_t n = strlen(text);
    while (n > 0 && (text[n - 1] == ' ' || text[n - 1] == '\t'))
        n--;
    text[n] = 0;
    return text;
}
