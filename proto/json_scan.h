#pragma once
/*
 * json_scan: is this text strict JSON? Looked at before cJSON builds anything, as cJSON lets much
 * pass (trailing bytes, raw control characters, leading zeros, invalid UTF-8) and cuts strings at
 * \u0000.
 *
 * Threads:   any; no state.
 * Ownership: the text stays the caller's.
 * Errors:    JSON_E_* but JSON_E_DUPLICATE, which needs the unescaped names and is looked for in
 * the tree. Limits:    JSON_DEPTH_MAX; numbers of at most JSON_NUMBER_MAX characters (cJSON's own
 * buffer).
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/json.h"

#define JSON_NUMBER_MAX 63

/* *ret_odd_numbers: some number has a fraction, an exponent or more than 15 digits, so its double
 * alone does not tell whether it is a whole number. Returns 0 or JSON_E_* (fault filled). */
__attribute__((warn_unused_result)) int json_scan(const char *text, size_t n, size_t max_depth,
                                                  bool *ret_odd_numbers, struct json_fault *fault);

/* The next number in text that json_scan() accepted, from *at on; *at moves behind it. False: no
 * more. */
bool json_scan_number(const char *text, size_t n, size_t *at, const char **ret_number,
                      size_t *ret_n_number);

/* Is a number as JSON writes it whole (no fraction; an exponent may be there) and within +-2^53? */
bool json_scan_whole(const char *number, size_t n, int64_t *ret_value);

/* The text of the index-th member's value of the object that is the whole (accepted) text. False:
 * there are fewer. */
bool json_scan_member(const char *text, size_t n, size_t index, const char **ret_value,
                      size_t *ret_n_value);
