#include "config/option.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "config/list.h"
#include "config/report.h"
#include "config/value.h"

const struct option_section option_sections[OPTION_SECTION_N] = {
#define SECTION(section, doc) {#section, doc, false, 0, NULL, sizeof(struct config)},
#define NAMED(kind, section, reserved, doc)                                                        \
    {#section, doc, true, CONFIG_KIND_##kind, reserved, sizeof(struct config_##kind)},
#include "config/options.def"
};

#define SECTION_OF(id) (&option_sections[OPTION_SECTION_##id])

const struct option options[OPTION_N] = {
#define OPTION(section, key, TYPE, preset, min, max, words, special, doc)                          \
    {SECTION_OF(section),                                                                          \
     #key,                                                                                         \
     OPTION_##TYPE,                                                                                \
     offsetof(struct config, section##_##key),                                                     \
     preset,                                                                                       \
     min,                                                                                          \
     max,                                                                                          \
     words,                                                                                        \
     special,                                                                                      \
     NULL,                                                                                         \
     NULL,                                                                                         \
     doc},
#define NAMED_OPTION(kind, key, TYPE, preset, min, max, words, special, inherit, example, doc)     \
    {SECTION_OF(kind##_NAMED),                                                                     \
     #key,                                                                                         \
     OPTION_##TYPE,                                                                                \
     offsetof(struct config_##kind, key),                                                          \
     preset,                                                                                       \
     min,                                                                                          \
     max,                                                                                          \
     words,                                                                                        \
     special,                                                                                      \
     inherit,                                                                                      \
     example,                                                                                      \
     doc},
#include "config/options.def"
};

struct unit {
    const char *suffix;
    int64_t factor;
};

/* largest first */
static const struct unit size_units[] = {{"G", 1 << 30}, {"M", 1 << 20}, {"K", 1 << 10}, {"", 1}};
static const struct unit duration_units[] = {{"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}};

#define N_UNITS 4

static void *member(const struct option *option, void *object)
{
    return (char *)object + option->offset;
}

static const void *const_member(const struct option *option, const void *object)
{
    return (const char *)object + option->offset;
}

/* the number in the largest unit that has it exactly */
static void format_number(enum option_type type, int64_t number, char *text, size_t n_text)
{
    const struct unit *units = NULL;
    if (type == OPTION_SIZE)
        units = size_units;
    if (type == OPTION_DURATION)
        units = duration_units;
    if (units && number != 0) {
        for (size_t i = 0; i < N_UNITS; i++) {
            /* 60s, not 1m: people compare time-outs in seconds */
            bool few =
                type == OPTION_DURATION && units[i].factor > 1000 && number / units[i].factor < 2;
            if (number % units[i].factor == 0 && !few) {
                snprintf(text, n_text, "%" PRId64 "%s", number / units[i].factor, units[i].suffix);
                return;
            }
        }
    }
    snprintf(text, n_text, type == OPTION_MODE ? "%04" PRIo64 : "%" PRId64, number);
}

static void describe_range(const struct option *option, const char *what, char *text, size_t n_text)
{
    char min[32], max[32], special[160] = "";
    format_number(option->type, option->min, min, sizeof(min));
    format_number(option->type, option->max, max, sizeof(max));
    if (option->special)
        snprintf(special, sizeof(special), ", or 0 (%s)", option->special);
    snprintf(text, n_text, "%s from %s to %s%s", what, min, max, special);
}

/* what NULL: a list of so many */
static void describe_text(const struct option *option, const char *what, const char *of_what,
                          char *text, size_t n_text)
{
    const char *special = option->special;
    snprintf(text, n_text, "%s%s%" PRId64 " to %" PRId64 " %s%s%s%s", what ? what : "",
             what ? " of " : "", option->min, option->max, of_what, special ? ", or nothing (" : "",
             special ? special : "", special ? ")" : "");
}

void option_describe(const struct option *option, char *text, size_t n_text)
{
    switch (option->type) {
    case OPTION_BOOL:
        snprintf(text, n_text, "yes or no");
        return;
    case OPTION_INT:
        describe_range(option, "a whole number", text, n_text);
        return;
    case OPTION_SIZE:
        describe_range(option, "a size in bytes or with K, M or G", text, n_text);
        return;
    case OPTION_DURATION:
        describe_range(option, "a time with its unit (ms, s, m or h)", text, n_text);
        return;
    case OPTION_MODE:
        describe_range(option, "octal permissions", text, n_text);
        return;
    case OPTION_STRING:
        if (option->words)
            snprintf(text, n_text, "%s%s%s%s", list_kind(option->words)->items,
                     option->special ? ", or nothing (" : "",
                     option->special ? option->special : "", option->special ? ")" : "");
        else
            describe_text(option, "a text", "bytes", text, n_text);
        return;
    case OPTION_PATH:
        describe_text(option, "an absolute path", "bytes", text, n_text);
        return;
    case OPTION_FILE:
        describe_text(option, "an absolute path or cred:NAME", "bytes", text, n_text);
        return;
    case OPTION_LIST:
        if (option->max == 1 && option->min == 1) /* no list to who writes it */
            snprintf(text, n_text, "%s", list_kind(option->words)->items);
        else
            describe_text(option, NULL, list_kind(option->words)->items, text, n_text);
        return;
    case OPTION_WORD:
        break;
    }
    size_t used = (size_t)snprintf(text, n_text, "one of ");
    for (const char *word = option->words; *word && used < n_text;) {
        size_t n = strcspn(word, "|");
        used += (size_t)snprintf(text + used, n_text - used, "%.*s%s", (int)n, word,
                                 word[n] ? ", " : "");
        word += n + (word[n] != 0);
    }
}

void option_format(const struct option *option, const void *object, char *text, size_t n_text)
{
    const void *from = const_member(option, object);
    switch (option->type) {
    case OPTION_BOOL:
        snprintf(text, n_text, "%s", *(const bool *)from ? "yes" : "no");
        return;
    case OPTION_INT:
    case OPTION_SIZE:
    case OPTION_DURATION:
        format_number(option->type, *(const int64_t *)from, text, n_text);
        return;
    case OPTION_MODE:
        format_number(option->type, *(const uint32_t *)from, text, n_text);
        return;
    case OPTION_STRING:
    case OPTION_PATH:
    case OPTION_FILE:
        snprintf(text, n_text, "%s", *(char *const *)from);
        return;
    case OPTION_LIST:
        list_format(from, text, n_text);
        return;
    case OPTION_WORD:
        break;
    }
    const char *word = option->words;
    for (int i = *(const int *)from; i > 0; i--)
        word += strcspn(word, "|") + 1;
    snprintf(text, n_text, "%.*s", (int)strcspn(word, "|"), word);
}

/* ---- reading ---- */

/* Digits of the base at *text, as far as they go. false: none, or more than an int64_t holds. */
static bool read_digits(const char **text, int base, int64_t *ret_number)
{
    const char *p = *text;
    int64_t number = 0;
    for (; *p >= '0' && *p < '0' + base; p++) {
        if (__builtin_mul_overflow(number, (int64_t)base, &number) ||
            __builtin_add_overflow(number, (int64_t)(*p - '0'), &number))
            return false;
    }
    if (p == *text)
        return false;
    *text = p;
    *ret_number = number;
    return true;
}

static bool read_number(enum option_type type, const char *value, int64_t *ret_number)
{
    const struct unit *units = type == OPTION_SIZE ? size_units : duration_units;
    if (!read_digits(&value, type == OPTION_MODE ? 8 : 10, ret_number))
        return false;
    if (type == OPTION_INT || type == OPTION_MODE)
        return *value == 0;
    /* a bare 0 needs no unit; any other time does: is 30 seconds or milliseconds? */
    if (*value == 0 && *ret_number == 0)
        return true;
    for (size_t i = 0; i < N_UNITS; i++)
        if (strcmp(value, units[i].suffix) == 0)
            return !__builtin_mul_overflow(*ret_number, units[i].factor, ret_number);
    return false;
}

static int store_number(const struct option *option, const char *value, void *to,
                        const char **ret_wrong)
{
    int64_t number;
    if (!read_number(option->type, value, &number)) {
        *ret_wrong = "cannot be read";
        return CONFIG_E_INVALID;
    }
    if (!(number == 0 && option->special) && (number < option->min || number > option->max)) {
        *ret_wrong = number < option->min ? "is too small" : "is too large";
        return CONFIG_E_INVALID;
    }
    if (option->type == OPTION_MODE)
        *(uint32_t *)to = (uint32_t)number;
    else
        *(int64_t *)to = number;
    return 0;
}

static int store_bool(const char *value, bool *to, const char **ret_wrong)
{
    static const char *const words[2][4] = {{"no", "false", "off", "0"},
                                            {"yes", "true", "on", "1"}};
    for (size_t truth = 0; truth < 2; truth++)
        for (size_t i = 0; i < 4; i++)
            if (strcasecmp(value, words[truth][i]) == 0) {
                *to = truth == 1;
                return 0;
            }
    *ret_wrong = "is neither";
    return CONFIG_E_INVALID;
}

static int store_word(const char *words, const char *value, int *to, const char **ret_wrong)
{
    size_t n_value = strlen(value);
    int index = 0;
    for (const char *word = words; *word; index++) {
        size_t n = strcspn(word, "|");
        if (n == n_value && memcmp(word, value, n) == 0) {
            *to = index;
            return 0;
        }
        word += n + (word[n] != 0);
    }
    *ret_wrong = "is not a word of this option";
    return CONFIG_E_INVALID;
}

static int replace_text(char **to, const char *value)
{
    char *copy = strdup(value);
    if (!copy)
        return -ENOMEM;
    free(*to);
    *to = copy;
    return 0;
}

static int store_text(const struct option *option, const char *value, char **to,
                      const char **ret_wrong)
{
    int64_t n = (int64_t)strlen(value);
    *ret_wrong = NULL;
    if (n == 0 && !option->special)
        *ret_wrong = "is missing";
    else if (n > 0 && n < option->min)
        *ret_wrong = "is too short";
    else if (n > option->max)
        *ret_wrong = "is too long";
    else if (*value == '"' || *value == '\'')
        *ret_wrong = "must stand without quotes";
    else if (strstr(value, " #") || strstr(value, "\t#") || strstr(value, " ;") ||
             strstr(value, "\t;"))
        *ret_wrong = "has a comment behind it, which must stand on a line of its own";
    else if (n > 0 && option->type == OPTION_PATH && *value != '/')
        *ret_wrong = "does not begin with /";
    else if (n > 0 && option->type == OPTION_FILE)
        *ret_wrong = config_check_file(value);
    else if (n > 0 && option->words)
        *ret_wrong = list_kind(option->words)->check(value);
    return *ret_wrong ? CONFIG_E_INVALID : replace_text(to, value);
}

static int store_list(const struct option *option, const char *value, struct config_list *to,
                      char *wrong)
{
    if (*value == 0 && !option->special)
        return CONFIG_E_INVALID;
    return list_read(list_kind(option->words), value, (size_t)option->max, to, wrong);
}

int option_read(const struct option *option, const char *value, void *object, char *problem)
{
    void *to = member(option, object);
    char list_wrong[LIST_WRONG_SIZE] = "", expected[OPTION_DESCRIPTION_SIZE],
         name[OPTION_NAME_SIZE];
    const char *wrong = list_wrong;
    int r = CONFIG_E_INVALID;
    switch (option->type) {
    case OPTION_BOOL:
        r = store_bool(value, to, &wrong);
        break;
    case OPTION_INT:
    case OPTION_SIZE:
    case OPTION_DURATION:
    case OPTION_MODE:
        r = store_number(option, value, to, &wrong);
        break;
    case OPTION_STRING:
    case OPTION_PATH:
    case OPTION_FILE:
        r = store_text(option, value, to, &wrong);
        break;
    case OPTION_WORD:
        r = store_word(option->words, value, to, &wrong);
        break;
    case OPTION_LIST:
        r = store_list(option, value, to, list_wrong);
        break;
    }
    if (r != CONFIG_E_INVALID)
        return r;
    option_describe(option, expected, sizeof(expected));
    /* the object of a named section begins with its name */
    option_name(option, option->section->named ? *(char *const *)object : NULL, name, sizeof(name));
    if (*value == 0)
        snprintf(problem, OPTION_TEXT_SIZE, "%s needs a value: %s", name, expected);
    else
        snprintf(problem, OPTION_TEXT_SIZE, "%s: \"%.*s%s\" %s; expected %s", name,
                 report_cut(value), value, (size_t)report_cut(value) < strlen(value) ? "…" : "",
                 wrong, expected);
    return CONFIG_E_INVALID;
}

static bool is_text(const struct option *option)
{
    return option->type == OPTION_STRING || option->type == OPTION_PATH ||
           option->type == OPTION_FILE;
}

int option_reset(const struct option *option, void *object)
{
    char problem[OPTION_TEXT_SIZE];
    if (is_text(option) && *option->preset == 0)
        return replace_text(member(option, object), "");
    if (option->type == OPTION_LIST && *option->preset == 0) {
        list_deinit(member(option, object));
        return 0;
    }
    int r = option_read(option, option->preset, object, problem);
    if (r == CONFIG_E_INVALID) {
        /* a default that its own option refuses: the table is wrong, and a test says so first */
        fprintf(stderr, "options.def: %s\n", problem);
        abort();
    }
    return r;
}

void option_deinit(const struct option *option, void *object)
{
    if (is_text(option))
        free(*(char **)member(option, object));
    else if (option->type == OPTION_LIST)
        list_deinit(member(option, object));
}

bool option_is_missing(const struct option *option, const void *object)
{
    if (option->special)
        return false;
    if (option->type == OPTION_LIST)
        return ((const struct config_list *)const_member(option, object))->n == 0;
    return is_text(option) && **(char *const *)const_member(option, object) == 0;
}
