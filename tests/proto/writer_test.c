#include "proto/json.h"
#include "proto/writer.h"
#include "support/test.h"

static void check_written(struct writer *writer, const char *wanted)
{
    writer_raw(writer, "", 1);
    CHECK(!writer_failed(writer));
    CHECK_STRING(writer->data, wanted);
    writer_deinit(writer);
}

TEST(writer, commas)
{
    struct writer writer = WRITER_INIT;
    writer_object_begin(&writer);
    writer_key(&writer, "a");
    writer_array_begin(&writer);
    writer_int(&writer, 1);
    writer_null(&writer);
    writer_array_begin(&writer);
    writer_array_end(&writer);
    writer_object_begin(&writer);
    writer_object_end(&writer);
    writer_bool(&writer, false);
    writer_array_end(&writer);
    writer_key(&writer, "b");
    writer_bool(&writer, true);
    writer_key(&writer, "c");
    writer_raw_value(&writer, "[0]", 3);
    writer_object_end(&writer);
    writer_raw(&writer, "\n", 1);
    writer_object_begin(&writer);
    writer_object_end(&writer);
    check_written(&writer, "{\"a\":[1,null,[],{},false],\"b\":true,\"c\":[0]}\n{}");
}

TEST(writer, integers)
{
    static const struct {
        int64_t value;
        const char *text;
    } cases[] = {{0, "0"},
                 {-1, "-1"},
                 {9007199254740993, "9007199254740993"},
                 {1000000000000000000, "1000000000000000000"},
                 {INT64_MAX, "9223372036854775807"},
                 {INT64_MIN, "-9223372036854775808"}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct writer writer = WRITER_INIT;
        writer_int(&writer, cases[i].value);
        check_written(&writer, cases[i].text);
    }
}

TEST(writer, numbers)
{
    static const struct {
        double value;
        const char *text;
    } cases[] = {{0, "0"},           {-0.0, "0"},       {0.5, "0.5"},
                 {12.345, "12.345"}, {-1.0004, "-1"},   {0.0004, "0"},
                 {-0.0004, "0"},     {0.9996, "1"},     {1e15, "1000000000000000"},
                 {-7.05, "-7.05"},   {1e300, "1e+300"}, {999999999999999.0, "999999999999999"},
                 {0.001, "0.001"}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct writer writer = WRITER_INIT;
        writer_number(&writer, cases[i].value);
        check_written(&writer, cases[i].text);
    }
    struct writer writer = WRITER_INIT;
    writer_number(&writer, __builtin_inf());
    check_written(&writer, "null");
}

TEST(writer, escapes)
{
    struct writer writer = WRITER_INIT;
    writer_string(&writer, "\"\\\b\f\n\r\t\x01\x1f\x7f/\xC3\xA4");
    check_written(&writer, "\"\\\"\\\\\\b\\f\\n\\r\\t\\u0001\\u001f\x7f/\xC3\xA4\"");
}

/* A character to escape at every place of texts of every length around the fast path's step. */
TEST(writer, escapes_at_every_place)
{
    for (size_t n = 1; n < 100; n++)
        for (size_t at = 0; at < n; at++) {
            struct writer writer = WRITER_INIT;
            struct json_fault fault;
            struct json *json;
            char text[100];
            memset(text, 'x', n);
            text[n] = '\0';
            text[at] = "\"\\\n\x01"[at % 4];
            writer_text(&writer, text, n);
            CHECK_INT(json_parse(&json, writer.data, writer.n_data, 4, &fault), 0);
            CHECK_STRING(json_string(json), text);
            json_free(json);
            writer_deinit(&writer);
        }
}

TEST(writer, all_escapes_grow_the_buffer)
{
    struct writer writer = WRITER_INIT;
    static char text[5000];
    memset(text, 1, sizeof(text));
    writer_text(&writer, text, sizeof(text));
    CHECK_INT(writer.n_data, 6 * sizeof(text) + 2);
    writer_deinit(&writer);
}

TEST(writer, mark_and_rewind)
{
    struct writer writer = WRITER_INIT;
    writer_array_begin(&writer);
    writer_int(&writer, 1);
    struct writer_mark mark = writer_mark(&writer);
    writer_string(&writer, "gone");
    writer_text(&writer, "x", SIZE_MAX / 2);
    CHECK(writer_failed(&writer));
    size_t n = writer.n_data;
    writer_int(&writer, 5);
    writer_array_end(&writer);
    writer_raw(&writer, "\n", 1);
    CHECK_INT(writer.n_data, n);
    writer_rewind(&writer, mark);
    CHECK(!writer_failed(&writer));
    writer_int(&writer, 2);
    writer_array_end(&writer);
    check_written(&writer, "[1,2]");
}

TEST(writer, consume_from_the_front)
{
    struct writer writer = WRITER_INIT;
    writer_raw(&writer, "abcdef", 6);
    writer_consume(&writer, 0);
    writer_consume(&writer, 4);
    CHECK_INT(writer.n_data, 2);
    CHECK(memcmp(writer.data, "ef", 2) == 0);
    writer_consume(&writer, 2);
    CHECK_INT(writer.n_data, 0);
    writer_deinit(&writer);
}
