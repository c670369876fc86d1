#pragma once
/*
 * receive: what a TCPReceive takes from the bytes that are there. Pure: bytes in, a verdict out.
 *
 * Threads: any; no state but the caller's.
 */
#include <stdbool.h>
#include <stddef.h>

/* What is wished for; at most one of exact and n_until is not 0. */
struct receive_wish {
    size_t max_bytes; /* > 0 */
    size_t exact;     /* exactly so many; may be more than max_bytes */
    const char *until;
    size_t n_until;
    bool utf8;      /* the bytes must be whole UTF-8 characters without NUL */
    size_t scanned; /* no delimiter begins before this byte; receive_decide() keeps it */
};

enum receive_verdict {
    RECEIVE_WAIT,     /* more bytes are needed */
    RECEIVE_TAKE,     /* *ret_n bytes */
    RECEIVE_END,      /* nothing left, and nothing will come */
    RECEIVE_NOT_UTF8, /* not text: take it as base64 */
    RECEIVE_NUL,      /* a NUL byte: take it as base64 */
    RECEIVE_NO_ROOM,  /* the next character is longer than what may be taken */
};

/* ended: nothing will come after these n bytes. Nothing is consumed here. */
enum receive_verdict receive_decide(struct receive_wish *wish, const char *data, size_t n,
                                    bool ended, size_t *ret_n);
/* How many bytes must be there at once, at most, to satisfy it. */
size_t receive_room(const struct receive_wish *wish);
