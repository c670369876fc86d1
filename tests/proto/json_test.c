#include "proto/json.h"
#include "support/test.h"

static int parse(const char *text, size_t n, size_t depth)
{
    struct json_fault fault;
    struct json *json;
    char *exact = malloc(n ? n : 1); /* so that AddressSanitizer sees the first byte too many */
    memcpy(exact, text, n);
    int r = json_parse(&json, exact, n, depth, &fault);
    CHECK((r == 0) == (json != NULL));
    CHECK(r <= 0 || fault.position <= n);
    json_free(json);
    free(exact);
    return r;
}

#define PARSE(text) parse((text), sizeof(text) - 1, 32)
#define REFUSED(error, text)                                                                       \
    do {                                                                                           \
        if (PARSE(text) != (error))                                                                \
            fprintf(stderr, "line %d: %s\n", __LINE__, text);                                      \
        CHECK_INT(PARSE(text), error);                                                             \
    } while (0)

TEST(json, accepts)
{
    REFUSED(0, "null");
    REFUSED(0, " \t\r\n{ } ");
    REFUSED(0, "[ ]");
    REFUSED(0, "{\"a\" : [ 1 , -0 , 0.5 , 1e3 , 1E-3 , -1.5e+10 , true , false , null ] }");
    REFUSED(0, "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e4\\uD83D\\uDE00\"");
    REFUSED(
        0,
        "\"\xC2\x80\xDF\xBF\xE0\xA0\x80\xED\x9F\xBF\xEE\x80\x80\xF0\x90\x80\x80\xF4\x8F\xBF\xBF\"");
    REFUSED(0, "{\"\":1}");
    REFUSED(0, "{\"a\":1,\"A\":2}");
}

TEST(json, refuses_bad_syntax)
{
    REFUSED(JSON_E_SYNTAX, "");
    REFUSED(JSON_E_SYNTAX, "  ");
    REFUSED(JSON_E_SYNTAX, "nul");
    REFUSED(JSON_E_SYNTAX, "nulll");
    REFUSED(JSON_E_SYNTAX, "True");
    REFUSED(JSON_E_SYNTAX, "NaN");
    REFUSED(JSON_E_SYNTAX, "01");
    REFUSED(JSON_E_SYNTAX, "-01");
    REFUSED(JSON_E_SYNTAX, "-");
    REFUSED(JSON_E_SYNTAX, "+1");
    REFUSED(JSON_E_SYNTAX, ".5");
    REFUSED(JSON_E_SYNTAX, "1.");
    REFUSED(JSON_E_SYNTAX, "1.e1");
    REFUSED(JSON_E_SYNTAX, "1e");
    REFUSED(JSON_E_SYNTAX, "1e+");
    REFUSED(JSON_E_SYNTAX, "0x10");
    REFUSED(JSON_E_SYNTAX, "[1,]");
    REFUSED(JSON_E_SYNTAX, "[,1]");
    REFUSED(JSON_E_SYNTAX, "[1 2]");
    REFUSED(JSON_E_SYNTAX, "[1");
    REFUSED(JSON_E_SYNTAX, "[1}");
    REFUSED(JSON_E_SYNTAX, "{\"a\":1]");
    REFUSED(JSON_E_SYNTAX, "{\"a\"}");
    REFUSED(JSON_E_SYNTAX, "{\"a\":}");
    REFUSED(JSON_E_SYNTAX, "{\"a\":1,}");
    REFUSED(JSON_E_SYNTAX, "{a:1}");
    REFUSED(JSON_E_SYNTAX, "{1:1}");
    REFUSED(JSON_E_SYNTAX, "{} {}");
    REFUSED(JSON_E_SYNTAX, "{}x");
    REFUSED(JSON_E_SYNTAX, "{}\0");
    REFUSED(JSON_E_SYNTAX, "\xEF\xBB\xBF{}");
    REFUSED(JSON_E_SYNTAX, "\xA0{}");
    REFUSED(JSON_E_SYNTAX, "\f{}");
    REFUSED(JSON_E_SYNTAX, "'a'");
    REFUSED(JSON_E_SYNTAX, "\"a");
    REFUSED(JSON_E_SYNTAX, "\"a\\");
    REFUSED(JSON_E_SYNTAX, "\"a\\\"");
    REFUSED(JSON_E_SYNTAX, "\"\\x\"");
    REFUSED(JSON_E_SYNTAX, "\"\\u12\"");
    REFUSED(JSON_E_SYNTAX, "\"\\u12g4\"");
    REFUSED(JSON_E_SYNTAX, "\"a\nb\"");
    REFUSED(JSON_E_SYNTAX, "\"a\x1f\"");
    REFUSED(JSON_E_SYNTAX, "\"a\0b\"");
    REFUSED(JSON_E_SYNTAX, "/**/1");
    REFUSED(JSON_E_SYNTAX, "1234567890123456789012345678901234567890123456789012345678901234");
}

