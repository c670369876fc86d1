#include "app/policies.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/ids.h"
#include "config/rule.h"
#include "net/hostname.h"
#include "net/own_address.h"

/* What is wrong with an item of a list; for the reason. */
struct trouble {
    const char *key, *item;
    const char *what;
};

static int wrong(struct trouble *trouble, const char *key, const char *item, const char *what)
{
    *trouble = (struct trouble){.key = key, .item = item, .what = what};
    return -EINVAL;
}

/* Room for the items of a list, for one at least: none is no lack of memory. */
static void *room(const struct config_list *list, size_t n_each)
{
    return calloc(list->n ? list->n : 1, n_each);
}

/* ---- the conditions ---- */

static int read_ids(const struct config_list *list, const char *key, const char *unknown,
                    int (*find)(const char *name, uint32_t *ret_id, bool *ret_known),
                    uint32_t **ret_ids, size_t *ret_n, struct trouble *trouble)
{
    *ret_ids = room(list, sizeof(**ret_ids));
    if (!*ret_ids)
        return -ENOMEM;
    for (size_t i = 0; i < list->n; i++) {
        bool known = false;
        uint32_t id;
        const char *what = config_read_id(list->items[i], &known, &id);
        if (what)
            return wrong(trouble, key, list->items[i], what);
        int r = known ? 0 : find(list->items[i], &id, &known);
        if (r)
            return r;
        if (!known)
            return wrong(trouble, key, list->items[i], unknown);
        (*ret_ids)[(*ret_n)++] = id;
    }
    return 0;
}

static int read_methods(const struct config_list *list, struct policy_rule *rule,
                        struct trouble *trouble)
{
    rule->methods_given = list->n > 0;
    for (size_t i = 0; i < list->n; i++) {
        size_t method = METHOD_UNKNOWN + 1;
        while (method < METHOD_N && strcmp(method_infos[method].name, list->items[i]) != 0)
            method++;
        if (method == METHOD_N)
            return wrong(trouble, "methods", list->items[i],
                         "is no method; \"tcpbroker help\" and Broker.Hello list them");
        rule->methods[method] = true;
    }
    return 0;
}

static int read_hosts(const struct config_list *list, struct policy_rule *rule,
                      struct trouble *trouble)
{
    rule->hosts = room(list, sizeof(*rule->hosts));
    if (!rule->hosts)
        return -ENOMEM;
    for (size_t i = 0; i < list->n; i++) {
        struct config_pattern pattern;
        char name[HOSTNAME_WIRE_MAX];
        const char *what = config_read_pattern(list->items[i], &pattern);
        if (what)
            return wrong(trouble, "hosts", list->items[i], what);
        int r = hostname_wire(pattern.name, name);
        if (r)
            return r < 0 ? r : wrong(trouble, "hosts", list->items[i], "cannot be a host's name");
        size_t n = strlen(name);
        if (n > 1 && name[n - 1] == '.') /* a full stop of another script */
            name[n - 1] = '\0';
        struct policy_host *host = &rule->hosts[rule->n_hosts];
        host->below = pattern.below;
        host->name = strdup(name);
        if (!host->name)
            return -ENOMEM;
        rule->n_hosts++;
    }
    return 0;
}

static unsigned scopes_of(enum config_range_word word, bool denies)
{
    /* metadata is opened by its own name only */
    const unsigned metadata = denies ? 1U << SCOPE_METADATA : 0;

    switch (word) {
    case CONFIG_RANGE_PUBLIC:
        return 1U << SCOPE_PUBLIC | metadata;
    case CONFIG_RANGE_PRIVATE:
        return 1U << SCOPE_PRIVATE | 1U << SCOPE_SHARED | 1U << SCOPE_UNIQUE_LOCAL | metadata;
    case CONFIG_RANGE_LOOPBACK:
        return 1U << SCOPE_LOOPBACK | 1U << SCOPE_UNSPECIFIED;
    case CONFIG_RANGE_LINK_LOCAL:
        return 1U << SCOPE_LINK_LOCAL | metadata;
    case CONFIG_RANGE_METADATA:
        return 1U << SCOPE_METADATA;
    case CONFIG_RANGE_MULTICAST:
        return 1U << SCOPE_MULTICAST | 1U << SCOPE_BROADCAST;
    case CONFIG_RANGE_OWN:
    case CONFIG_RANGE_NUMBERS:
        break;
    }
    return 0;
}

