#include "broker/policy.h"

#include <stdlib.h>
#include <string.h>

const char *policy_preset_name(enum policy_preset preset)
{
    static const char *const names[] = {
        [POLICY_OPEN] = "open", [POLICY_INTERNET] = "internet", [POLICY_INTRANET] = "intranet"};
    return names[preset];
}

const char *policy_verdict_name(enum policy_verdict verdict)
{
    static const char *const names[] = {[POLICY_ALLOW] = "allow",
                                        [POLICY_DENY] = "deny",
                                        [POLICY_REPORT] = "report",
                                        [POLICY_UNSURE] = "unsure"};
    return names[verdict];
}

bool policy_is_about(enum method method)
{
    switch (method) {
    case METHOD_TCP_CONNECT:
    case METHOD_TCP_BIND:
    case METHOD_TCP_LISTEN:
    case METHOD_TCP_ACCEPT:
    case METHOD_TCP_START_TLS:
    case METHOD_TCP_PING:
    case METHOD_TCP_NAME2ADDR:
    case METHOD_TCP_ADDR2NAME:
        return true;
    default:
        return false;
    }
}

/* Others come in, or a connection that is there already was judged by it when it was made. */
static bool preset_is_about(enum method method)
{
    return method == METHOD_TCP_CONNECT || method == METHOD_TCP_PING;
}

void policy_finish(struct policy *policy)
{
    for (size_t i = 0; i < METHOD_N; i++)
        policy->concerns[i] = policy->preset != POLICY_OPEN && preset_is_about((enum method)i);
    for (size_t k = 0; k < policy->n_rules; k++) {
        const struct policy_rule *rule = &policy->rules[k];
        policy->needs_groups = policy->needs_groups || rule->n_gids > 0;
        for (size_t i = 0; i < METHOD_N; i++)
            if (rule->methods_given ? rule->methods[i] : policy_is_about((enum method)i))
                policy->concerns[i] = true;
    }
}

static void free_rule(struct policy_rule *rule)
{
    for (size_t i = 0; i < rule->n_hosts; i++)
        free(rule->hosts[i].name);
    for (size_t i = 0; i < rule->n_identities; i++)
        free(rule->identities[i]);
    free(rule->name);
    free(rule->conditions);
    free(rule->uids);
    free(rule->gids);
    free(rule->hosts);
    free(rule->identities);
    free(rule->addresses.ranges);
    free(rule->listen_addresses.ranges);
    free(rule->ports.ranges);
    free(rule->listen_ports.ranges);
}

struct policy *policy_free(struct policy *policy)
{
    if (!policy)
        return NULL;
    for (size_t i = 0; i < policy->n_rules; i++)
        free_rule(&policy->rules[i]);
    free(policy->rules);
    free(policy->file);
    free(policy);
    return NULL;
}

/* ---- one address ---- */

/* A form, and what is found out about it when somebody needs to know. */
struct place {
    const struct policy *policy;
    const struct address *address; /* NULL: not known yet */
    enum address_scope scope;
    bool listening; /* it is our end: for one on all addresses the ranges are parts of it */
    int own;        /* -1: not asked yet */
    int failed;     /* -errno of asking */
};

static bool is_own(struct place *place)
{
    if (place->own < 0) {
        int r = place->scope == SCOPE_UNSPECIFIED || place->scope == SCOPE_LOOPBACK
                    ? 1
                    : place->policy->own(place->address);
        if (r < 0)
            place->failed = r;
        place->own = r != 0; /* when in doubt, it is */
    }
    return place->own;
}

static void read_bytes(const struct address *address, struct in6_addr *ret_bytes)
{
    if (address_family(address) == AF_INET6) {
        *ret_bytes = address->v6.sin6_addr;
        return;
    }
    *ret_bytes = in6addr_any;
    memcpy(&ret_bytes->s6_addr[12], &address->v4.sin_addr, 4);
}

static bool in_ranges(const struct policy_addresses *addresses, const struct address *address)
{
    struct in6_addr bytes;
    bool v6 = address_family(address) == AF_INET6;

    read_bytes(address, &bytes);
    for (size_t i = 0; i < addresses->n_ranges; i++) {
        const struct policy_range *range = &addresses->ranges[i];
        if (range->v6 == v6 && memcmp(&bytes, &range->first, sizeof(bytes)) >= 0 &&
            memcmp(&bytes, &range->last, sizeof(bytes)) <= 0)
            return true;
    }
    return false;
}