TEST(json, refuses_bad_text)
{
    REFUSED(JSON_E_NUL, "\"\\u0000\"");
    REFUSED(JSON_E_NUL, "{\"a\\u0000b\":1}");
    REFUSED(JSON_E_UTF8, "\"\\uD800\"");
    REFUSED(JSON_E_UTF8, "\"\\uDC00\"");
    REFUSED(JSON_E_UTF8, "\"\\uD800\\uD800\"");
    REFUSED(JSON_E_UTF8, "\"\\uD800x\"");
    REFUSED(JSON_E_UTF8, "\"\\uD800\\n12345\"");
    REFUSED(JSON_E_UTF8, "\"\xC0\x80\"");
    REFUSED(JSON_E_UTF8, "\"\xC1\xBF\"");
    REFUSED(JSON_E_UTF8, "\"\xE0\x9F\xBF\"");
    REFUSED(JSON_E_UTF8, "\"\xF0\x8F\xBF\xBF\"");
    REFUSED(JSON_E_UTF8, "\"\xED\xA0\x80\"");
    REFUSED(JSON_E_UTF8, "\"\xED\xBF\xBF\"");
    REFUSED(JSON_E_UTF8, "\"\xF4\x90\x80\x80\"");
    REFUSED(JSON_E_UTF8, "\"\xF5\x80\x80\x80\"");
    REFUSED(JSON_E_UTF8, "\"\x80\"");
    REFUSED(JSON_E_UTF8, "\"\xC3\"");
    REFUSED(JSON_E_UTF8, "\"\xE2\x82\"");
    REFUSED(JSON_E_UTF8, "\"\xFF\"");
    REFUSED(JSON_E_UTF8, "{\"\xFF\":1}");
    REFUSED(JSON_E_UTF8, "\"0123456789012345678901234567890\xFF\"");
}

TEST(json, nesting)
{
    CHECK_INT(parse("[[[]]]", 6, 3), 0);
    CHECK_INT(parse("[[[]]]", 6, 2), JSON_E_DEPTH);
    CHECK_INT(parse("{\"a\":{\"a\":{}}}", 14, 2), JSON_E_DEPTH);
    CHECK_INT(parse("[[],[],[[]]]", 12, 3), 0);
    CHECK_INT(parse("1", 1, 0), 0);
    CHECK_INT(parse("[]", 2, 0), JSON_E_DEPTH);
    static char deep[1 << 20];
    memset(deep, '[', sizeof(deep));
    CHECK_INT(parse(deep, sizeof(deep), SIZE_MAX), JSON_E_DEPTH);
    CHECK_INT(parse(deep, JSON_DEPTH_MAX, SIZE_MAX), JSON_E_SYNTAX);
    memset(deep + JSON_DEPTH_MAX, ']', JSON_DEPTH_MAX);
    CHECK_INT(parse(deep, 2 * JSON_DEPTH_MAX, SIZE_MAX), 0);
}

TEST(json, duplicates)
{
    REFUSED(JSON_E_DUPLICATE, "{\"a\":1,\"a\":1}");
    REFUSED(JSON_E_DUPLICATE, "{\"a\":1,\"\\u0061\":1}");
    REFUSED(JSON_E_DUPLICATE, "[{\"b\":[{\"x\":1,\"y\":2,\"x\":3}]}]");
    REFUSED(JSON_E_DUPLICATE, "{\"\":1,\"\":1}");
    REFUSED(0, "[{\"a\":1},{\"a\":1}]");
    REFUSED(0, "{\"a\":{\"a\":{\"a\":1}}}");
}

TEST(json, duplicates_in_a_huge_object)
{
    enum { N = 100000 };
    char *text = malloc(N * 10 + 16);
    size_t n = (size_t)sprintf(text, "{");
    for (int i = 0; i < N; i++)
        n += (size_t)sprintf(text + n, "%s\"%d\":0", i ? "," : "", i);
    text[n] = '}';
    CHECK_INT(parse(text, n + 1, 4), 0);
    n += (size_t)sprintf(text + n, ",\"%d\":0}", 4711);
    CHECK_INT(parse(text, n, 4), JSON_E_DUPLICATE);
    free(text);
}

