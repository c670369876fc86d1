#pragma once
/*
 * label: the name of a client's thread, as the client gives it: a string of 1..64 bytes, an
 * integer, or none (the session's unnamed thread). 7 and "7" are different labels.
 *
 * Threads: any; a value.
 */
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "proto/fields.h"

enum label_kind { LABEL_UNNAMED = 0, LABEL_INTEGER, LABEL_TEXT };

struct label {
    uint8_t kind;
    uint8_t n_text;
    char text[65]; /* NUL-terminated */
    int64_t number;
};

/* present: the request had a thread member. Its length was checked by the field table. */
struct label label_from(bool present, const struct proto_thread *thread);
/* false: the unnamed thread, nothing to tell. *ret_thread points into label. */
bool label_to(const struct label *label, struct proto_thread *ret_thread);
bool label_equal(const struct label *a, const struct label *b);
