#pragma once
/*
 * config: the options of the daemon: their defaults, reading them from a file and from --set, and
 * what is wrong with them.
 *
 * All options stand in config/options.def. struct config has one member <section>_<key> for each of
 * a plain section; a section with a name, like [tls "name"], is a struct config_<kind> with one
 * member <key> for each of its options. What the texts in them mean is read with config/value.h.
 *
 * Threads:   any, one at a time for each struct config; a finished one is meant to be shared
 * read-only.
 * Ownership: config_load() and config_new_default() give a configuration that config_free() takes
 * back; strings, lists and named sections belong to it.
 * Errors:    CONFIG_E_INVALID with the reasons in struct config_report; < 0 -errno (-ENOMEM).
 * Limits:    CONFIG_MAX_LINE, CONFIG_MAX_FILE, CONFIG_MAX_ERRORS, CONFIG_MAX_NAMED,
 * CONFIG_MAX_RULES, CONFIG_MAX_NAME.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define CONFIG_DEFAULT_FILE "/etc/tcpbroker/tcpbroker.conf"

enum {
    CONFIG_E_INVALID = 1, /* something is wrong; struct config_report tells what */
};

enum {
    CONFIG_MAX_LINE = 4096,    /* bytes of a line, without its end */
    CONFIG_MAX_FILE = 1 << 20, /* bytes of a file */
    CONFIG_MAX_ERRORS = 20,    /* kept in a report; the rest is counted */
    CONFIG_ERROR_SIZE = 768,   /* bytes of one error, with its NUL; longer ones are cut */
    CONFIG_MAX_NAMED = 64,     /* named sections of one kind, */
    CONFIG_MAX_RULES = 256,    /* but for rules */
    CONFIG_MAX_NAME = 64,      /* bytes of the name of one */
};

/* The words of options of type WORD, in the order of options.def. */
enum config_tls_min_version { CONFIG_TLS_1_2, CONFIG_TLS_1_3 };
enum config_trust { CONFIG_TRUST_SYSTEM, CONFIG_TRUST_FOLDER, CONFIG_TRUST_BOTH };
enum config_crl_check { CONFIG_CRL_OFF, CONFIG_CRL_LEAF, CONFIG_CRL_CHAIN };
enum config_log_level {
    CONFIG_LOG_ERROR,
    CONFIG_LOG_WARNING,
    CONFIG_LOG_NOTICE,
    CONFIG_LOG_INFO,
    CONFIG_LOG_DEBUG
};
enum config_policy_preset { CONFIG_POLICY_OPEN, CONFIG_POLICY_INTERNET, CONFIG_POLICY_INTRANET };
enum config_condition { CONFIG_ANY, CONFIG_YES, CONFIG_NO };
enum config_log_connections { CONFIG_LOG_ALL, CONFIG_LOG_FAILED, CONFIG_LOG_NONE };
enum config_keep { CONFIG_KEEP_AUTO, CONFIG_KEEP_YES, CONFIG_KEEP_NO };
enum config_log_format { CONFIG_LOG_AUTO, CONFIG_LOG_PLAIN, CONFIG_LOG_JOURNAL };

/* Items in the order they were written, each valid for its option and none there twice. */
struct config_list {
    size_t n;
    char **items; /* NULL when n is 0 */
};

#define CONFIG_CTYPE_BOOL     bool
#define CONFIG_CTYPE_INT      int64_t
#define CONFIG_CTYPE_SIZE     int64_t  /* bytes */
#define CONFIG_CTYPE_DURATION int64_t  /* milliseconds */
#define CONFIG_CTYPE_STRING   char *   /* never NULL; empty as the option says */
#define CONFIG_CTYPE_PATH     char *   /* never NULL; absolute, or empty as the option says */
#define CONFIG_CTYPE_FILE     char *   /* never NULL; for config_file_path() */
#define CONFIG_CTYPE_MODE     uint32_t /* permission bits */
#define CONFIG_CTYPE_WORD     int      /* an enum above */
#define CONFIG_CTYPE_LIST     struct config_list

/* clang-format off */

/* struct config_tls_profile, struct config_identity, ...: what a section with a name says. An
 * option that it does not set and that the plain section has too holds the value of that one. */
#define NAMED(kind, section, reserved, doc) struct config_##kind { char *name;
#define NAMED_OPTION(kind, key, TYPE, preset, min, max, words, special, inherit, example, doc)     \
    CONFIG_CTYPE_##TYPE key;