static int read_addresses(const struct config_list *list, const char *key, bool denies,
                          struct policy_addresses *addresses, struct trouble *trouble)
{
    addresses->any = list->n == 0;
    addresses->ranges = room(list, sizeof(*addresses->ranges));
    if (!addresses->ranges)
        return -ENOMEM;
    for (size_t i = 0; i < list->n; i++) {
        struct config_range range;
        const char *what = config_read_range(list->items[i], &range);
        if (what)
            return wrong(trouble, key, list->items[i], what);
        if (range.word == CONFIG_RANGE_NUMBERS)
            addresses->ranges[addresses->n_ranges++] =
                (struct policy_range){.v6 = range.v6, .first = range.first, .last = range.last};
        addresses->scopes |= scopes_of(range.word, denies);
        addresses->own = addresses->own || range.word == CONFIG_RANGE_OWN;
    }
    return 0;
}

/* 0: there is no such service */
static uint16_t find_service(const char *name)
{
    struct servent entry, *found = NULL;
    char buffer[16384];

    if (getservbyname_r(name, "tcp", &entry, buffer, sizeof(buffer), &found) || !found)
        return 0;
    return ntohs((uint16_t)found->s_port);
}

static int read_ports(const struct config_list *list, const char *key, struct policy_ports *ports,
                      struct trouble *trouble)
{
    ports->ranges = room(list, sizeof(*ports->ranges));
    if (!ports->ranges)
        return -ENOMEM;
    for (size_t i = 0; i < list->n; i++) {
        struct config_ports range;
        const char *what = config_read_ports(list->items[i], &range);
        if (what)
            return wrong(trouble, key, list->items[i], what);
        if (*range.service)
            range.first = range.last = find_service(range.service);
        if (range.first == 0)
            return wrong(trouble, key, list->items[i],
                         "is no service here; give the port's number, or add it to /etc/services");
        ports->ranges[ports->n_ranges++] =
            (struct policy_port_range){.first = range.first, .last = range.last};
    }
    return 0;
}

static int read_identities(const struct config_list *list, struct policy_rule *rule)
{
    rule->identities = room(list, sizeof(*rule->identities));
    for (size_t i = 0; rule->identities && i < list->n; i++) {
        rule->identities[i] = strdup(list->items[i]);
        if (!rule->identities[i])
            return -ENOMEM;
        rule->n_identities++;
    }
    return rule->identities ? 0 : -ENOMEM;
}

/* ---- a rule ---- */

static int write_conditions(const struct config_rule *config, struct policy_rule *rule)
{
    static const char *const words[] = {[CONFIG_YES] = "yes", [CONFIG_NO] = "no"};
    const struct {
        const char *key;
        const struct config_list *list;
        int word;
    } parts[] = {
        {"users", &config->users, 0},
        {"groups", &config->groups, 0},
        {"methods", &config->methods, 0},
        {"hosts", &config->hosts, 0},
        {"addresses", &config->addresses, 0},
        {"ports", &config->ports, 0},
        {"secure", NULL, config->secure},
        {"verify", NULL, config->verify},
        {"identity", &config->identity, 0},
        {"listen_addresses", &config->listen_addresses, 0},
        {"listen_ports", &config->listen_ports, 0},
    };
    const char *divider = "";
    size_t n;
    FILE *stream = open_memstream(&rule->conditions, &n);
    if (!stream)
        return -ENOMEM;
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        const struct config_list *list = parts[i].list;
        if (list ? list->n == 0 : parts[i].word == CONFIG_ANY)
            continue;
        fprintf(stream, "%s%s =", divider, parts[i].key);
        for (size_t k = 0; list && k < list->n; k++)
            fprintf(stream, " %s", list->items[k]);
        if (!list)
            fprintf(stream, " %s", words[parts[i].word]);
        divider = "; ";
    }
    bool failed = ferror(stream);
    return fclose(stream) || failed ? -ENOMEM : 0;
}

