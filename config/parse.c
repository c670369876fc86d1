/* parse: the text of a file, line by line: [section], key = value, comments with # or ; at the
 * beginning of a line. */
#include "config/config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "config/option.h"
#include "config/report.h"

struct parser {
    struct config *config;
    const char *name;
    struct config_report *report;
    size_t line;
    char section[CONFIG_MAX_LINE + 1]; /* empty: none yet */
    bool section_known;
    size_t seen[OPTION_N]; /* line where it was set; 0: not yet */
    char text[CONFIG_MAX_LINE + 1];
    char problem[OPTION_TEXT_SIZE];
};

/* Bytes of the well-formed UTF-8 character at p (RFC 3629), 0: there is none. */
static size_t utf8_length(const unsigned char *p, size_t n)
{
    unsigned char low = 0x80, high = 0xBF;
    size_t length;
    if (p[0] < 0x80)
        return 1;
    if (p[0] >= 0xC2 && p[0] <= 0xDF)
        length = 2;
    else if (p[0] >= 0xE0 && p[0] <= 0xEF)
        length = 3;
    else if (p[0] >= 0xF0 && p[0] <= 0xF4)
        length = 4;
    else
        return 0;
    if (p[0] == 0xE0)
        low = 0xA0; /* overlong */
    if (p[0] == 0xED)
        high = 0x9F; /* surrogates */
    if (p[0] == 0xF0)
        low = 0x90; /* overlong */
    if (p[0] == 0xF4)
        high = 0x8F; /* above U+10FFFF */
    if (n < length || p[1] < low || p[1] > high)
        return 0;
    for (size_t i = 2; i < length; i++)
        if ((p[i] & 0xC0) != 0x80)
            return 0;
    return length;
}

/* What keeps these bytes from being a line of text, or NULL; *ret_column counts bytes from 1. */
static const char *bad_bytes(const char *text, size_t n, size_t *ret_column)
{
    const unsigned char *p = (const unsigned char *)text;
    for (size_t i = 0; i < n;) {
        size_t length = utf8_length(p + i, n - i);
        *ret_column = i + 1;
        if (p[i] == 0)
            return "a NUL byte";
        if ((p[i] < 0x20 && p[i] != '\t') || p[i] == 0x7F)
            return "a control character";
        if (length == 0)
            return "a byte that is not UTF-8";
        /* C1 control characters are two bytes in UTF-8; in a log they would reach somebody's
         * terminal */
        if (p[i] == 0xC2 && p[i + 1] < 0xA0)
            return "a control character";
        i += length;
    }
    return NULL;
}

static char *trim(char *text)
{
    while (*text == ' ' || *text == '\t')
        text++;
    size_t n = strlen(text);
    while (n > 0 && (text[n - 1] == ' ' || text[n - 1] == '\t'))
        n--;
    text[n] = 0;
    return text;
}

static int unknown_section(struct config_report *report, const char *name, size_t line,
                           const char *section)
{
    const char *nearest = option_nearest_section(section);
    if (nearest)
        return report_add(report, name, line, "there is no section [%.*s]; did you mean [%s]?",
                          report_cut(section), section, nearest);
    char known[256];
    size_t used = 0;
    for (size_t i = 0; i < OPTION_SECTION_N && used < sizeof(known); i++)
        used += (size_t)snprintf(known + used, sizeof(known) - used, "%s[%s]", i ? ", " : "",
                                 option_sections[i].name);
    return report_add(report, name, line, "there is no section [%.*s]; expected one of %s",
                      report_cut(section), section, known);
}

static int unknown_key(struct config_report *report, const char *name, size_t line,
                       const char *section, const char *key)
{
    const struct option *nearest = option_by_key(key);
    if (nearest)
        return report_add(report, name, line, "there is no %s.%.*s; did you mean %s.%s?", section,
                          report_cut(key), key, nearest->section, nearest->key);
    nearest = option_nearest(section, key);
    if (!nearest)
        nearest = option_nearest(NULL, key);
    if (nearest)
        return report_add(report, name, line, "there is no %s.%.*s; did you mean %s.%s?", section,
                          report_cut(key), key, nearest->section, nearest->key);
    char known[CONFIG_ERROR_SIZE];
    size_t used = 0;
    for (size_t i = 0; i < OPTION_N && used < sizeof(known); i++)
        if (strcmp(options[i].section, section) == 0)
            used += (size_t)snprintf(known + used, sizeof(known) - used, "%s%s", used ? ", " : "",
                                     options[i].key);
    return report_add(report, name, line, "there is no %s.%.*s; [%s] has %s", section,
                      report_cut(key), key, section, known);
}

static int parse_section(struct parser *parser, char *text)
{
    char *end = strchr(text, ']');
    /* what follows belongs to no section that is known: without a complaint for each of its lines
     */
    parser->section_known = false;
    strcpy(parser->section, "?");
    if (!end)
        return report_add(parser->report, parser->name, parser->line,
                          "the section has no end; expected [section]");
    if (*trim(end + 1) != 0)
        return report_add(parser->report, parser->name, parser->line,
                          "text after the section; a comment must stand on a line of its own");
    *end = 0;
    char *name = trim(text + 1);
    if (!option_section_exists(name))
        return unknown_section(parser->report, parser->name, parser->line, name);
    memcpy(parser->section, name, strlen(name) + 1);
    parser->section_known = true;
    return 0;
}