#define NAMED_END(kind) };
#include "config/options.def"

enum config_kind {
#define NAMED(kind, section, reserved, doc) CONFIG_KIND_##kind,
#include "config/options.def"
    CONFIG_KIND_N
};

/* clang-format on */

/* The named sections of one kind, in the order they were written: the first that fits may be the
 * one that counts. For the functions below; set is a bit for each option that was written. */
struct config_named {
    size_t n;
    struct config_named_item {
        void *object; /* struct config_<kind> */
        uint64_t set;
        size_t line; /* of its head, 0: it came by --set */
    } items[CONFIG_MAX_RULES];
};

/* config.connect_timeout, config.limits_line, ...: in range once config_load() said 0 */
struct config {
#define OPTION(section, key, TYPE, preset, min, max, words, special, doc)                          \
    CONFIG_CTYPE_##TYPE section##_##key;
#include "config/options.def"
    struct config_named named[CONFIG_KIND_N];
};

/* The object of that name, NULL: there is none; and the i-th, NULL: there are not so many. */
const void *config_named_find(const struct config *config, enum config_kind kind, const char *name);
const void *config_named_at(const struct config *config, enum config_kind kind, size_t i);
/* The line of the file that it begins in; 0: there is none, it came by --set. */
size_t config_named_line(const struct config *config, enum config_kind kind, size_t i);

/*
 * The same with its type, for each kind:
 *
 *   const struct config_tls_profile *config_tls_profile(config, "name")
 *   const struct config_tls_profile *config_tls_profile_at(config, i)
 */
#define NAMED(kind, section, reserved, doc)                                                        \
    static inline const struct config_##kind *config_##kind(const struct config *config,           \
                                                            const char *name)                      \
    {                                                                                              \
        return config_named_find(config, CONFIG_KIND_##kind, name);                                \
    }                                                                                              \
    static inline const struct config_##kind *config_##kind##_at(const struct config *config,      \
                                                                 size_t i)                         \
    {                                                                                              \
        return config_named_at(config, CONFIG_KIND_##kind, i);                                     \
    }
#include "config/options.def"

/*
 * What was wrong, in the order of the lines: "FILE:LINE: …", "FILE: …" or "--set …: …", without an
 * end of line. About 15 KiB, without pointers: start with config_report_init(), throw away as you
 * like.
 */
struct config_report {
    size_t n_errors; /* that are kept */
    size_t n_more;   /* that are not, because there were too many */
    char errors[CONFIG_MAX_ERRORS][CONFIG_ERROR_SIZE];
};

enum config_load_flags {
    CONFIG_MAY_BE_ABSENT = 1 << 0, /* a file that does not exist is an empty one */
};

void config_report_init(struct config_report *report);

/* Every error on a line of its own, then "… and N more" when some were not kept. */
void config_report_print(const struct config_report *report, FILE *stream);

/* All defaults. NULL: out of memory. */
struct config *config_new_default(void);
struct config *config_free(struct config *config);

/*
 * The whole way from a file to a configuration, as start, reload and --check-config need it:
 * defaults, then the file (path NULL: none), then the n_sets texts "section.key=value" of --set,
 * then what must hold between options. Returns 0 and *ret_config, or CONFIG_E_INVALID (report
 * filled), or -ENOMEM; *ret_config is NULL then.
 */
__attribute__((warn_unused_result)) int config_load(const char *path, unsigned flags,
                                                    const char *const *sets, size_t n_sets,
                                                    struct config_report *report,
                                                    struct config **ret_config);

/*
 * The steps of config_load() one by one. Each changes the options that are right and reports all
 * that are wrong, so after an error the configuration is still one that can be read and written,
 * but not what its author meant. config_parse(): text is n_text bytes in any state, name is what
 * errors call it. An option and a named section may be set once in a text. config_set(): as if the
 * line stood at the end of the file, but stronger; a named section that is not there is begun.
 */
__attribute__((warn_unused_result)) int config_parse(struct config *config, const char *text,
                                                     size_t n_text, const char *name,
                                                     struct config_report *report);
__attribute__((warn_unused_result)) int config_set(struct config *config, const char *assignment,
                                                   struct config_report *report);
__attribute__((warn_unused_result)) int config_check(const struct config *config, const char *name,
                                                     struct config_report *report);

/* Every option of the plain sections with its value, and the named sections with the options that
 * they set, in the form of a file that config_parse() reads to the same configuration. */
void config_write(const struct config *config, FILE *stream);
