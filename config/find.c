/* find: options and sections by their names, and by what a mistyped name may have meant. */
#include "config/option.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#define MAX_NAME 64

const struct option_section *option_section(const char *name, bool named)
{
    for (size_t i = 0; i < OPTION_SECTION_N; i++)
        if (option_sections[i].named == named && strcmp(option_sections[i].name, name) == 0)
            return &option_sections[i];
    return NULL;
}

const struct option *option_in(const struct option_section *section, const char *key)
{
    for (size_t i = 0; i < OPTION_N; i++)
        if (options[i].section == section && strcmp(options[i].key, key) == 0)
            return &options[i];
    return NULL;
}

const struct option *option_by_name(const char *section, const char *key)
{
    return option_in(option_section(section, false), key);
}

const struct option *option_by_key(const char *key)
{
    for (size_t i = 0; i < OPTION_N; i++)
        if (strcmp(options[i].key, key) == 0)
            return &options[i];
    return NULL;
}

size_t option_index(const struct option *option)
{
    const struct option *first = option;
    while (first > options && first[-1].section == option->section)
        first--;
    return (size_t)(option - first);
}

void option_name(const struct option *option, const char *name, char *text, size_t n_text)
{
    if (option->section->named)
        snprintf(text, n_text, "%s \"%s\".%s", option->section->name, name ? name : "name",
                 option->key);
    else
        snprintf(text, n_text, "%s.%s", option->section->name, option->key);
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* - and _ and the case of letters are the usual slips: they cost nothing */
static int folded(char c)
{
    return c == '-' ? '_' : tolower((unsigned char)c);
}

/* Edits (insert, delete, change, swap of neighbours) from a to b; more than MAX_NAME for names too
 * long to be one of ours. */
static size_t distance(const char *a, const char *b)
{
    size_t rows[3][MAX_NAME + 1];
    size_t n_a = strlen(a), n_b = strlen(b);
    size_t *before = rows[0], *above = rows[1], *row = rows[2];
    if (n_a > MAX_NAME || n_b > MAX_NAME)
        return MAX_NAME + 1;
    for (size_t j = 0; j <= n_b; j++)
        before[j] = above[j] = j;
    for (size_t i = 1; i <= n_a; i++) {
        row[0] = i;
        for (size_t j = 1; j <= n_b; j++) {
            size_t cost = folded(a[i - 1]) != folded(b[j - 1]);
            row[j] = least(above[j - 1] + cost, least(above[j], row[j - 1]) + 1);
            if (i > 1 && j > 1 && folded(a[i - 1]) == folded(b[j - 2]) &&
                folded(a[i - 2]) == folded(b[j - 1]))
                row[j] = least(row[j], before[j - 2] + 1);
        }
        size_t *spare = before;
        before = above;
        above = row;
        row = spare;
    }
    return above[n_b];
}

/* edits a name may be away: one for short names, a third of longer ones, but a few at most */
static size_t tolerance(const char *name)
{
    size_t n = strlen(name);
    return n < 3 ? 1 : least(n / 3 + (n < 6), 5);
}

const struct option *option_nearest(const struct option_section *section, const char *key)
{
    const struct option *best = NULL;
    size_t best_distance = tolerance(key) + 1;
    for (size_t i = 0; i < OPTION_N; i++) {
        if (section && options[i].section != section)
            continue;
        size_t d = distance(key, options[i].key);
        if (d < best_distance) {
            best = &options[i];
            best_distance = d;
        }
    }
    return best;
}

/* of two that are as near, one that has a name or has none as it was written */
const struct option_section *option_nearest_section(const char *section, bool named)
{
    const struct option_section *best = NULL;
    size_t best_distance = 2 * (tolerance(section) + 1);
    for (size_t i = 0; i < OPTION_SECTION_N; i++) {
        size_t d = distance(section, option_sections[i].name);
        d = 2 * d + (option_sections[i].named != named);
        if (d < best_distance) {
            best = &option_sections[i];
            best_distance = d;
        }
    }
    return best;
}
