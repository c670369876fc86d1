#pragma once
/*
 * writer: JSON text and lines, appended to one growing buffer.
 *
 * cJSON's printer allocates per value and prints large counters with an exponent; answers are
 * written straight from structs instead. Commas are the writer's business: writer_key() and values
 * put them where they belong.
 *
 * Threads:   any; one writer belongs to one thread at a time.
 * Ownership: the buffer belongs to the writer; writer_steal() hands it out.
 * Errors:    sticky: after a failed allocation every call does nothing and writer_failed() is true.
 * Content before the last writer_mark() can be kept with writer_rewind(). Limits:    none of its
 * own.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct writer {
    char *data;
    size_t n_data;
    size_t capacity;
    bool comma;  /* the next value needs a comma before it */
    bool failed; /* an allocation failed */
};

#define WRITER_INIT ((struct writer){0})

void writer_deinit(struct writer *writer);

/* Make room for n more bytes at least, so that writing that many cannot fail. Returns 0 or -ENOMEM
 * (not sticky). */
__attribute__((warn_unused_result)) int writer_reserve(struct writer *writer, size_t n);
static inline bool writer_failed(const struct writer *writer)
{
    return writer->failed;
}

/* Where the writer stands, and back to it (also clears the failure: what came after the mark is
 * gone). */
struct writer_mark {
    size_t n_data;
    bool comma;
};
struct writer_mark writer_mark(const struct writer *writer);
void writer_rewind(struct writer *writer, struct writer_mark mark);

/* Take n bytes off the front (they were sent). */
void writer_consume(struct writer *writer, size_t n);

void writer_object_begin(struct writer *writer);
void writer_object_end(struct writer *writer);
void writer_array_begin(struct writer *writer);
void writer_array_end(struct writer *writer);
void writer_key(struct writer *writer,
                const char *key); /* key: plain ASCII without quotes, from a table */

void writer_null(struct writer *writer);
void writer_bool(struct writer *writer, bool value);
void writer_int(struct writer *writer, int64_t value);
void writer_number(struct writer *writer, double value);     /* finite; at most 3 decimals */
void writer_string(struct writer *writer, const char *text); /* valid UTF-8, NUL-terminated */
void writer_text(struct writer *writer, const char *text, size_t n); /* valid UTF-8 */
void writer_base64(struct writer *writer, const void *data, size_t n);

/* Bytes as they are, no comma before nor after them: the envelope's fixed parts, a line's end. */
void writer_raw(struct writer *writer, const char *text, size_t n);
/* One value that is already JSON text. */
void writer_raw_value(struct writer *writer, const char *text, size_t n);
