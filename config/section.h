#pragma once
/*
 * section: section or section "name", as it stands in the head of a section and in --set: taking it
 * apart, finding what it means, and saying what it could have meant.
 *
 * Threads:   as for the struct config.
 * Ownership: nothing is kept; a named section that is begun belongs to struct config.
 * Errors:    CONFIG_E_INVALID, reported; < 0 -ENOMEM.
 */
#include "config/config.h"
#include "config/option.h"

/* Where errors are told; see report_add(). */
struct place {
    struct config_report *report;
    const char *name;
    size_t line;
};

struct section_head {
    char *section;
    char *name; /* NULL: without one */
    char *rest; /* behind the end */
};

/* The section whose options are set. */
struct section_ref {
    const struct option_section *section; /* NULL: none, or one that is not known */
    void *object;
    struct config_named_item *item; /* NULL: a plain one */
};

/* Take text, up to the character end, into pieces; text is cut. NULL, or what is wrong. */
const char *section_read_head(char *text, char end, struct section_head *ret_head);

/* Find the section, and begin a named one that is not there yet. */
__attribute__((warn_unused_result)) int section_open(struct config *config,
                                                     const struct section_head *head,
                                                     const struct place *place,
                                                     struct section_ref *ret_ref);

/* Set an option of it. problem: OPTION_TEXT_SIZE bytes to work in. */
__attribute__((warn_unused_result)) int section_set(const struct section_ref *ref,
                                                    const struct option *option, const char *value,
                                                    const struct place *place, char *problem);

/* Reports a key that the section does not have. Returns CONFIG_E_INVALID. */
int section_unknown_key(const struct section_ref *ref, const char *key, const struct place *place);
