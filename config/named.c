#include "config/named.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "config/report.h"

_Static_assert(CONFIG_MAX_LINE > 4095, "the longest value fits the buffer it is copied through");

static char *name_of(const struct config_named_item *item)
{
    return *(char *const *)item->object; /* each object begins with it */
}

size_t named_max(enum config_kind kind)
{
    return kind == CONFIG_KIND_rule ? CONFIG_MAX_RULES : CONFIG_MAX_NAMED;
}

struct config_named_item *named_find(struct config *config, const struct option_section *section,
                                     const char *name)
{
    struct config_named *named = &config->named[section->kind];
    for (size_t i = 0; i < named->n; i++)
        if (strcmp(name_of(&named->items[i]), name) == 0)
            return &named->items[i];
    return NULL;
}

const void *config_named_find(const struct config *config, enum config_kind kind, const char *name)
{
    const struct config_named *named = &config->named[kind];
    for (size_t i = 0; i < named->n; i++)
        if (strcmp(name_of(&named->items[i]), name) == 0)
            return named->items[i].object;
    return NULL;
}

const void *config_named_at(const struct config *config, enum config_kind kind, size_t i)
{
    return i < config->named[kind].n ? config->named[kind].items[i].object : NULL;
}

size_t config_named_line(const struct config *config, enum config_kind kind, size_t i)
{
    return config->named[kind].items[i].line;
}

static uint64_t bit_of(const struct option *option)
{
    return (uint64_t)1 << option_index(option);
}

bool named_sets(const struct config_named_item *item, const struct option *option)
{
    return (item->set & bit_of(option)) != 0;
}

void named_mark(struct config_named_item *item, const struct option *option, const char *value)
{
    if (option->inherit && *value == 0)
        item->set &= ~bit_of(option);
    else
        item->set |= bit_of(option);
}

/* ---- inheriting ---- */

/* A profile that does not say whom it trusts must not trust more than [tls] does, but for the
 * folder of its own. */
static const char *inherited_trust(const struct config *config, const struct config_tls_profile *of)
{
    if (config->tls_system_store)
        return *of->cacerts ? "both" : "system";
    return "folder";
}

static int inherit_option(const struct config *config, const struct option *option, void *object)
{
    char value[CONFIG_MAX_LINE + 1], problem[OPTION_TEXT_SIZE];
    if (option == &options[OPTION_tls_profile_trust])
        snprintf(value, sizeof(value), "%s", inherited_trust(config, object));
    else
        option_format(option_by_name(option->section->name, option->inherit), config, value,
                      sizeof(value));
    int r = option_read(option, value, object, problem);
    if (r == CONFIG_E_INVALID) {
        /* it allows less than the option it inherits: the table is wrong, and a test says so */
        fprintf(stderr, "options.def: %s\n", problem);
        abort();
    }
    return r;
}

/* The last option first: whom a profile trusts depends on its folder. */
static int inherit_item(const struct config *config, const struct option_section *section,
                        struct config_named_item *item)
{
    for (size_t i = OPTION_N; i-- > 0;) {
        if (options[i].section != section || !options[i].inherit || named_sets(item, &options[i]))
            continue;
        int r = inherit_option(config, &options[i], item->object);
        if (r < 0)
            return r;
    }
    return 0;
}

int named_inherit(struct config *config)
{
    for (size_t k = 0; k < OPTION_SECTION_N; k++) {
        if (!option_sections[k].named)
            continue;
        struct config_named *named = &config->named[option_sections[k].kind];
        for (size_t i = 0; i < named->n; i++) {
            int r = inherit_item(config, &option_sections[k], &named->items[i]);
            if (r < 0)
                return r;
        }
    }
    return 0;
}

/* ---- making and freeing ---- */

static void free_object(const struct option_section *section, void *object)
{
    for (size_t i = 0; i < OPTION_N; i++)
        if (options[i].section == section)
            option_deinit(&options[i], object);
    free(*(char **)object);
    free(object);
}

static int fill(const struct config *config, const struct option_section *section, const char *name,
                struct config_named_item *item)
{
    char *copy = strdup(name);
    *(char **)item->object = copy;
    if (!copy)
        return -ENOMEM;
    for (size_t i = 0; i < OPTION_N; i++) {
        if (options[i].section != section || options[i].inherit)
            continue;
        int r = option_reset(&options[i], item->object);
        if (r < 0)
            return r;
    }
    return inherit_item(config, section, item);
}

