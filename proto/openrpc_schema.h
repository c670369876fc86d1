#pragma once
/*
 * openrpc_schema: field tables as JSON Schema draft-07, the dialect of OpenRPC.
 *
 * Where the schema language cannot say what the table does (lengths in bytes, ranges of numbers in
 * text), the schema allows more than the daemon, never less, and its description has the rule in
 * words.
 *
 * Threads:   any; constant data.
 * Ownership: nothing is kept.
 * Errors:    the writer's (sticky).
 */
#include <stdbool.h>
#include <stddef.h>

#include "proto/fields.h"

/* in: what a caller gives, with the table's limits and defaults; else what the daemon answers,
 * whose lengths are no promise. */
enum schema_side { SCHEMA_PARAM, SCHEMA_RESULT };

/* One member's schema. doc: with the description of its meaning. */
void schema_field(struct writer *writer, const struct field *field, enum schema_side side,
                  bool doc);
/* A whole shape; unknown members are allowed (results may grow). */
void schema_object(struct writer *writer, const struct field_table *table);
/* {"$ref":"#/components/<folder>/<name>"} */
void schema_reference(struct writer *writer, const char *folder, const char *name);
/* The member's meaning in words, with its limits and other name. */
void schema_describe(const struct field *field, enum schema_side side, char *text, size_t n_text);
