#pragma once
/*
 * option: options.def as a table, and what one option can do: be found, be read from text, be
 * described and written.
 *
 * Threads:   any; constant data, no shared state.
 * Ownership: the table is static; strings that option_read() makes belong to the struct config.
 * Errors:    CONFIG_E_INVALID with a text; < 0 -ENOMEM.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config/config.h"

enum option_type {
    OPTION_BOOL,
    OPTION_INT,
    OPTION_SIZE,
    OPTION_DURATION,
    OPTION_STRING,
    OPTION_PATH,
    OPTION_MODE,
    OPTION_WORD,
};

/* see options.def */
struct option {
    const char *section;
    const char *key;
    enum option_type type;
    size_t offset; /* in struct config */
    const char *preset;
    int64_t min, max;
    const char *words;
    const char *special;
    const char *doc;
};

struct option_section {
    const char *name;
    const char *doc;
};

enum {
#define SECTION(section, doc)
#define OPTION(section, key, TYPE, preset, min, max, words, special, doc) OPTION_##section##_##key,
#include "config/options.def"
#undef SECTION
#undef OPTION
    OPTION_N
};

enum {
#define SECTION(section, doc) OPTION_SECTION_##section,
#define OPTION(section, key, TYPE, preset, min, max, words, special, doc)
#include "config/options.def"
#undef SECTION
#undef OPTION
    OPTION_SECTION_N
};

enum {
    OPTION_TEXT_SIZE = 512, /* of buffers for problems and descriptions */
};

extern const struct option options[OPTION_N];
extern const struct option_section option_sections[OPTION_SECTION_N];

const struct option *option_by_name(const char *section, const char *key); /* NULL: there is none */
const struct option *
option_by_key(const char *key); /* the first with that key in any section, or NULL */
bool option_section_exists(const char *section);

/* The name most like a mistyped one, or NULL when none is near. section NULL: any. */
const struct option *option_nearest(const char *section, const char *key);
const char *option_nearest_section(const char *section);

/*
 * Read value (without blanks around it, without control characters) into its member of config.
 * CONFIG_E_INVALID: config is as before and problem (OPTION_TEXT_SIZE bytes) says what is wrong and
 * what is expected.
 */
__attribute__((warn_unused_result)) int option_read(const struct option *option, const char *value,
                                                    struct config *config, char *problem);

/* "a time from 10ms to 10s", "0 (off) or …": what the option may be, in words; the same in errors
 * and documents. */
void option_describe(const struct option *option, char *text, size_t n_text);

/* The value as option_read() understands it. Strings longer than n_text are cut. */
void option_format(const struct option *option, const struct config *config, char *text,
                   size_t n_text);