static int read_lists(const struct config_rule *config, struct policy_rule *rule,
                      struct trouble *trouble)
{
    bool denies = rule->verdict == POLICY_DENY;
    int r = read_ids(&config->users, "users", "is no user of this host", ids_find_user, &rule->uids,
                     &rule->n_uids, trouble);
    if (r == 0)
        r = read_ids(&config->groups, "groups", "is no group of this host", ids_find_group,
                     &rule->gids, &rule->n_gids, trouble);
    if (r == 0)
        r = read_methods(&config->methods, rule, trouble);
    if (r == 0)
        r = read_hosts(&config->hosts, rule, trouble);
    if (r == 0)
        r = read_addresses(&config->addresses, "addresses", denies, &rule->addresses, trouble);
    if (r == 0)
        r = read_addresses(&config->listen_addresses, "listen_addresses", denies,
                           &rule->listen_addresses, trouble);
    if (r == 0)
        r = read_ports(&config->ports, "ports", &rule->ports, trouble);
    if (r == 0)
        r = read_ports(&config->listen_ports, "listen_ports", &rule->listen_ports, trouble);
    if (r == 0)
        r = read_identities(&config->identity, rule);
    return r;
}

static int read_rule(const struct config_rule *config, struct policy_rule *rule,
                     struct trouble *trouble)
{
    static const enum policy_verdict verdicts[] = {[CONFIG_ALLOW] = POLICY_ALLOW,
                                                   [CONFIG_DENY] = POLICY_DENY,
                                                   [CONFIG_REPORT] = POLICY_REPORT};
    static const enum policy_condition conditions[] = {
        [CONFIG_ANY] = POLICY_ANY, [CONFIG_YES] = POLICY_YES, [CONFIG_NO] = POLICY_NO};
    enum config_verdict verdict;

    const char *what = config_read_verdict(config->verdict, &verdict);
    if (what)
        return wrong(trouble, "verdict", config->verdict, what);
    rule->verdict = verdicts[verdict];
    rule->secure = conditions[config->secure];
    rule->verify = conditions[config->verify];
    rule->for_some = config->users.n + config->groups.n > 0;
    rule->name = strdup(config->name);
    if (!rule->name)
        return -ENOMEM;
    int r = write_conditions(config, rule);
    return r ? r : read_lists(config, rule, trouble);
}

static size_t count(const struct config *config)
{
    size_t n = 0;
    while (config_rule_at(config, n))
        n++;
    return n;
}

/* "FILE:LINE: rule "name".hosts: "x" is …", as the loader writes it. */
static int tell(const struct config *config, size_t i, const char *file,
                const struct trouble *trouble, char *reason, size_t n_reason)
{
    size_t line = config_named_line(config, CONFIG_KIND_rule, i);
    int n = line ? snprintf(reason, n_reason, "%s:%zu: ", file, line)
                 : snprintf(reason, n_reason, "--set: ");
    if (n > 0 && (size_t)n < n_reason)
        snprintf(reason + n, n_reason - (size_t)n, "rule \"%s\".%s has %.60s, which %s",
                 config_rule_at(config, i)->name, trouble->key, trouble->item, trouble->what);
    return 2;
}

int policies_load(struct policy **ret_policy, const struct config *config, const char *file,
                  char *reason, size_t n_reason)
{
    static const enum policy_preset presets[] = {[CONFIG_POLICY_OPEN] = POLICY_OPEN,
                                                 [CONFIG_POLICY_INTERNET] = POLICY_INTERNET,
                                                 [CONFIG_POLICY_INTRANET] = POLICY_INTRANET};
    struct trouble trouble = {0};
    size_t n = count(config), i = 0;
    int r = -ENOMEM;

    *ret_policy = NULL;
    if (n == 0 && config->policy_preset == CONFIG_POLICY_OPEN)
        return 0;
    struct policy *policy = calloc(1, sizeof(*policy));
    if (policy) {
        policy->preset = presets[config->policy_preset];
        policy->own = address_is_own;
        policy->file = strdup(file ? file : "--set");
        policy->rules = calloc(n + 1, sizeof(*policy->rules));
        r = policy->file && policy->rules ? 0 : -ENOMEM;
    }
    for (; r == 0 && i < n; i++) {
        policy->rules[i].line = config_named_line(config, CONFIG_KIND_rule, i);
        policy->n_rules++;
        r = read_rule(config_rule_at(config, i), &policy->rules[i], &trouble);
    }
    if (r == 0) {
        policy_finish(policy);
        *ret_policy = policy;
        return 0;
    }
    policy_free(policy);
    if (r == -EINVAL)
        return tell(config, i - 1, file, &trouble, reason, n_reason);
    snprintf(reason, n_reason, "out of memory");
    return 1;
}
