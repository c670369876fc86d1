#pragma once
/*
 * params: "name=value" words to the JSON object of a method's parameters, typed by the method
 * table.
 *
 *   name=value    as the table says: true/false/yes/no, an integer, a list at its commas, else a
 *                 string
 *   name:=JSON    any JSON value
 *
 * Threads:   any.
 * Ownership: the text is the caller's: free().
 * Errors:    EXIT_USAGE (told), EXIT_ERROR (told).
 */
#include "proto/methods.h"

int params_from_words(enum method method, char **words, size_t n_words, char **ret_json);

/* Parameters given as JSON: is it JSON, and are the members of an object those of the method? What
 * else may be wrong the daemon tells. */
int params_check_json(enum method method, const char *text);
