/* However the bytes are split, the same lines come out. The first two bytes: the limit of a line,
 * the size of the pieces. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proto/frame.h"

struct result {
    uint64_t hash;
    size_t n_lines, n_too_long;
};

static void run(const uint8_t *data, size_t n, size_t piece, size_t max_line, struct result *result)
{
    struct frame frame;
    size_t at = 0;
    int r;

    frame_init(&frame, max_line);
    for (;;) {
        const char *line;
        char *space;
        size_t n_line, n_space, n_now;
        while ((r = frame_next(&frame, &line, &n_line)) == 0 || r == FRAME_E_TOO_LONG) {
            result->n_lines += r == 0;
            result->n_too_long += r != 0;
            result->hash = result->hash * 31 + (uint64_t)r;
            if (r != 0)
                continue;
            if (n_line == 0 || n_line > max_line || memchr(line, '\n', n_line))
                abort();
            for (size_t i = 0; i < n_line; i++)
                result->hash = result->hash * 1099511628211u + (uint8_t)line[i] + 1;
        }
        if (r == FRAME_E_END)
            break;
        if (r != FRAME_E_NONE)
            abort();
        if (at == n) {
            frame_end(&frame);
            continue;
        }
        if (frame_space(&frame, &space, &n_space) != 0 || n_space == 0)
            abort();
        n_now = n - at < piece ? n - at : piece;
        n_now = n_now < n_space ? n_now : n_space;
        memcpy(space, data + at, n_now);
        frame_filled(&frame, n_now);
        at += n_now;
    }
    if (frame_pending(&frame) != 0)
        abort();
    frame_deinit(&frame);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct result whole = {0}, pieces = {0};
    if (n < 2)
        return 0;
    run(data + 2, n - 2, SIZE_MAX, 1 + data[0], &whole);
    run(data + 2, n - 2, 1 + (size_t)data[1] % 32, 1 + data[0], &pieces);
    if (whole.hash != pieces.hash || whole.n_lines != pieces.n_lines ||
        whole.n_too_long != pieces.n_too_long)
        abort();
    return 0;
}