int named_add(struct config *config, const struct option_section *section, const char *name,
              size_t line, struct config_named_item **ret_item)
{
    struct config_named *named = &config->named[section->kind];
    struct config_named_item item = {.object = calloc(1, section->size), .line = line};
    if (!item.object)
        return -ENOMEM;
    int r = fill(config, section, name, &item);
    if (r < 0) {
        free_object(section, item.object);
        return r;
    }
    named->items[named->n] = item;
    *ret_item = &named->items[named->n++];
    return 0;
}

void named_deinit(struct config *config)
{
    for (size_t k = 0; k < OPTION_SECTION_N; k++) {
        if (!option_sections[k].named)
            continue;
        struct config_named *named = &config->named[option_sections[k].kind];
        while (named->n > 0)
            free_object(&option_sections[k], named->items[--named->n].object);
    }
}

/* ---- checking ---- */

static int check_missing(const struct option_section *section, const struct config_named_item *item,
                         const char *name, struct config_report *report)
{
    char description[OPTION_DESCRIPTION_SIZE];
    int result = 0;
    for (size_t i = 0; i < OPTION_N; i++) {
        if (options[i].section != section || !option_is_missing(&options[i], item->object))
            continue;
        option_describe(&options[i], description, sizeof(description));
        result = report_add(report, name, item->line, "[%s \"%s\"] has no %s; expected %s",
                            section->name, name_of(item), options[i].key, description);
    }
    return result;
}

static int check_tls_profile(const struct config_named_item *item, const char *name,
                             struct config_report *report)
{
    const struct config_tls_profile *profile = item->object;
    int result = 0;
    bool says_trust = named_sets(item, &options[OPTION_tls_profile_trust]);
    if (says_trust && profile->trust == CONFIG_TRUST_FOLDER && !*profile->cacerts)
        result = report_add(report, name, item->line,
                            "[tls \"%s\"] trusts a folder only, but has none: set cacerts there or "
                            "in [tls]",
                            profile->name);
    if (says_trust && profile->trust == CONFIG_TRUST_SYSTEM &&
        named_sets(item, &options[OPTION_tls_profile_cacerts]))
        result = report_add(report, name, item->line,
                            "[tls \"%s\"] has cacerts, but its trust is system, which leaves that "
                            "folder out; expected trust = folder or both, or no cacerts",
                            profile->name);
    if (named_sets(item, &options[OPTION_tls_profile_crl_check]) &&
        profile->crl_check != CONFIG_CRL_OFF && profile->crl.n == 0)
        result = report_add(report, name, item->line,
                            "[tls \"%s\"] has crl_check, but no crl to look into; set both or none",
                            profile->name);
    return result;
}

static int check_references(const struct config *config, const struct config_named_item *item,
                            const char *name, struct config_report *report)
{
    const struct config_tunnel *tunnel = item->object;
    int result = 0;
    if (*tunnel->profile && strcmp(tunnel->profile, "default") != 0 &&
        !config_tls_profile(config, tunnel->profile))
        result = report_add(report, name, item->line,
                            "[tunnel \"%s\"] has profile = %s, but there is no [tls \"%s\"]",
                            tunnel->name, tunnel->profile, tunnel->profile);
    if (*tunnel->identity && !config_identity(config, tunnel->identity))
        result = report_add(report, name, item->line,
                            "[tunnel \"%s\"] has identity = %s, but there is no [identity \"%s\"]",
                            tunnel->name, tunnel->identity, tunnel->identity);
    if (!tunnel->secure &&
        (*tunnel->profile || *tunnel->identity || *tunnel->server_name || tunnel->alpn.n > 0))
        result = report_add(report, name, item->line,
                            "[tunnel \"%s\"] has secure = no, and a profile, identity, server_name "
                            "or alpn, which only TLS has a use for",
                            tunnel->name);
    return result;
}

