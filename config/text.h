#pragma once
/*
 * text: the bytes of a line.
 *
 * Threads:   any.
 * Ownership: nothing is kept.
 * Errors:    none.
 */
#include <stddef.h>

/* What keeps these bytes from being a line of text, or NULL; *ret_column counts bytes from 1. */
const char *text_bad_bytes(const char *text, size_t n, size_t *ret_column);

/* Without the blanks around it; text is cut. */
char *text_trim(char *text);
