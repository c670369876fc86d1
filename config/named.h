#pragma once
/*
 * named: the sections with a name of a struct config: making them, what they inherit from the plain
 * section, what must hold in each.
 *
 * Threads:   as for the struct config they belong to.
 * Ownership: struct config owns them; pointers to items are good until it is freed.
 * Errors:    CONFIG_E_INVALID, reported; < 0 -ENOMEM.
 * Limits:    named_max() of each kind.
 */
#include "config/config.h"
#include "config/option.h"

/* So many there may be. */
size_t named_max(enum config_kind kind);

/* NULL: there is none */
struct config_named_item *named_find(struct config *config, const struct option_section *section,
                                     const char *name);

/* An item with all presets, and what it inherits. There is none of that name, and room for it. */
__attribute__((warn_unused_result)) int named_add(struct config *config,
                                                  const struct option_section *section,
                                                  const char *name, size_t line,
                                                  struct config_named_item **ret_item);

/* An option was read from value. One that inherits counts as set only when value is something. */
void named_mark(struct config_named_item *item, const struct option *option, const char *value);
bool named_sets(const struct config_named_item *item, const struct option *option);

/* All that is not set becomes what the plain sections say: after they, or marks, have changed. */
__attribute__((warn_unused_result)) int named_inherit(struct config *config);

/* What must hold in each of them; see config_check(). */
int named_check(const struct config *config, const char *name, struct config_report *report);

/* Frees all of them. */
void named_deinit(struct config *config);
