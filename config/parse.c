/* parse: the text of a file, line by line: [section], key = value, comments with # or ; at the
 * beginning of a line; and the same in one line, for --set. */
#include "config/config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "config/named.h"
#include "config/option.h"
#include "config/report.h"
#include "config/section.h"
#include "config/text.h"

struct parser {
    struct config *config;
    struct place place;
    bool in_section; /* of whatever kind */
    struct section_ref ref;
    size_t seen[OPTION_N]; /* line where it was set; 0: not yet. Of named sections: in this one */
    size_t begun[CONFIG_KIND_N][CONFIG_MAX_RULES]; /* line of the head; 0: not in this text */
    char text[CONFIG_MAX_LINE + 1];
    char problem[OPTION_TEXT_SIZE];
};

static int error_at(const struct place *place, const char *what)
{
    return report_add(place->report, place->name, place->line, "%s", what);
}

/* A named section stands once in a text; its options have not been seen yet. */
static int begin_named(struct parser *parser, const struct section_ref *ref)
{
    enum config_kind kind = ref->section->kind;
    size_t *begun = &parser->begun[kind][ref->item - parser->config->named[kind].items];
    if (*begun)
        return report_add(parser->place.report, parser->place.name, parser->place.line,
                          "[%s \"%s\"] was begun before, in line %zu; expected it once",
                          ref->section->name, *(char **)ref->object, *begun);
    *begun = parser->place.line;
    for (size_t i = 0; i < OPTION_N; i++)
        if (options[i].section == ref->section)
            parser->seen[i] = 0;
    return 0;
}

static int parse_section(struct parser *parser, char *text)
{
    struct section_head head;
    struct section_ref ref;
    bool named = strchr(text, '"') != NULL;
    /* what follows belongs to no section that is known: without a complaint for each of its lines
     */
    parser->in_section = true;
    parser->ref.section = NULL;
    const char *wrong = section_read_head(text + 1, ']', &head);
    if (wrong)
        return report_add(parser->place.report, parser->place.name, parser->place.line,
                          "%s; expected %s", wrong, named ? "[section \"name\"]" : "[section]");
    if (*head.rest != 0)
        return error_at(&parser->place,
                        "text after the section; a comment must stand on a line of its own");
    int r = section_open(parser->config, &head, &parser->place, &ref);
    if (r == 0 && ref.item)
        r = begin_named(parser, &ref);
    if (r == 0)
        parser->ref = ref;
    return r;
}

static int before_any_section(const char *key, const struct place *place)
{
    const struct option *nearest = option_by_key(key);
    if (!nearest)
        return report_add(place->report, place->name, place->line,
                          "%.*s stands before any section; expected [section] first",
                          report_cut(key), key);
    return report_add(place->report, place->name, place->line,
                      "%.*s stands before any section; it belongs to [%s%s]", report_cut(key), key,
                      nearest->section->name, nearest->section->named ? " \"name\"" : "");
}

static int parse_option(struct parser *parser, char *text)
{
    const struct place *place = &parser->place;
    const struct section_ref *ref = &parser->ref;
    char *value = strchr(text, '=');
    if (!value)
        return report_add(place->report, place->name, place->line,
                          "expected key = value, [section] or a comment, not \"%.*s\"",
                          report_cut(text), text);
    *value++ = 0;
    char *key = text_trim(text);
    value = text_trim(value);
    if (*key == 0)
        return error_at(place, "there is no key before the =");
    if (!parser->in_section)
        return before_any_section(key, place);
    if (!ref->section)
        return 0;
    const struct option *option = option_in(ref->section, key);
    if (!option)
        return section_unknown_key(ref, key, place);
    size_t *seen = &parser->seen[option - options];
    if (*seen) {
        option_name(option, ref->item ? *(char **)ref->object : NULL, parser->problem,
                    sizeof(parser->problem));
        return report_add(place->report, place->name, place->line,
                          "%s was set before, in line %zu; expected it once", parser->problem,
                          *seen);
    }
    *seen = place->line;
    return section_set(ref, option, value, place, parser->problem);
}

static int parse_line(struct parser *parser, const char *line, size_t n_line)
{
    const struct place *place = &parser->place;
    size_t column;
    if (n_line > 0 && line[n_line - 1] == '\r')
        n_line--;
    if (n_line > CONFIG_MAX_LINE)
        return report_add(place->report, place->name, place->line,
                          "the line has %zu bytes; expected at most %d", n_line, CONFIG_MAX_LINE);
    const char *bad = text_bad_bytes(line, n_line, &column);
    if (bad)
        return report_add(place->report, place->name, place->line,
                          "%s at column %zu; expected text in UTF-8", bad, column);
    memcpy(parser->text, line, n_line);
    parser->text[n_line] = 0;
    char *text = text_trim(parser->text);
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
    parser->place = (struct place){.report = report, .name = name};
    if (n_text >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0) {
        text += 3;
        n_text -= 3;
    }
    int result = 0;
    while (n_text > 0) {
        const char *end = memchr(text, '\n', n_text);
        size_t n_line = end ? (size_t)(end - text) : n_text;
        parser->place.line++;
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
    /* the plain sections may stand behind those that inherit from them */
    return result < 0 || named_inherit(config) == 0 ? result : -ENOMEM;
}

/* tls.partner.min_version */
static bool name_without_quotes(const struct section_ref *ref, const char *key)
{
    const char *dot = strrchr(key, '.');
    const struct option_section *named = option_section(ref->section->name, true);
    return !ref->item && dot && named && option_in(named, dot + 1);
}

static int set_option(struct config *config, const struct section_head *head, const char *value,
                      const struct place *place)
{
    char problem[OPTION_TEXT_SIZE];
    struct section_ref ref;
    int r = section_open(config, head, place, &ref);
    if (r != 0)
        return r;
    const struct option *option = option_in(ref.section, head->rest);
    if (!option && name_without_quotes(&ref, head->rest))
        return error_at(place, "a name stands in quotes; expected section \"name\".key=value");
    if (!option)
        return section_unknown_key(&ref, head->rest, place);
    r = section_set(&ref, option, value, place, problem);
    return r == 0 ? named_inherit(config) : r;
}

int config_set(struct config *config, const char *assignment, struct config_report *report)
{
    char name[128], text[CONFIG_MAX_LINE + 1];
    struct place place = {.report = report, .name = name};
    struct section_head head;
    size_t n = strlen(assignment), column;
    if (n > CONFIG_MAX_LINE)
        return report_add(report, "--set", 0, "%zu bytes; expected at most %d", n, CONFIG_MAX_LINE);
    const char *bad = text_bad_bytes(assignment, n, &column);
    if (bad)
        return report_add(report, "--set", 0, "%s at byte %zu; expected text in UTF-8", bad,
                          column);
    memcpy(text, assignment, n + 1);
    snprintf(name, sizeof(name), "--set %.*s", report_cut(text), text);
    char *value = strchr(text, '=');
    if (value)
        *value++ = 0;
    bool named = strchr(text, '"') != NULL;
    if (!value || section_read_head(text, '.', &head))
        return error_at(&place, named ? "expected section \"name\".key=value"
                                      : "expected section.key=value");
    return set_option(config, &head, text_trim(value), &place);
}
