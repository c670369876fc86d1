#pragma once
/*
 * base64: RFC 4648 section 4, padded, strict: no white space, nothing after the padding, unused
 * bits zero, so that every byte string has exactly one text.
 *
 * Threads:   any; no state.
 * Ownership: the caller's buffers.
 * Errors:    BASE64_E_INVALID.
 * Limits:    none; OpenSSL's int lengths are worked around by going in pieces.
 */
#include <stddef.h>

enum {
    BASE64_E_INVALID = 1, /* not strict base64 */
};

/* Characters that n bytes take, without a terminator. */
static inline size_t base64_encoded_size(size_t n)
{
    return n / 3 * 4 + (n % 3 ? 4 : 0);
}

/* Space that decoding n characters needs (up to two bytes more than there will be). */
static inline size_t base64_decoded_size_max(size_t n)
{
    return n / 4 * 3;
}

/* text has room for base64_encoded_size(n) + 1 bytes; it gets terminated. Returns the characters
 * written. */
size_t base64_encode(char *text, const void *data, size_t n);

/* data has room for base64_decoded_size_max(n) bytes. Returns 0 or BASE64_E_INVALID (data is then
 * undefined). */
__attribute__((warn_unused_result)) int base64_decode(void *data, size_t *ret_n, const char *text,
                                                      size_t n);
