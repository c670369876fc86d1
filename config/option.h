#pragma once
/*
 * option: options.def as a table, and what one option can do: be found, be read from text, be
 * described and written.
 *
 * Threads:   any; constant data, no shared state.
 * Ownership: the table is static; strings and lists that option_read() makes belong to the object
 * they are a member of: struct config, or the struct config_<kind> of a named section.
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
    OPTION_FILE,
    OPTION_MODE,
    OPTION_WORD,
    OPTION_LIST,
};

/* [name] or [name "…"], see options.def */
struct option_section {
    const char *name;
    const char *doc;
    bool named;
    enum config_kind kind; /* of a named one */
    const char *reserved;  /* of a named one, may be NULL */
    size_t size;           /* of its object */
};

/* see options.def */
struct option {
    const struct option_section *section;
    const char *key;
    enum option_type type;
    size_t offset;      /* in the object */
    const char *preset; /* NULL: it inherits */
    int64_t min, max;
    const char *words;
    const char *special;
    const char *inherit; /* NULL: it has a preset */
    const char *example; /* NULL: the preset */
    const char *doc;
};

enum {
#define OPTION(section, key, TYPE, preset, min, max, words, special, doc) OPTION_##section##_##key,
#define NAMED_OPTION(kind, key, TYPE, preset, min, max, words, special, inherit, example, doc)     \
    OPTION_##kind##_##key,
#include "config/options.def"
    OPTION_N
};

/* the named ones with their kind, so that [tls] and [tls "…"] are two */
enum {
#define SECTION(section, doc)               OPTION_SECTION_##section,
#define NAMED(kind, section, reserved, doc) OPTION_SECTION_##kind##_NAMED,
#include "config/options.def"
    OPTION_SECTION_N
};

enum {
    OPTION_TEXT_SIZE = 640,        /* of buffers for problems */
    OPTION_DESCRIPTION_SIZE = 320, /* of buffers for descriptions */
    OPTION_NAME_SIZE = 160,        /* of buffers for names */
};

extern const struct option options[OPTION_N];
extern const struct option_section option_sections[OPTION_SECTION_N];

/* ---- names (find.c) ---- */

/* NULL: there is none */
const struct option_section *option_section(const char *name, bool named);
const struct option *option_in(const struct option_section *section, const char *key);
const struct option *option_by_name(const char *section, const char *key); /* of a plain section */
const struct option *
option_by_key(const char *key); /* the first with that key in any section, or NULL */
size_t option_index(const struct option *option); /* among those of its section */

/* The name most like a mistyped one, or NULL when none is near. section NULL: any. */
const struct option *option_nearest(const struct option_section *section, const char *key);
const struct option_section *option_nearest_section(const char *section, bool named);

/* How people write it: connect.timeout; tls "partner".min_version, with name NULL tls "name".… */
void option_name(const struct option *option, const char *name, char *text, size_t n_text);

/* ---- values (option.c) ---- */

/*
 * Read value (without blanks around it, without control characters) into its member of object.
 * CONFIG_E_INVALID: object is as before and problem (OPTION_TEXT_SIZE bytes) says what is wrong and
 * what is expected.
 */
__attribute__((warn_unused_result)) int option_read(const struct option *option, const char *value,
                                                    void *object, char *problem);

/* The preset, also when it is nothing and not allowed. 0 or -ENOMEM. */
__attribute__((warn_unused_result)) int option_reset(const struct option *option, void *object);

/* Frees what the member holds. */
void option_deinit(const struct option *option, void *object);

/* It has to be set, and is not. */
bool option_is_missing(const struct option *option, const void *object);

/* "a time from 10ms to 10s", "0 (off) or …": what the option may be, in words; the same in errors
 * and documents. */
void option_describe(const struct option *option, char *text, size_t n_text);

/* The value as option_read() understands it. Strings longer than n_text are cut. */
void option_format(const struct option *option, const void *object, char *text, size_t n_text);
