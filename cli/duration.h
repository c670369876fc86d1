#pragma once
/*
 * duration: times as people write them.
 *
 * Threads: any. Ownership: nothing. Errors: false.
 */
#include <stdbool.h>
#include <stdint.h>

/* A whole number with its unit, ms, s, m or h, as in the daemon's configuration. */
bool duration_parse(const char *text, int64_t *ret_ms);
