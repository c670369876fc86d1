/* label: what is the same thread, and what is not. */
#include "broker/label.h"
#include "support/test.h"

static struct label text(const char *name)
{
    return label_from(true, &(struct proto_thread){.text = name});
}
static struct label number(int64_t n)
{
    return label_from(true, &(struct proto_thread){.number = n});
}

TEST(label, equality)
{
    struct label none = label_from(false, NULL), seven = number(7), seven_text = text("7"),
                 zero = number(0);
    char longest[65], other[65];

    memset(longest, 'a', 64);
    longest[64] = '\0';
    memcpy(other, longest, sizeof(other));
    other[63] = 'b';
    struct label a = text(longest), b = text(longest), c = text(other), short_one = text("a");
    CHECK(label_equal(&none, &none));
    CHECK(!label_equal(&none, &zero));
    CHECK(!label_equal(&seven, &seven_text));
    CHECK(label_equal(&a, &b));
    CHECK(!label_equal(&a, &c));
    CHECK(!label_equal(&a, &short_one));
}

TEST(label, back)
{
    struct proto_thread thread;
    struct label none = label_from(false, NULL), name = text("worker"), minus = number(-3);

    CHECK(!label_to(&none, &thread));
    CHECK(label_to(&name, &thread));
    CHECK_STRING(thread.text, "worker");
    CHECK(label_to(&minus, &thread));
    CHECK(thread.text == NULL);
    CHECK_INT(thread.number, -3);
}
