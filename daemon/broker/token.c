#include "broker/token.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

int token_new(struct token *ret_token, enum token_kind kind, size_t home, uint64_t id)
{
    struct token token = {.kind = kind, .home = (uint16_t)home, .id = id};
    ssize_t n;

    ASSERT(home <= UINT16_MAX);
    do /* up to 256 bytes come at once (getrandom(2)), once the source is ready */
        n = getrandom(token.secret, sizeof(token.secret), 0);
    while (n < 0 && errno == EINTR);
    if (n != (ssize_t)sizeof(token.secret))
        return n < 0 ? -errno : -EIO;
    *ret_token = token;
    return 0;
}

const char *token_text(const struct token *token, char *text)
{
    int n = snprintf(text, TOKEN_TEXT_SIZE, "%c%04x%016llx", (char)token->kind,
                     (unsigned)token->home, (unsigned long long)token->id);
    for (size_t i = 0; i < sizeof(token->secret); i++)
        n += snprintf(text + n, (size_t)(TOKEN_TEXT_SIZE - n), "%02x", token->secret[i]);
    ASSERT(n == TOKEN_TEXT_SIZE - 1);
    return text;
}

/* n_digits hexadecimal digits, small ones only: one token has one text. */
static int read_hex(const char *text, size_t n_digits, uint64_t *ret_value)
{
    uint64_t value = 0;

    for (size_t i = 0; i < n_digits; i++) {
        char c = text[i];
        if (c >= '0' && c <= '9')
            value = value << 4 | (uint64_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            value = value << 4 | (uint64_t)(c - 'a' + 10);
        else
            return TOKEN_E_INVALID;
    }
    *ret_value = value;
    return 0;
}

int token_parse(struct token *ret_token, enum token_kind kind, const char *text)
{
    struct token token = {.kind = kind};
    uint64_t home, byte;

    if (strlen(text) != TOKEN_TEXT_SIZE - 1 || text[0] != (char)kind ||
        read_hex(text + 1, 4, &home) || read_hex(text + 5, 16, &token.id))
        return TOKEN_E_INVALID;
    token.home = (uint16_t)home;
    for (size_t i = 0; i < sizeof(token.secret); i++) {
        if (read_hex(text + 21 + 2 * i, 2, &byte))
            return TOKEN_E_INVALID;
        token.secret[i] = (uint8_t)byte;
    }
    *ret_token = token;
    return 0;
}

bool token_equal(const struct token *a, const struct token *b)
{
    volatile uint8_t differs = 0; /* volatile: the loop must not end early */

    for (size_t i = 0; i < sizeof(a->secret); i++)
        differs |= (uint8_t)(a->secret[i] ^ b->secret[i]);
    return differs == 0 && a->kind == b->kind && a->home == b->home && a->id == b->id;
}