/* Listening on all addresses is listening on some of those. */
static bool in_part(const struct policy_addresses *addresses, const struct address *address)
{
    bool v6 = address_family(address) == AF_INET6;

    for (size_t i = 0; i < addresses->n_ranges; i++)
        if (addresses->ranges[i].v6 == v6)
            return true;
    return addresses->scopes;
}

static bool in_addresses(const struct policy_addresses *addresses, struct place *place, bool denies)
{
    if (in_ranges(addresses, place->address))
        return true;
    if (place->listening && place->scope == SCOPE_UNSPECIFIED)
        return addresses->own || (denies && in_part(addresses, place->address));
    if (addresses->own && is_own(place))
        return true;
    if (!(addresses->scopes & 1U << place->scope))
        return false;
    /* who opens what is public does not mean what serves on this host */
    return place->scope != SCOPE_PUBLIC || place->listening || !is_own(place);
}

/* ---- one rule ---- */

enum fit { FIT_NO, FIT_MAYBE, FIT_YES };

static bool is_user(const struct policy_rule *rule, const struct policy_question *question)
{
    for (size_t i = 0; i < rule->n_uids; i++)
        if (rule->uids[i] == question->uid)
            return true;
    for (size_t i = 0; i < rule->n_gids; i++)
        for (size_t k = 0; k < question->n_gids; k++)
            if (rule->gids[i] == question->gids[k])
                return true;
    return false;
}

static bool fits_who(const struct policy_rule *rule, const struct policy_question *question)
{
    bool denies = rule->verdict == POLICY_DENY;

    if (!rule->for_some)
        return true;
    if (question->who != POLICY_USER)
        return question->who == POLICY_STRANGER ? denies : !denies;
    return is_user(rule, question) || (denies && question->more_gids && rule->n_gids > 0);
}

static bool is_below(const char *name, const char *domain)
{
    size_t n_name = strlen(name), n_domain = strlen(domain);
    return n_name > n_domain + 1 && name[n_name - n_domain - 1] == '.' &&
           strcmp(name + n_name - n_domain, domain) == 0;
}

static bool fits_host(const struct policy_rule *rule, const char *name)
{
    for (size_t i = 0; name && i < rule->n_hosts; i++)
        if (rule->hosts[i].below ? is_below(name, rule->hosts[i].name)
                                 : strcmp(name, rule->hosts[i].name) == 0)
            return true;
    return rule->n_hosts == 0;
}

static bool fits_tls(const struct policy_rule *rule, const struct policy_question *question)
{
    if (rule->secure != POLICY_ANY && question->secure != (rule->secure == POLICY_YES))
        return false;
    if (rule->verify != POLICY_ANY &&
        (!question->secure || question->verify != (rule->verify == POLICY_YES)))
        return false;
    for (size_t i = 0; question->identity && i < rule->n_identities; i++)
        if (strcmp(rule->identities[i], question->identity) == 0)
            return true;
    return rule->n_identities == 0;
}

static enum fit fits_ports(const struct policy_ports *ports, uint16_t port, bool not_yet)
{
    if (ports->n_ranges == 0)
        return FIT_YES;
    if (port == 0)
        return not_yet ? FIT_MAYBE : FIT_NO;
    for (size_t i = 0; i < ports->n_ranges; i++)
        if (port >= ports->ranges[i].first && port <= ports->ranges[i].last)
            return FIT_YES;
    return FIT_NO;
}

static enum fit fits_addresses(const struct policy_addresses *addresses, struct place *place,
                               bool not_yet, bool denies)
{
    if (addresses->any)
        return FIT_YES;
    if (!place->address)
        return not_yet ? FIT_MAYBE : FIT_NO;
    return in_addresses(addresses, place, denies) ? FIT_YES : FIT_NO;
}

static enum fit fits(const struct policy_rule *rule, const struct policy_question *question,
                     struct place *far, struct place *near)
{
    bool denies = rule->verdict == POLICY_DENY;
    bool about =
        rule->methods_given ? rule->methods[question->method] : policy_is_about(question->method);

    if (!about || !fits_who(rule, question) || !fits_host(rule, question->host) ||
        !fits_tls(rule, question))
        return FIT_NO;
    const enum fit parts[] = {
        fits_ports(&rule->ports, question->port, question->no_port_yet),
        fits_ports(&rule->listen_ports, question->listen_port, question->no_listen_port_yet),
        fits_addresses(&rule->addresses, far, question->no_address_yet, denies),
        fits_addresses(&rule->listen_addresses, near, false, denies),
    };
    enum fit least = FIT_YES;
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
        if (parts[i] < least)
            least = parts[i];
    return least;
}

/* ---- one form ---- */

