#include "config/section.h"

#include <string.h>

#include "config/named.h"
#include "config/report.h"
#include "config/text.h"

#define NAME_CHARACTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-"

/* long enough for [ "" ], a section and a name */
#define FORM_SIZE 160

const char *section_read_head(char *text, char end, struct section_head *ret_head)
{
    const char stops[] = {'"', end, 0};
    char *at = text + strcspn(text, stops), *name = NULL;
    if (*at == '"') {
        *at = 0;
        name = at + 1;
        at = strchr(name, '"');
        if (!at)
            return "the name has no closing quote";
        *at++ = 0;
        at += strspn(at, " \t");
        if (*at != 0 && *at != end)
            return "text behind the name";
    }
    if (*at == 0)
        return "the section has no end";
    *at = 0;
    *ret_head =
        (struct section_head){.section = text_trim(text), .name = name, .rest = text_trim(at + 1)};
    return NULL;
}

/* name NULL: any */
static const char *form(const struct option_section *section, const char *name, char *text)
{
    if (section->named)
        snprintf(text, FORM_SIZE, "[%s \"%s\"]", section->name, name ? name : "name");
    else
        snprintf(text, FORM_SIZE, "[%s]", section->name);
    return text;
}

static bool is_name(const char *name)
{
    size_t n = strlen(name);
    return n >= 1 && n <= CONFIG_MAX_NAME && strspn(name, NAME_CHARACTERS) == n;
}

/* [tls partner] */
static const char *name_without_quotes(const struct section_head *head,
                                       const struct option_section **ret_section)
{
    char section[32];
    size_t n = strcspn(head->section, " \t");
    if (head->name || head->section[n] == 0 || n >= sizeof(section))
        return NULL;
    memcpy(section, head->section, n);
    section[n] = 0;
    *ret_section = option_section(section, true);
    const char *name = head->section + n + strspn(head->section + n, " \t");
    return *ret_section && is_name(name) ? name : NULL;
}

static int unknown(const struct section_head *head, const struct place *place)
{
    const struct option_section *section;
    char text[FORM_SIZE], known[512];
    const char *name = name_without_quotes(head, &section);
    if (name)
        return report_add(place->report, place->name, place->line,
                          "a name stands in quotes; expected %s", form(section, name, text));
    section = option_nearest_section(head->section, head->name != NULL);
    const char *quote = head->name ? "\"" : "";
    name = head->name ? head->name : "";
    if (section)
        return report_add(place->report, place->name, place->line,
                          "there is no section [%.*s%s%s%.*s%s]; did you mean %s?",
                          report_cut(head->section), head->section, *quote ? " " : "", quote,
                          report_cut(name), name, quote, form(section, NULL, text));
    size_t used = 0;
    for (size_t i = 0; i < OPTION_SECTION_N && used < sizeof(known); i++)
        used += (size_t)snprintf(known + used, sizeof(known) - used, "%s%s", i ? ", " : "",
                                 form(&option_sections[i], NULL, text));
    return report_add(place->report, place->name, place->line,
                      "there is no section [%.*s%s%s%.*s%s]; expected one of %s",
                      report_cut(head->section), head->section, *quote ? " " : "", quote,
                      report_cut(name), name, quote, known);
}

static int check_name(const struct option_section *section, const char *name,
                      const struct place *place)
{
    if (!is_name(name))
        return report_add(place->report, place->name, place->line,
                          "\"%.*s%s\" is no name for a section; expected 1 to %d of the characters "
                          "A-Z, a-z, 0-9, _, . and -",
                          report_cut(name), name,
                          (size_t)report_cut(name) < strlen(name) ? "…" : "", CONFIG_MAX_NAME);
    if (section->reserved && strcmp(name, section->reserved) == 0)
        return report_add(place->report, place->name, place->line,
                          "[%s \"%s\"] is the section [%s] itself; set its options there",
                          section->name, name, section->name);
    return 0;
}

static int open_named(struct config *config, const struct option_section *section, const char *name,
                      const struct place *place, struct section_ref *ret_ref)
{
    int r = check_name(section, name, place);
    if (r != 0)
        return r;
    struct config_named_item *item = named_find(config, section, name);
    if (!item && config->named[section->kind].n == named_max(section->kind))
        return report_add(place->report, place->name, place->line,
                          "[%s \"%s\"] is one too many; expected at most %zu of them",
                          section->name, name, named_max(section->kind));
    if (!item)
        r = named_add(config, section, name, place->line, &item);
    if (r == 0)
        *ret_ref = (struct section_ref){section, item->object, item};
    return r;
}

int section_open(struct config *config, const struct section_head *head, const struct place *place,
                 struct section_ref *ret_ref)
{
    char text[FORM_SIZE];
    const struct option_section *section = option_section(head->section, head->name != NULL);
    if (!section) {
        section = option_section(head->section, head->name == NULL);
        if (!section)
            return unknown(head, place);
        return report_add(place->report, place->name, place->line,
                          section->named ? "[%s] needs a name; expected %s"
                                         : "[%s] takes no name; expected %s",
                          section->name, form(section, NULL, text));
    }
    if (head->name)
        return open_named(config, section, head->name, place, ret_ref);
    *ret_ref = (struct section_ref){section, config, NULL};
    return 0;
}

int section_set(const struct section_ref *ref, const struct option *option, const char *value,
                const struct place *place, char *problem)
{
    int r = option_read(option, value, ref->object, problem);
    if (r == CONFIG_E_INVALID)
        return report_add(place->report, place->name, place->line, "%s", problem);
    if (r == 0 && ref->item)
        named_mark(ref->item, option, value);
    return r;
}

/* ---- keys ---- */

static int has_keys(const struct option_section *section, const char *unknown_name,
                    const struct place *place)
{
    char known[CONFIG_ERROR_SIZE], text[FORM_SIZE];
    size_t used = 0;
    for (size_t i = 0; i < OPTION_N && used < sizeof(known); i++)
        if (options[i].section == section)
            used += (size_t)snprintf(known + used, sizeof(known) - used, "%s%s", used ? ", " : "",
                                     options[i].key);
    return report_add(place->report, place->name, place->line, "there is no %s; %s has %s",
                      unknown_name, form(section, NULL, text), known);
}

int section_unknown_key(const struct section_ref *ref, const char *key, const struct place *place)
{
    char name[OPTION_NAME_SIZE], meant[OPTION_NAME_SIZE];
    const char *own_name = ref->item ? *(char *const *)ref->object : NULL;
    if (own_name)
        snprintf(name, sizeof(name), "%s \"%s\".%.*s", ref->section->name, own_name,
                 report_cut(key), key);
    else
        snprintf(name, sizeof(name), "%s.%.*s", ref->section->name, report_cut(key), key);
    const struct option *nearest = option_by_key(key);
    if (!nearest)
        nearest = option_nearest(ref->section, key);
    if (!nearest)
        nearest = option_nearest(NULL, key);
    if (!nearest)
        return has_keys(ref->section, name, place);
    option_name(nearest, nearest->section == ref->section ? own_name : NULL, meant, sizeof(meant));
    return report_add(place->report, place->name, place->line, "there is no %s; did you mean %s?",
                      name, meant);
}
