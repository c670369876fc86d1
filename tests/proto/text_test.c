/* Text from elsewhere, made fit to be shown. */
#include "proto/text.h"

#include "support/test.h"

static void tidied(const char *source, size_t n_target, const char *expected)
{
    char target[64];

    memset(target, 'x', sizeof(target));
    text_tidy(target, n_target, source);
    CHECK_STRING(target, expected);
    CHECK(n_target == sizeof(target) || target[n_target] == 'x');
}

TEST(text, tidy_keeps_text)
{
    tidied("", 64, "");
    tidied("a b \"c\"", 64, "a b \"c\"");
    tidied("\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", 64, "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80");
}

TEST(text, tidy_shows_what_is_none)
{
    tidied("a\nb\x1b[31m\x7f", 64, "a?b?[31m?");
    tidied("\xff\xfe\x80", 64, "???");
    tidied("\xc3", 64, "?");
    tidied("\xe2\x82 x", 64, "?? x");
    tidied("\xc0\xaf\xed\xa0\x80", 64, "?????");
}

TEST(text, tidy_cuts_between_characters)
{
    tidied("abc", 1, "");
    tidied("abc", 3, "ab");
    tidied("abc", 4, "abc");
    tidied("a\xc3\xa4", 3, "a");
    tidied("a\xc3\xa4", 4, "a\xc3\xa4");
    tidied("\xf0\x9f\x98\x80", 4, "");
    tidied("\xff\xff", 2, "?");
}