static bool preset_allows(const struct policy *policy, struct place *far)
{
    switch (policy->preset) {
    case POLICY_INTERNET:
        return far->scope == SCOPE_PUBLIC && !is_own(far);
    case POLICY_INTRANET:
        return (far->scope == SCOPE_PRIVATE || far->scope == SCOPE_SHARED ||
                far->scope == SCOPE_UNIQUE_LOCAL) &&
               !is_own(far);
    case POLICY_OPEN:
        break;
    }
    return true;
}

/* What is left when no rule is in the way; passed: one has let it pass. */
static void judge_preset(const struct policy *policy, const struct policy_question *question,
                         struct policy_rule *passed, struct place *far,
                         struct policy_answer *answer)
{
    answer->verdict = passed ? passed->verdict : POLICY_ALLOW;
    answer->rule = passed;
    if (policy->preset == POLICY_OPEN || !preset_is_about(question->method) ||
        (passed && !passed->addresses.any))
        return;
    if (!far->address) {
        if (question->no_address_yet)
            answer->verdict = POLICY_UNSURE;
        return;
    }
    if (preset_allows(policy, far))
        return;
    answer->verdict = POLICY_DENY;
    answer->rule = NULL;
    answer->passed = passed;
    answer->own = far->own > 0;
}

static void judge_form(const struct policy *policy, const struct policy_question *question,
                       struct place *far, struct place *near, struct policy_answer *answer)
{
    bool may_pass = false, may_deny = false; /* by a rule before, when more is known */
    struct policy_rule *passed = NULL;

    *answer = (struct policy_answer){.verdict = POLICY_UNSURE, .scope = far->scope};
    for (size_t i = 0; i < policy->n_rules; i++) {
        struct policy_rule *rule = &policy->rules[i];
        enum fit fit = fits(rule, question, far, near);
        if (fit == FIT_MAYBE && rule->verdict == POLICY_DENY)
            may_deny = true;
        else if (fit == FIT_MAYBE)
            may_pass = true;
        if (fit != FIT_YES)
            continue;
        if (rule->verdict == POLICY_DENY) {
            if (!may_pass) {
                answer->verdict = POLICY_DENY;
                answer->rule = rule;
            }
            return;
        }
        passed = rule;
        break;
    }
    if (!may_pass && !may_deny)
        judge_preset(policy, question, passed, far, answer);
}

/* ---- all forms ---- */

static struct place place_of(const struct policy *policy, const struct address *address)
{
    return (struct place){.policy = policy,
                          .address = address,
                          .scope = address ? address_scope(address) : SCOPE_RESERVED,
                          .own = -1};
}

/* [::] takes connections of IPv4, too. */
static size_t listen_forms(const struct address *address, struct address *forms)
{
    forms[0] = *address;
    address_unmap(&forms[0]);
    if (address_family(&forms[0]) != AF_INET6 || !IN6_IS_ADDR_UNSPECIFIED(&forms[0].v6.sin6_addr))
        return 1;
    forms[1] = (struct address){.n_bytes = sizeof(forms[1].v4)};
    forms[1].v4.sin_family = AF_INET;
    return 2;
}

/* The strictest answer counts: the first that denies, else one that reports, else that of the
 * address itself. */
static void keep(const struct policy_answer *each, bool first, struct policy_answer *ret_answer)
{
    if (first || (ret_answer->verdict != POLICY_DENY && each->verdict == POLICY_DENY) ||
        (ret_answer->verdict == POLICY_ALLOW && each->verdict != POLICY_ALLOW))
        *ret_answer = *each;
}

int policy_judge(const struct policy *policy, const struct policy_question *question,
                 struct policy_answer *ret_answer)
{
    struct address forms[ADDRESS_FORMS_MAX], near_forms[2];
    size_t n = question->address ? address_forms(question->address, forms) : 0;
    size_t n_near =
        question->listen_address ? listen_forms(question->listen_address, near_forms) : 0;
    int failed = 0;

    for (size_t i = 0; i == 0 || i < n; i++) {
        for (size_t k = 0; k == 0 || k < n_near; k++) {
            struct place far = place_of(policy, i < n ? &forms[i] : NULL);
            struct place near = place_of(policy, k < n_near ? &near_forms[k] : NULL);
            struct policy_answer each;
            near.listening = true;
            judge_form(policy, question, &far, &near, &each);
            if (i < n)
                each.form = forms[i];
            keep(&each, i == 0 && k == 0, ret_answer);
            failed = far.failed ? far.failed : near.failed ? near.failed : failed;
        }
    }
    if (failed)
        ret_answer->verdict = POLICY_DENY;
    return failed;
}
