#pragma once
/*
 * json: strict reading of one JSON text into a tree. The only door to cJSON for reading (with
 * proto/json.c behind it).
 *
 * Strict means RFC 8259 and more: valid UTF-8 (RFC 3629), no \u0000 and no lone surrogate, no
 * duplicate member, bounded nesting (checked before anything is built, so freeing cannot recurse
 * deeply), nothing after the value.
 *
 * Threads:   any; a tree belongs to one thread at a time.
 * Ownership: json_free() frees the tree; an arena's memory is freed with the arena.
 * Errors:    JSON_E_* with struct json_fault; -ENOMEM.
 * Limits:    max_depth (at most JSON_DEPTH_MAX); numbers of 63 characters; size is the caller's
 * (frame.h bounds lines).
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define JSON_DEPTH_MAX 512

struct json; /* a value; never NULL inside a tree */

enum {
    JSON_E_SYNTAX = 1, /* not JSON */
    JSON_E_UTF8,       /* invalid UTF-8 */
    JSON_E_NUL,        /* \u0000 in a string */
    JSON_E_DEPTH,      /* nested deeper than max_depth */
    JSON_E_DUPLICATE,  /* a member twice in one object */
};

struct json_fault {
    size_t position;  /* byte of the text; JSON_E_DUPLICATE: 0, see member */
    char text[160];   /* what is wrong there, in words */
    char member[128]; /* JSON_E_DUPLICATE: the member's name */
};

enum json_type { JSON_NULL, JSON_BOOL, JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT };

/* Read text (n bytes, need not be terminated). Returns 0, JSON_E_* (fault filled) or -ENOMEM. */
__attribute__((warn_unused_result)) int json_parse(struct json **ret_json, const char *text,
                                                   size_t n, size_t max_depth,
                                                   struct json_fault *fault);
struct json *json_free(struct json *json);

/* The same without looking for duplicate members, for who wants to tell in which part of the text
 * they are ... */
__attribute__((warn_unused_result)) int json_parse_unchecked(struct json **ret_json,
                                                             const char *text, size_t n,
                                                             size_t max_depth,
                                                             struct json_fault *fault);
/* ... with this. Returns 0, JSON_E_DUPLICATE (*ret_name: the member's name, as long as the tree
 * lives) or -ENOMEM. deep: also in the values below; false: among json's own members only. O(n log
 * n). */
__attribute__((warn_unused_result)) int json_duplicate(const struct json *json, bool deep,
                                                       const char **ret_name);

enum json_type json_type(const struct json *json);
bool json_bool(const struct json *json);
double json_number(const struct json *json);
/* Is it a whole number within +-2^53 (written without fraction; exponents that give a whole number
 * count)? */
bool json_integer(const struct json *json, int64_t *ret_value);
const char *json_string(const struct json *json); /* NUL-terminated */

size_t json_length(const struct json *json); /* items of an array or object */
const struct json *json_first(const struct json *json);
const struct json *json_next(const struct json *json);
const char *json_key(const struct json *json); /* name of an object's member */
const struct json *json_member(const struct json *json, const char *key); /* exact name, or NULL */

/* Is this text valid UTF-8 without NUL? *ret_valid: length of the longest valid prefix that ends on
 * a character; *ret_incomplete: what follows the prefix could still become a character with more
 * bytes. (RFC 3629) */
bool json_utf8_valid(const char *text, size_t n, size_t *ret_valid, bool *ret_incomplete);

/* Memory that lives as long as one decoded message. */
struct json_arena {
    void *blocks;
};
__attribute__((warn_unused_result)) void *json_arena_alloc(struct json_arena *arena,
                                                           size_t n); /* NULL: no memory */
void json_arena_deinit(struct json_arena *arena);
