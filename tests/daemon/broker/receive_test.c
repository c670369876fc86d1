/* receive: what a TCPReceive takes, as a table of cases. */
#include "broker/receive.h"
#include "support/test.h"

struct wish_case {
    const char *name;
    size_t max_bytes, exact;
    const char *until;
    bool utf8, ended;
    const char *data;
    size_t n_data;
    enum receive_verdict verdict;
    size_t n;
};

#define DATA(text) text, sizeof(text) - 1

static const struct wish_case cases[] = {
    {"nothing there", 10, 0, NULL, false, false, DATA(""), RECEIVE_WAIT, 0},
    {"the end", 10, 0, NULL, false, true, DATA(""), RECEIVE_END, 0},
    {"the end is no exact", 10, 3, NULL, false, true, DATA(""), RECEIVE_END, 0},
    {"some", 10, 0, NULL, false, false, DATA("abc"), RECEIVE_TAKE, 3},
    {"at most", 2, 0, NULL, false, false, DATA("abc"), RECEIVE_TAKE, 2},
    {"exact, too few", 10, 4, NULL, false, false, DATA("abc"), RECEIVE_WAIT, 0},
    {"exact", 10, 3, NULL, false, false, DATA("abcd"), RECEIVE_TAKE, 3},
    {"exact over max_bytes", 2, 3, NULL, false, false, DATA("abcd"), RECEIVE_TAKE, 3},
    {"exact at the end gives the rest", 10, 4, NULL, false, true, DATA("abc"), RECEIVE_TAKE, 3},
    {"until, not there", 10, 0, "\n", false, false, DATA("abc"), RECEIVE_WAIT, 0},
    {"until", 10, 0, "\n", false, false, DATA("ab\ncd"), RECEIVE_TAKE, 3},
    {"until, half of it", 10, 0, "\r\n", false, false, DATA("ab\r"), RECEIVE_WAIT, 0},
    {"until, of two bytes", 10, 0, "\r\n", false, false, DATA("ab\r\nc"), RECEIVE_TAKE, 4},
    {"until, overlapping with itself", 10, 0, "aab", false, false, DATA("aaab"), RECEIVE_TAKE, 4},
    {"until, over max_bytes", 3, 0, "\n", false, false, DATA("abcd\n"), RECEIVE_TAKE, 3},
    {"until, ending at max_bytes", 3, 0, "\n", false, false, DATA("ab\nd"), RECEIVE_TAKE, 3},
    {"until at the end gives the rest", 10, 0, "\n", false, true, DATA("abc"), RECEIVE_TAKE, 3},
    {"text", 10, 0, NULL, true, false, DATA("gr\xc3\xbc\xc3\x9f"), RECEIVE_TAKE, 6},
    {"half a character is kept", 10, 0, NULL, true, false, DATA("gr\xc3"), RECEIVE_TAKE, 2},
    {"cut by max_bytes", 3, 0, NULL, true, false, DATA("gr\xc3\xbc"), RECEIVE_TAKE, 2},
    {"only half a character", 10, 0, NULL, true, false, DATA("\xe2\x82"), RECEIVE_WAIT, 0},
    {"half a character at the end", 10, 0, NULL, true, true, DATA("\xe2\x82"), RECEIVE_NOT_UTF8, 0},
    {"no room for it", 2, 0, NULL, true, false, DATA("\xe2\x82\xac"), RECEIVE_NO_ROOM, 0},
    {"no room, ever", 2, 0, NULL, true, false, DATA("\xe2\x82"), RECEIVE_NO_ROOM, 0},
    {"exact inside a character", 10, 1, NULL, true, false, DATA("\xc3\xbc"), RECEIVE_NO_ROOM, 0},
    {"exact ends inside a character", 10, 3, NULL, true, false, DATA("\xc3\xbc\xc3\xbc"),
     RECEIVE_NO_ROOM, 0},
    {"exact of whole characters", 10, 4, NULL, true, false, DATA("\xc3\xbc\xc3\xbcx"), RECEIVE_TAKE,
     4},
    {"not text", 10, 0, NULL, true, false, DATA("ab\xff"), RECEIVE_NOT_UTF8, 0},
    {"a surrogate", 10, 0, NULL, true, false, DATA("\xed\xa0\x80"), RECEIVE_NOT_UTF8, 0},
    {"NUL", 10, 0, NULL, true, false, DATA("a\0b"), RECEIVE_NUL, 0},
    {"NUL behind what is taken", 1, 0, NULL, true, false, DATA("a\0b"), RECEIVE_TAKE, 1},
    {"NUL as bytes", 10, 0, NULL, false, false, DATA("a\0b"), RECEIVE_TAKE, 3},
};

TEST(receive, cases)
{
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct wish_case *c = &cases[i];
        struct receive_wish wish = {.max_bytes = c->max_bytes,
                                    .exact = c->exact,
                                    .until = c->until,
                                    .n_until = c->until ? strlen(c->until) : 0,
                                    .utf8 = c->utf8};
        size_t n = 0;
        enum receive_verdict verdict = receive_decide(&wish, c->data, c->n_data, c->ended, &n);
        if (verdict != c->verdict || n != c->n)
            fprintf(stderr, "case \"%s\": verdict %d, %zu bytes\n", c->name, (int)verdict, n);
        CHECK(verdict == c->verdict);
        CHECK(verdict != RECEIVE_TAKE || n == c->n);
    }
}

/* However the bytes arrive, the same is taken in the end. */
TEST(receive, until_byte_by_byte)
{
    static const char text[] = "xaaabaab--";
    struct receive_wish wish = {.max_bytes = 100, .until = "aab-", .n_until = 4};
    size_t n = 0, there = 0;

    while (receive_decide(&wish, text, there, false, &n) == RECEIVE_WAIT)
        there++;
    CHECK_INT(there, 9);
    CHECK_INT(n, 9);
}

TEST(receive, room)
{
    struct receive_wish wish = {.max_bytes = 7};
    CHECK_INT(receive_room(&wish), 7);
    wish.exact = 99;
    CHECK_INT(receive_room(&wish), 99);
}