/* The door of each tunnel is its own. */
static int check_tunnel(const struct config *config, const struct config_named_item *item,
                        const char *name, struct config_report *report)
{
    const struct config_tunnel *tunnel = item->object, *other;
    int result = check_references(config, item, name, report);
    if (*tunnel->listen && (strcmp(tunnel->listen, config->socks_socket) == 0 ||
                            strcmp(tunnel->listen, config->socks_listen) == 0))
        result = report_add(report, name, item->line,
                            "[tunnel \"%s\"] listens on %s, and so does [socks]", tunnel->name,
                            tunnel->listen);
    if (*tunnel->listen && (strcmp(tunnel->listen, config->metrics_socket) == 0 ||
                            strcmp(tunnel->listen, config->metrics_listen) == 0))
        result = report_add(report, name, item->line,
                            "[tunnel \"%s\"] listens on %s, and so does [metrics]", tunnel->name,
                            tunnel->listen);
    for (size_t i = 0; (other = config_tunnel_at(config, i)) && other != tunnel; i++)
        if (*tunnel->listen && strcmp(tunnel->listen, other->listen) == 0)
            result = report_add(report, name, item->line,
                                "[tunnel \"%s\"] listens on %s, and so does [tunnel \"%s\"]",
                                tunnel->name, tunnel->listen, other->name);
    return result;
}

static int check_pool(const struct config *config, const struct config_named_item *item,
                      const char *name, struct config_report *report)
{
    const struct config_pool *pool = item->object;
    int result = 0;
    if (pool->min_idle > pool->max_idle)
        result = report_add(report, name, item->line,
                            "[pool \"%s\"] has min_idle %lld above max_idle %lld", pool->name,
                            (long long)pool->min_idle, (long long)pool->max_idle);
    if (!pool->secure && (named_sets(item, &options[OPTION_pool_profile]) || *pool->identity ||
                          *pool->server_name || pool->alpn.n > 0))
        result = report_add(report, name, item->line,
                            "[pool \"%s\"] says something about TLS (profile, identity, "
                            "server_name, alpn), but not secure = yes",
                            pool->name);
    if (strcmp(pool->profile, "default") != 0 && !config_tls_profile(config, pool->profile))
        result = report_add(report, name, item->line,
                            "[pool \"%s\"] names the profile %s, but there is no [tls \"%s\"]",
                            pool->name, pool->profile, pool->profile);
    if (*pool->identity && !config_identity(config, pool->identity))
        result =
            report_add(report, name, item->line,
                       "[pool \"%s\"] names the identity %s, but there is no [identity \"%s\"]",
                       pool->name, pool->identity, pool->identity);
    return result;
}

static int check_rule(const struct config *config, const struct config_named_item *item,
                      const char *name, struct config_report *report)
{
    const struct config_rule *rule = item->object;
    int result = 0;
    for (size_t i = 0; i < rule->identity.n; i++)
        if (!config_identity(config, rule->identity.items[i]))
            result =
                report_add(report, name, item->line,
                           "[rule \"%s\"] names the identity %s, but there is no [identity \"%s\"]",
                           rule->name, rule->identity.items[i], rule->identity.items[i]);
    if (rule->secure == CONFIG_NO && (rule->verify != CONFIG_ANY || rule->identity.n > 0))
        result = report_add(report, name, item->line,
                            "[rule \"%s\"] has secure = no, and verify or identity, which only TLS "
                            "has: it fits nothing",
                            rule->name);
    return result;
}

int named_check(const struct config *config, const char *name, struct config_report *report)
{
    int result = 0;
    for (size_t k = 0; k < OPTION_SECTION_N; k++) {
        const struct option_section *section = &option_sections[k];
        if (!section->named)
            continue;
        const struct config_named *named = &config->named[section->kind];
        for (size_t i = 0; i < named->n; i++) {
            if (check_missing(section, &named->items[i], name, report) != 0)
                result = CONFIG_E_INVALID;
            if (section->kind == CONFIG_KIND_tls_profile &&
                check_tls_profile(&named->items[i], name, report) != 0)
                result = CONFIG_E_INVALID;
            if (section->kind == CONFIG_KIND_tunnel &&
                check_tunnel(config, &named->items[i], name, report) != 0)
                result = CONFIG_E_INVALID;
            if (section->kind == CONFIG_KIND_rule &&
                check_rule(config, &named->items[i], name, report) != 0)
                result = CONFIG_E_INVALID;
            if (section->kind == CONFIG_KIND_pool &&
                check_pool(config, &named->items[i], name, report) != 0)
                result = CONFIG_E_INVALID;
        }
    }
    return result;
}
