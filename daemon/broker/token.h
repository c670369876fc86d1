#pragma once
/*
 * token: who has it may take what it stands for: a socket on offer, or a durable session. 128 bits
 * from the system's random source, with a locator in front that says where to look: which io
 * thread, and which number there. The locator is no secret; the rest is compared in constant time.
 *
 * As text: one letter for the kind, 4 + 16 hexadecimal digits of locator, 32 of secret. It must
 * never get into a log.
 *
 * Threads:   any; a value.
 * Ownership: plain data.
 * Errors:    TOKEN_E_INVALID; -errno from the random source.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/assert.h"

enum { TOKEN_E_INVALID = 1 };
enum { TOKEN_SECRET_BYTES = 16, TOKEN_TEXT_SIZE = 1 + 4 + 16 + 2 * TOKEN_SECRET_BYTES + 1 };
enum token_kind { TOKEN_OFFER = 'o', TOKEN_SESSION = 's' };

struct token {
    enum token_kind kind;
    uint16_t home; /* index of the io thread */
    uint64_t id;   /* of the offer or session, there */
    uint8_t secret[TOKEN_SECRET_BYTES];
};

NODISCARD int token_new(struct token *ret_token, enum token_kind kind, size_t home, uint64_t id);
/* text: TOKEN_TEXT_SIZE bytes; returns it. */
const char *token_text(const struct token *token, char *text);
NODISCARD int token_parse(struct token *ret_token, enum token_kind kind, const char *text);
/* The same in all parts; the time it takes tells nothing about how much of the secret is right. */
bool token_equal(const struct token *a, const struct token *b);
