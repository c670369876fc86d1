#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proto/frame.h"

#define READ_SIZE     65536u
/* Rather move what is pending to the front than read in smaller pieces than this. */
#define READ_SIZE_MIN 16384u

void frame_init(struct frame *frame, size_t max_line)
{
    *frame = (struct frame){.max_line = max_line};
}

void frame_deinit(struct frame *frame)
{
    free(frame->data);
    *frame = (struct frame){0};
}

static void frame_empty(struct frame *frame)
{
    frame->start = 0;
    frame->end = 0;
    frame->scanned = 0;
}

int frame_space(struct frame *frame, char **ret_space, size_t *ret_n)
{
    size_t n_pending = frame->end - frame->start;

    if (n_pending == 0)
        frame_empty(frame);
    if (frame->capacity - frame->end < READ_SIZE_MIN && frame->start > 0) {
        memmove(frame->data, frame->data + frame->start, n_pending);
        frame->scanned -= frame->start;
        frame->start = 0;
        frame->end = n_pending;
    }
    /* Doubling keeps both this and the moving above linear in the bytes read. */
    if (frame->capacity - frame->end < READ_SIZE_MIN || frame->capacity / 2 < n_pending) {
        size_t capacity = frame->capacity * 2 > READ_SIZE ? frame->capacity * 2 : READ_SIZE;
        char *data = realloc(frame->data, capacity);
        if (data) {
            frame->data = data;
            frame->capacity = capacity;
        } else if (frame->capacity == frame->end) {
            return -ENOMEM;
        }
    }
    *ret_space = frame->data + frame->end;
    *ret_n = frame->capacity - frame->end;
    if (*ret_n > READ_SIZE)
        *ret_n = READ_SIZE;
    return 0;
}

void frame_filled(struct frame *frame, size_t n)
{
    frame->end += n;
}

void frame_end(struct frame *frame)
{
    frame->ended = true;
}

size_t frame_pending(const struct frame *frame)
{
    return frame->end - frame->start;
}

void frame_trim(struct frame *frame)
{
    if (frame->start != frame->end)
        return;
    free(frame->data);
    frame->data = NULL;
    frame->capacity = 0;
    frame_empty(frame);
}

void frame_give_up(struct frame *frame)
{
    frame->start = frame->end;
    frame->discarding = true;
    frame_trim(frame);
}

/* The position of the next \n, or frame->end. */
static size_t find_end(struct frame *frame)
{
    const char *found = NULL;
    if (frame->scanned < frame->start)
        frame->scanned = frame->start;
    if (frame->scanned < frame->end)
        found = memchr(frame->data + frame->scanned, '\n', frame->end - frame->scanned);
    frame->scanned = found ? (size_t)(found - frame->data) : frame->end;
    return frame->scanned;
}

/* Take [start, line_end) as a line; 0, FRAME_E_TOO_LONG or, when it is empty, FRAME_E_NONE. */
static int take(struct frame *frame, size_t line_end, size_t next, const char **ret_line,
                size_t *ret_n)
{
    const char *line = frame->data + frame->start;
    size_t n = line_end - frame->start;

    frame->start = next;
    if (n > 0 && line[n - 1] == '\r')
        n--;
    if (n == 0)
        return FRAME_E_NONE;
    if (n > frame->max_line)
        return FRAME_E_TOO_LONG;
    *ret_line = line;
    *ret_n = n;
    return 0;
}

int frame_next(struct frame *frame, const char **ret_line, size_t *ret_n)
{
    for (;;) {
        size_t line_end = find_end(frame);
        bool complete = line_end < frame->end;
        size_t n = line_end - frame->start;
        int r;

        if (frame->discarding) {
            frame->start = complete ? line_end + 1 : frame->end;
            if (complete || frame->ended)
                frame->discarding = false;
            if (complete)
                continue;
            return frame->ended ? FRAME_E_END : FRAME_E_NONE;
        }
        if (complete || (frame->ended && n > 0)) {
            r = take(frame, line_end, complete ? line_end + 1 : line_end, ret_line, ret_n);
            if (r == FRAME_E_NONE)
                continue;
            return r;
        }
        if (frame->ended)
            return FRAME_E_END;
        /* One more than allowed may still be the \r of a line of just the right length. */
        if (n > frame->max_line &&
            (n - frame->max_line > 1 || frame->data[frame->end - 1] != '\r')) {
            frame->discarding = true;
            frame->start = frame->end;
            return FRAME_E_TOO_LONG;
        }
        return FRAME_E_NONE;
    }
}
