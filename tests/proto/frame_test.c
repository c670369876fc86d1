#include "proto/frame.h"
#include "support/test.h"

/* Feed text in pieces of `piece` bytes and note what comes out: lines as they are, '!' for one too
 * long, each with '|'. */
static void run(const char *text, size_t n, size_t piece, size_t max_line, char *out)
{
    struct frame frame;
    size_t at = 0;
    int r;

    frame_init(&frame, max_line);
    *out = '\0';
    for (;;) {
        const char *line;
        size_t n_line, n_space, n_now;
        char *space;
        while ((r = frame_next(&frame, &line, &n_line)) == 0 || r == FRAME_E_TOO_LONG) {
            if (r == 0)
                strncat(out, line, n_line);
            else
                strcat(out, "!");
            strcat(out, "|");
        }
        if (r == FRAME_E_END)
            break;
        CHECK_INT(r, FRAME_E_NONE);
        if (at == n) {
            frame_end(&frame);
            continue;
        }
        CHECK_INT(frame_space(&frame, &space, &n_space), 0);
        CHECK(n_space > 0);
        n_now = n - at < piece ? n - at : piece;
        n_now = n_now < n_space ? n_now : n_space;
        memcpy(space, text + at, n_now);
        frame_filled(&frame, n_now);
        at += n_now;
    }
    CHECK_INT(frame_next(&frame, &(const char *){NULL}, &(size_t){0}), FRAME_E_END);
    CHECK_INT(frame_pending(&frame), 0);
    frame_deinit(&frame);
}

TEST(frame, however_it_is_split)
{
    static const char *const cases[][2] = {
        {"", ""},
        {"a\n", "a|"},
        {"a", "a|"},
        {"a\r", "a|"},
        {"a\r\n\r\n\nb\n", "a|b|"},
        {"a\r\r\n", "a\r|"},
        {"\r", ""},
        {"\n\n\n", ""},
        {"12345678\n", "12345678|"},
        {"12345678\r\nx\n", "12345678|x|"},
        {"12345678", "12345678|"},
        {"12345678\r", "12345678|"},
        {"123456789\nx\n", "!|x|"},
        {"123456789\r\nx", "!|x|"},
        {"123456789", "!|"},
        {"12345678\r\r\nx\n", "!|x|"},
        {"12345678901234567890\n\n\nx\n12345678901234567890", "!|x|!|"},
        {"a\nbb\nccc\ndddd", "a|bb|ccc|dddd|"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        for (size_t piece = 1; piece < 30; piece++) {
            char out[256];
            run(cases[i][0], strlen(cases[i][0]), piece, 8, out);
            CHECK_STRING(out, cases[i][1]);
        }
}

TEST(frame, long_lines_need_no_more_memory_than_the_limit)
{
    struct frame frame;
    size_t too_long = 0;
    size_t max_line = 100000;

    frame_init(&frame, max_line);
    for (int i = 0; i < 300; i++) {
        const char *line;
        size_t n;
        char *space;
        CHECK_INT(frame_space(&frame, &space, &n), 0);
        memset(space, 'x', n);
        frame_filled(&frame, n);
        int r = frame_next(&frame, &line, &n);
        CHECK(r == FRAME_E_NONE || r == FRAME_E_TOO_LONG);
        too_long += r == FRAME_E_TOO_LONG;
        CHECK(frame.capacity <= 4 * max_line);
    }
    CHECK_INT(too_long, 1);
    frame_deinit(&frame);
}

TEST(frame, the_longest_line_arrives_whole)
{
    static char text[(1 << 20) + 3];
    struct frame frame;
    const char *line;
    size_t n, at = 0;
    char *space;

    memset(text, 'y', 1 << 20);
    strcpy(text + (1 << 20), "\r\n");
    frame_init(&frame, 1 << 20);
    while (at < (1 << 20) + 2) {
        CHECK_INT(frame_next(&frame, &line, &n), FRAME_E_NONE);
        CHECK_INT(frame_space(&frame, &space, &n), 0);
        n = n < 4093 ? n : 4093;
        n = n < (1 << 20) + 2 - at ? n : (1 << 20) + 2 - at;
        memcpy(space, text + at, n);
        frame_filled(&frame, n);
        at += n;
    }
    CHECK_INT(frame_next(&frame, &line, &n), 0);
    CHECK_INT(n, 1 << 20);
    CHECK(memcmp(line, text, n) == 0);
    CHECK_INT(frame_pending(&frame), 0);
    frame_trim(&frame);
    CHECK_INT(frame.capacity, 0);
    CHECK_INT(frame_next(&frame, &line, &n), FRAME_E_NONE);
    frame_deinit(&frame);
}

TEST(frame, trim_keeps_what_is_pending)
{
    struct frame frame;
    const char *line;
    size_t n;
    char *space;

    frame_init(&frame, 100);
    CHECK_INT(frame_space(&frame, &space, &n), 0);
    memcpy(space, "a\nb", 3);
    frame_filled(&frame, 3);
    CHECK_INT(frame_next(&frame, &line, &n), 0);
    frame_trim(&frame);
    CHECK_INT(frame_pending(&frame), 1);
    frame_end(&frame);
    CHECK_INT(frame_next(&frame, &line, &n), 0);
    CHECK(n == 1 && line[0] == 'b');
    frame_deinit(&frame);
}
