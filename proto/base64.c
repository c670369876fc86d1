#include <string.h>

#include <openssl/evp.h>

#include "proto/base64.h"

/* multiples of 3 and of 4 that an int holds easily */
#define PIECE_BYTES (3u << 24)
#define PIECE_TEXT  (4u << 24)

static int digit(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

size_t base64_encode(char *text, const void *data, size_t n)
{
    const unsigned char *bytes = data;
    size_t n_text = 0;

    text[0] = '\0';
    while (n > 0) {
        size_t piece = n < PIECE_BYTES ? n : PIECE_BYTES;
        n_text += (size_t)EVP_EncodeBlock((unsigned char *)text + n_text, bytes, (int)piece);
        bytes += piece;
        n -= piece;
    }
    return n_text;
}

int base64_decode(void *data, size_t *ret_n, const char *text, size_t n)
{
    unsigned char *bytes = data;
    size_t n_padding = 0;
    size_t n_bytes = 0;
    const char *padding;

    *ret_n = 0;
    if (n == 0)
        return 0;
    if (n % 4 != 0)
        return BASE64_E_INVALID;
    /* OpenSSL takes '=' for a zero anywhere in the text. */
    padding = memchr(text, '=', n);
    if (padding) {
        n_padding = n - (size_t)(padding - text);
        if (n_padding > 2 || text[n - 1] != '=')
            return BASE64_E_INVALID;
        if (digit(padding[-1]) & (n_padding == 1 ? 3 : 15))
            return BASE64_E_INVALID;
    }
    for (size_t at = 0; at < n;) {
        size_t piece = n - at < PIECE_TEXT ? n - at : PIECE_TEXT;
        int decoded =
            EVP_DecodeBlock(bytes + n_bytes, (const unsigned char *)text + at, (int)piece);
        /* It trims white space and '-' at the edges: then there is less than there should be. */
        if (decoded < 0 || (size_t)decoded != piece / 4 * 3)
            return BASE64_E_INVALID;
        n_bytes += (size_t)decoded;
        at += piece;
    }
    *ret_n = n_bytes - n_padding;
    return 0;
}
