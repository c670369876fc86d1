/* token: text and back, what is refused, comparing. */
#include "broker/token.h"
#include "support/test.h"

TEST(token, text_and_back)
{
    struct token token, read;
    char text[TOKEN_TEXT_SIZE];

    CHECK_INT(token_new(&token, TOKEN_OFFER, 3, 0x123456789abcdef0), 0);
    CHECK(token_text(&token, text) == text);
    CHECK_INT(strlen(text), TOKEN_TEXT_SIZE - 1);
    CHECK(strncmp(text, "o0003123456789abcdef0", 21) == 0);
    CHECK_INT(token_parse(&read, TOKEN_OFFER, text), 0);
    CHECK(token_equal(&token, &read));
    CHECK_INT(read.home, 3);
    CHECK(read.id == 0x123456789abcdef0);
}

TEST(token, what_is_refused)
{
    struct token token, read;
    char text[TOKEN_TEXT_SIZE + 1];

    CHECK_INT(token_new(&token, TOKEN_SESSION, 0, 1), 0);
    token_text(&token, text);
    CHECK_INT(token_parse(&read, TOKEN_OFFER, text), TOKEN_E_INVALID);
    CHECK_INT(token_parse(&read, TOKEN_SESSION, ""), TOKEN_E_INVALID);
    CHECK_INT(token_parse(&read, TOKEN_SESSION, text + 1), TOKEN_E_INVALID);
    for (size_t i = 0; i < TOKEN_TEXT_SIZE - 1; i++) {
        char kept = text[i];
        text[i] = 'G';
        CHECK_INT(token_parse(&read, TOKEN_SESSION, text), TOKEN_E_INVALID);
        text[i] = kept;
    }
    strcat(text, "0");
    CHECK_INT(token_parse(&read, TOKEN_SESSION, text), TOKEN_E_INVALID);
}

TEST(token, comparing)
{
    struct token a, b;

    CHECK_INT(token_new(&a, TOKEN_OFFER, 1, 2), 0);
    CHECK_INT(token_new(&b, TOKEN_OFFER, 1, 2), 0);
    CHECK(!token_equal(&a, &b)); /* 128 random bits */
    b = a;
    CHECK(token_equal(&a, &b));
    for (size_t i = 0; i < sizeof(b.secret); i++) {
        b.secret[i] ^= 0x80;
        CHECK(!token_equal(&a, &b));
        b.secret[i] ^= 0x80;
    }
    b.id++;
    CHECK(!token_equal(&a, &b));
}