static bool whole(const char *text, int64_t *number)
{
    struct json_fault fault;
    struct json *json;
    CHECK_INT(json_parse(&json, text, strlen(text), 4, &fault), 0);
    bool is = json_integer(json_first(json), number);
    json_free(json);
    return is;
}

TEST(json, whole_numbers)
{
    int64_t n;
    CHECK(whole("[0]", &n) && n == 0);
    CHECK(whole("[-0]", &n) && n == 0);
    CHECK(whole("[9007199254740992]", &n) && n == INT64_C(9007199254740992));
    CHECK(whole("[-9007199254740992]", &n) && n == INT64_C(-9007199254740992));
    CHECK(!whole("[9007199254740993]", &n));
    CHECK(!whole("[-9007199254740993]", &n));
    CHECK(!whole("[18446744073709551617]", &n));
    CHECK(whole("[1e3]", &n) && n == 1000);
    CHECK(whole("[1E+2]", &n) && n == 100);
    CHECK(whole("[1200e-2]", &n) && n == 12);
    CHECK(whole("[0e999999999999]", &n) && n == 0);
    CHECK(whole("[9000000000000000]", &n) && n == INT64_C(9000000000000000));
    CHECK(!whole("[1e16]", &n));
    CHECK(!whole("[1e999]", &n));
    CHECK(!whole("[1e-1]", &n));
    CHECK(!whole("[12e-2]", &n));
    CHECK(!whole("[1.0]", &n));
    CHECK(!whole("[1.5e1]", &n));
    CHECK(!whole("[9007199254740990.6]", &n));
    CHECK(!whole("[\"1\"]", &n));
    CHECK(!whole("[true]", &n));
}

/* The marks must land on the right numbers, whatever stands between them. */
TEST(json, whole_numbers_among_others)
{
    static const char text[] =
        "{\"1.5\":[1,1.5,\"2.5 \\\" -3\"],\"-7\":{\"x\":2,\"y\":[2.5]},\"z\":3}";
    struct json_fault fault;
    struct json *json;
    int64_t n;
    CHECK_INT(json_parse(&json, text, sizeof(text) - 1, 8, &fault), 0);
    const struct json *first = json_first(json);
    CHECK_INT(json_length(first), 3);
    CHECK(json_integer(json_first(first), &n) && n == 1);
    CHECK(!json_integer(json_next(json_first(first)), &n));
    CHECK(json_integer(json_member(json_next(first), "x"), &n) && n == 2);
    CHECK(!json_integer(json_first(json_member(json_next(first), "y")), &n));
    CHECK(json_integer(json_member(json, "z"), &n) && n == 3);
    CHECK(json_member(json, "Z") == NULL);
    json_free(json);
}

TEST(json, utf8_prefix)
{
    static const struct {
        const char *text;
        size_t n, valid;
        bool incomplete;
    } cases[] = {
        {"", 0, 0, false},
        {"abcdefghijklmnop", 16, 16, false},
        {"abcdefghij\xC3", 11, 10, true},
        {"a\xE2\x82", 3, 1, true},
        {"a\xE2\x28", 3, 1, false},
        {"\xF0\x9F\x98", 3, 0, true},
        {"\xF0\x9F\x98\x80", 4, 4, false},
        {"\xED\xA0", 2, 0, false},
        {"\xF4\x90", 2, 0, false},
        {"\xE0", 1, 0, true},
        {"\xC0", 1, 0, false},
        {"ab\0cd", 5, 2, false},
        {"abcdefg\0ijklmnop", 16, 7, false},
        {"abcdefgh\xFF", 9, 8, false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        size_t valid;
        bool incomplete;
        CHECK_INT(json_utf8_valid(cases[i].text, cases[i].n, &valid, &incomplete),
                  cases[i].valid == cases[i].n);
        CHECK_INT(valid, cases[i].valid);
        CHECK_INT(incomplete, cases[i].incomplete);
    }
}

TEST(json, arena)
{
    struct json_arena arena = {0};
    for (size_t n = 0; n < 3000; n += 7) {
        char *memory = json_arena_alloc(&arena, n);
        CHECK(memory && (uintptr_t)memory % 16 == 0);
        memset(memory, 1, n);
    }
    CHECK(json_arena_alloc(&arena, SIZE_MAX - 8) == NULL);
    json_arena_deinit(&arena);
    json_arena_deinit(&arena);
}