static int parse_option(struct parser *parser, char *text)
{
    char *value = strchr(text, '=');
    if (!value)
        return report_add(parser->report, parser->name, parser->line,
                          "expected key = value, [section] or a comment, not \"%.*s\"",
                          report_cut(text), text);
    *value++ = 0;
    char *key = trim(text);
    value = trim(value);
    if (*key == 0)
        return report_add(parser->report, parser->name, parser->line,
                          "there is no key before the =");
    if (!parser->section[0]) {
        const struct option *nearest = option_by_key(key);
        if (nearest)
            return report_add(parser->report, parser->name, parser->line,
                              "%.*s stands before any section; it belongs to [%s]", report_cut(key),
                              key, nearest->section);
        return report_add(parser->report, parser->name, parser->line,
                          "%.*s stands before any section; expected [section] first",
                          report_cut(key), key);
    }
    if (!parser->section_known)
        return 0;
    const struct option *option = option_by_name(parser->section, key);
    if (!option)
        return unknown_key(parser->report, parser->name, parser->line, parser->section, key);
    size_t *seen = &parser->seen[option - options];
    if (*seen)
        return report_add(parser->report, parser->name, parser->line,
                          "%s.%s was set before, in line %zu; expected it once", option->section,
                          option->key, *seen);
    *seen = parser->line;
    int r = option_read(option, value, parser->config, parser->problem);
    if (r == CONFIG_E_INVALID)
        return report_add(parser->report, parser->name, parser->line, "%s", parser->problem);
    return r;
}

static int parse_line(struct parser *parser, const char *line, size_t n_line)
{
    size_t column;
    if (n_line > 0 && line[n_line - 1] == '\r')
        n_line--;
    if (n_line > CONFIG_MAX_LINE)
        return report_add(parser->report, parser->name, parser->line,
                          "the line has %zu bytes; expected at most %d", n_line, CONFIG_MAX_LINE);
    const char *bad = bad_bytes(line, n_line, &column);
    if (bad)
        return report_add(parser->report, parser->name, parser->line,
                          "%s at column %zu; expected text in UTF-8", bad, column);
    memcpy(parser->text, line, n_line);
    parser->text[n_line] = 0;
    char *text = trim(parser->text);
    if (*text == 0 || *text == '#' || *text == ';')
        return 0;
    return *text == '[' ? parse_section(parser, text) : parse_option(parser, text);
}

int config_parse(struct config *config, const char *text, size_t n_text, const char *name,
                 struct config_report *report)
{
    if (n_text > CONFIG_MAX_FILE)
        return report_add(report, name, 0, "more than %d bytes; is this the right file?",
                          CONFIG_MAX_FILE);
    struct parser *parser = calloc(1, sizeof(*parser));
    if (!parser)
        return -ENOMEM;
    parser->config = config;
    parser->name = name;
    parser->report = report;
    if (n_text >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0) {
        text += 3;
        n_text -= 3;
    }
    int result = 0;
    while (n_text > 0) {
        const char *end = memchr(text, '\n', n_text);
        size_t n_line = end ? (size_t)(end - text) : n_text;
        parser->line++;
        int r = parse_line(parser, text, n_line);
        if (r < 0) {
            result = r;
            break;
        }
        if (r > 0)
            result = CONFIG_E_INVALID;
        size_t n_gone = n_line + (end != NULL);
        text += n_gone;
        n_text -= n_gone;
    }
    free(parser);
    return result;
}

int config_set(struct config *config, const char *assignment, struct config_report *report)
{
    char name[128], text[CONFIG_MAX_LINE + 1], problem[OPTION_TEXT_SIZE];
    size_t n = strlen(assignment), column;
    if (n > CONFIG_MAX_LINE)
        return report_add(report, "--set", 0, "%zu bytes; expected at most %d", n, CONFIG_MAX_LINE);
    const char *bad = bad_bytes(assignment, n, &column);
    if (bad)
        return report_add(report, "--set", 0, "%s at byte %zu; expected text in UTF-8", bad,
                          column);
    memcpy(text, assignment, n + 1);
    snprintf(name, sizeof(name), "--set %.*s", report_cut(text), text);
    char *value = strchr(text, '=');
    char *key = strchr(text, '.');
    if (!value || !key || key > value)
        return report_add(report, name, 0, "expected section.key=value");
    *key++ = 0;
    *value++ = 0;
    char *section = trim(text);
    key = trim(key);
    if (!option_section_exists(section))
        return unknown_section(report, name, 0, section);
    const struct option *option = option_by_name(section, key);
    if (!option)
        return unknown_key(report, name, 0, section, key);
    int r = option_read(option, trim(value), config, problem);
    if (r == CONFIG_E_INVALID)
        return report_add(report, name, 0, "%s", problem);
    return r;
}
