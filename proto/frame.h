#pragma once
/*
 * frame: bytes in, lines out. The framing of section 1: a line ends with \n, a \r before it is
 * dropped, empty lines are ignored, a line over the limit is reported once and its rest discarded,
 * the last line before the end of file counts without its \n.
 *
 * Sans-IO: the caller reads into frame_space() and takes lines with frame_next().
 *
 * Threads:   any; one frame belongs to one thread at a time.
 * Ownership: lines point into the frame's buffer and die with the next frame_space() or
 * frame_next(). Errors:    FRAME_E_*; -ENOMEM. Limits:    max_line bytes a line (without its end).
 * The buffer grows as needed up to that and shrinks when idle.
 */
#include <stdbool.h>
#include <stddef.h>

enum {
    FRAME_E_NONE = 1, /* no complete line yet: read more */
    FRAME_E_TOO_LONG, /* a line was over the limit; it is being discarded, go on as usual */
    FRAME_E_END,      /* after frame_end(): nothing left */
};

struct frame {
    char *data;
    size_t start;   /* first byte not yet taken */
    size_t end;     /* end of the bytes read */
    size_t scanned; /* no \n before this */
    size_t capacity;
    size_t max_line;
    bool discarding; /* inside a line that was too long */
    bool ended;
};

void frame_init(struct frame *frame, size_t max_line);
void frame_deinit(struct frame *frame);

/* Where to read to: at least 1 byte, usually 64 KiB. Returns 0 or -ENOMEM. */
__attribute__((warn_unused_result)) int frame_space(struct frame *frame, char **ret_space,
                                                    size_t *ret_n);
/* n bytes were read into that space. */
void frame_filled(struct frame *frame, size_t n);
/* The end of file was read. */
void frame_end(struct frame *frame);

/* The next line, without its end. Returns 0 or FRAME_E_*. */
__attribute__((warn_unused_result)) int frame_next(struct frame *frame, const char **ret_line,
                                                   size_t *ret_n);
/* Give up the line that is being read, after FRAME_E_NONE: its rest is discarded, as if it were too
 * long. */
void frame_give_up(struct frame *frame);
/* Bytes read but not taken yet. */
size_t frame_pending(const struct frame *frame);
/* Give the buffer back when nothing is pending: an idle client costs no memory. */
void frame_trim(struct frame *frame);
