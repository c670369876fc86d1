#pragma once
/*
 * list: options of type LIST: items divided by commas or blanks, each of the kind its option names.
 *
 * Threads:   any; no shared state.
 * Ownership: a struct config_list owns its items.
 * Errors:    CONFIG_E_INVALID with a text; < 0 -ENOMEM.
 * Limits:    the option's number of items; LIST_MAX_TEXT, so that a list fits a line.
 */
#include <stdbool.h>
#include <stddef.h>

#include "config/config.h"

enum {
    LIST_MAX_TEXT = 4000,  /* bytes of a list as list_format() writes it */
    LIST_WRONG_SIZE = 160, /* of buffers for what is wrong with one */
};

/* What the items are, or what a text is: the words of an option of type LIST or STRING. */
struct list_kind {
    const char *name;
    const char *items;                  /* "users (names or numbers)"; of a STRING: "HOST:PORT" */
    const char *(*check)(const char *); /* what is wrong with an item, NULL: nothing */
};

const struct list_kind *list_kind(const char *name); /* NULL: there is none */

/* Replaces what list holds. CONFIG_E_INVALID: list is as before, and wrong (LIST_WRONG_SIZE bytes)
 * goes on behind the text that was to be read. */
__attribute__((warn_unused_result)) int list_read(const struct list_kind *kind, const char *text,
                                                  size_t max, struct config_list *list,
                                                  char *wrong);
void list_format(const struct config_list *list, char *text, size_t n_text);

/* Leaves an empty list. */
void list_deinit(struct config_list *list);
