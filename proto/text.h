#pragma once
/*
 * text: small helpers over UTF-8 text that several files of this layer share.
 *
 * Threads:   any; no state.
 * Ownership: none.
 * Errors:    none.
 * Limits:    text_near() looks at words of at most 64 bytes.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Copy source into target (n_target > 0 bytes, always terminated), cut before the first character
 * that does not fit. */
void text_cut(char *target, size_t n_target, const char *source);

/* The same with whatever is no text: control characters, and bytes that are not UTF-8, become '?'.
 */
void text_tidy(char *target, size_t n_target, const char *source);

/* How far word is from name, case ignored: 0 the same, SIZE_MAX not near enough to be worth a hint.
 */
size_t text_near(const char *word, const char *name);

/*
 * Length of the valid UTF-8 character at text (n > 0 bytes, RFC 3629), or 0. With 0,
 * *ret_incomplete tells whether more bytes could have made it valid.
 */
size_t text_character(const char *text, size_t n, bool *ret_incomplete);

#define TEXT_ONES  0x0101010101010101u
#define TEXT_HIGHS 0x8080808080808080u

/* Non-zero when one of the eight bytes is zero (exact, Hacker's Delight 6-1). */
static inline uint64_t text_has_zero(uint64_t word)
{
    return (word - TEXT_ONES) & ~word & TEXT_HIGHS;
}

/* Non-zero when one of the eight bytes is a control character, " or \. May also report bytes from
 * 0x80 on. */
static inline uint64_t text_has_special(uint64_t word)
{
    return ((word - TEXT_ONES * 0x20) & ~word & TEXT_HIGHS) |
           text_has_zero(word ^ (TEXT_ONES * '"')) | text_has_zero(word ^ (TEXT_ONES * '\\'));
}

static inline uint64_t text_load(const char *text)
{
    uint64_t word;
    memcpy(&word, text, sizeof(word));
    return word;
}
