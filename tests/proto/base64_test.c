#include "proto/base64.h"
#include "support/test.h"

static int decode(const char *text, char *data, size_t *n)
{
    return base64_decode(data, n, text, strlen(text));
}

TEST(base64, rfc4648_vectors)
{
    static const char *const vectors[][2] = {
        {"", ""},
        {"f", "Zg=="},
        {"fo", "Zm8="},
        {"foo", "Zm9v"},
        {"foob", "Zm9vYg=="},
        {"fooba", "Zm9vYmE="},
        {"foobar", "Zm9vYmFy"},
    };
    for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
        char text[32], data[32];
        size_t n = 99;
        CHECK_INT(base64_encode(text, vectors[i][0], strlen(vectors[i][0])), strlen(vectors[i][1]));
        CHECK_STRING(text, vectors[i][1]);
        CHECK_INT(base64_encoded_size(strlen(vectors[i][0])), strlen(vectors[i][1]));
        CHECK_INT(decode(vectors[i][1], data, &n), 0);
        CHECK_INT(n, strlen(vectors[i][0]));
        CHECK(memcmp(data, vectors[i][0], n) == 0);
    }
}

TEST(base64, refuses_what_is_not_strict)
{
    static const char *const wrong[] = {
        "A",        "AA",
        "AAA",      "AA=A",
        "A===",     "====",
        "=AAA",     "AA==AAAA",
        "AAA=AAA=", " AAA",
        "AAA ",     "\nAAAA",
        "AAAA\n",   "AAAA\n\n\n\n",
        "    AAAA", "AAAA----",
        "AA-_",     "AA\nA",
        "AAB=",     "AB==",
        "Zh==",     "Zm9=",
        "AAAAA===", "AA A",
        "AAA\x80",  "\xC3\xA4\xC3\xA4",
        "AA=\n",    "AA==\n",
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        char data[64];
        size_t n;
        if (decode(wrong[i], data, &n) != BASE64_E_INVALID)
            fprintf(stderr, "accepted: \"%s\"\n", wrong[i]);
        CHECK_INT(decode(wrong[i], data, &n), BASE64_E_INVALID);
    }
}

TEST(base64, every_byte_at_every_length)
{
    unsigned char bytes[300], back[303];
    char text[404];
    for (size_t n = 0; n < sizeof(bytes); n++) {
        size_t n_back;
        for (size_t i = 0; i < n; i++)
            bytes[i] = (unsigned char)(i * 7 + n);
        CHECK_INT(base64_decode(back, &n_back, text, base64_encode(text, bytes, n)), 0);
        CHECK_INT(n_back, n);
        CHECK(memcmp(bytes, back, n) == 0);
    }
}
