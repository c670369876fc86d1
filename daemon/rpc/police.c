#include "rpc/police.h"

#include <stdio.h>
#include <string.h>

#include "broker/stats.h"
#include "rpc/request.h"
#include "util/log.h"

/* ---- who asks ---- */

static void begin(struct police *police, const struct policy *policy, enum method method)
{
    police->policy = policy;
    police->question = (struct policy_question){.method = method, .who = POLICY_STRANGER};
    police->uid = -1;
    police->pid = 0;
    police->host = NULL;
    police->is_literal = false;
}

void police_peer(struct police *police, const struct policy *policy, enum method method, int fd)
{
    begin(police, policy, method);
    if (fd < 0 || credentials_user_of(&police->user, fd))
        return;
    police->question.who = POLICY_USER;
    police->question.uid = police->user.uid;
    police->question.gids = police->user.gids;
    police->question.n_gids = police->user.n_gids;
    police->question.more_gids = police->user.more_gids;
    police->uid = police->user.uid;
}

void police_request(struct police *police, const struct request *request)
{
    const struct client *client = request->client;
    const struct policy *policy = client->io->snapshot->policy;

    if (policy->needs_groups) {
        police_peer(police, policy, request->call->method, client->fd);
    } else {
        begin(police, policy, request->call->method);
        police->question.who = POLICY_USER;
        police->question.uid = client->uid;
    }
    police->uid = client->uid;
    police->pid = client->pid;
}

void police_anyone(struct police *police, const struct policy *policy, enum method method)
{
    begin(police, policy, method);
    police->question.who = POLICY_ANYONE;
}

void police_host(struct police *police, const char *host)
{
    struct address literal;

    police->host = host;
    police->question.host = NULL;
    police->is_literal = address_parse(&literal, host, 0) == 0;
    /* what is no name at all the resolver refuses */
    if (police->is_literal || hostname_wire(host, police->wire))
        return;
    size_t n = strlen(police->wire);
    if (n > 1 && police->wire[n - 1] == '.')
        police->wire[n - 1] = '\0';
    police->question.host = police->wire;
}

/* ---- telling ---- */

static void describe(const struct police *police, const struct policy_answer *answer, char *text,
                     size_t n_text)
{
    char address[ADDRESS_TEXT_MAX] = "";
    const struct policy_question *question = &police->question;
    const struct address *far = question->address ? question->address : question->listen_address;
    unsigned port = question->port ? question->port : question->listen_port;

    if (far)
        (void)address_text(far, address, sizeof(address));
    snprintf(text, n_text, "uid %lld pid %d %s%s%s%s%s port %u%s%s", police->uid, (int)police->pid,
             method_infos[question->method].name, police->host ? " host " : "",
             police->host ? police->host : "", *address ? " address " : "", address, port,
             answer->own ? " (of this host)" : "", question->secure ? " tls" : "");
}

/* "/etc/tcpbroker/tcpbroker.conf:12" */
static void where_text(const struct police *police, const struct policy_rule *rule, char *text,
                       size_t n_text)
{
    if (rule->line)
        snprintf(text, n_text, "%s:%zu", police->policy->file, rule->line);
    else
        snprintf(text, n_text, "--set");
}

/* What is denied has the line of its record (broker/record.h), with these fields. */
static void tell_reported(const struct police *police, const struct policy_rule *rule,
                          const char *where, const char *text, const char *more)
{
    char uid[24], pid[24];
    const struct log_field fields[] = {
        {TAG_RULE, where}, {TAG_REASON, text}, {TAG_UID, uid}, {TAG_PID, pid}};

    snprintf(uid, sizeof(uid), "%lld", (long long)police->uid);
    snprintf(pid, sizeof(pid), "%lld", (long long)police->pid);
    log_event(LOG_NOTICE_, EVENT_POLICY_REPORTED, fields, sizeof(fields) / sizeof(fields[0]),
              "policy: rule %s (%s) reports %s%s", rule->name, where, text, more);
}

/* For each rule by itself. */
static void tell(const struct police *police, const struct policy_answer *answer)
{
    struct policy *policy = (struct policy *)police->policy; /* for its counters */
    struct policy_rule *rule = answer->rule;
    char text[512], where[512], more[64] = "";
    unsigned n_untold;

    if (!log_enabled(LOG_NOTICE_) ||
        !seldom_now(rule ? &rule->tellings : &policy->preset_tellings, loop_clock_us(), &n_untold))
        return;
    describe(police, answer, text, sizeof(text));
    if (n_untold)
        snprintf(more, sizeof(more), " (and %u more since the last such line)", n_untold);
    if (rule)
        where_text(police, rule, where, sizeof(where));
    if (rule && answer->verdict == POLICY_REPORT)
        tell_reported(police, rule, where, text, more);
    else if (rule)
        log_notice("policy: rule %s (%s) denies %s%s", rule->name, where, text, more);
    else
        log_notice("policy: preset %s denies %s%s", policy_preset_name(policy->preset), text, more);
}

/* Each decision once, however many addresses it was made about. */
static void count(const struct police *police, const struct policy_answer *answer)
{
    struct policy *policy = (struct policy *)police->policy; /* for its counters */

    if (answer->rule)
        atomic_fetch_add_explicit(&answer->rule->hits, 1, memory_order_relaxed);
    else if (answer->verdict == POLICY_DENY)
        atomic_fetch_add_explicit(&policy->preset_hits, 1, memory_order_relaxed);
    if (answer->verdict == POLICY_REPORT)
        stats_count(policy_reported);
    if (answer->verdict == POLICY_REPORT || answer->verdict == POLICY_DENY)
        tell(police, answer);
}

/* ---- refusing ---- */

/* "10.0.0.1 (in 64:ff9b::a00:1)" */
static void subject(const struct police *police, const struct policy_answer *answer, char *text,
                    size_t n_text)
{
    char form[ADDRESS_TEXT_MAX], whole[ADDRESS_TEXT_MAX];
    const struct address *address = police->question.address;

    if (!address || !answer->form.n_bytes) {
        snprintf(text, n_text, "it");
        return;
    }
    (void)address_text(&answer->form, form, sizeof(form));
    (void)address_text(address, whole, sizeof(whole));
    if (strcmp(form, whole) == 0)
        snprintf(text, n_text, "%s", form);
    else
        snprintf(text, n_text, "%s (in %s)", form, whole);
}

static void fault_rule(const struct police *police, const struct policy_rule *rule,
                       const char *address, const char *what, struct fault *ret_fault)
{
    char where[512];

    where_text(police, rule, where, sizeof(where));
    fault_set(
        ret_fault, WIRE_EACCES,
        "%s: the policy's rule \"%s\" (%s) denies %s; \"tcpbroker policy test\" shows what is "
        "allowed",
        what, rule->name, where, address);
    ret_fault->rule = rule->name;
    ret_fault->rule_file = rule->line ? police->policy->file : "--set";
    ret_fault->rule_line = rule->line;
}

static void fault_preset(const struct police *police, const struct policy_answer *answer,
                         const char *address, const char *what, struct fault *ret_fault)
{
    char passed[160] = "";

    if (answer->passed)
        snprintf(passed, sizeof(passed), " (the rule \"%s\" allows it, but says no addresses)",
                 answer->passed->name);
    fault_set(
        ret_fault, WIRE_EACCES,
        "%s: policy.preset = %s denies %s, %s%s; a rule with addresses can allow it, \"tcpbroker "
        "policy test\" shows what is",
        what, policy_preset_name(police->policy->preset), address,
        answer->own && answer->scope != SCOPE_LOOPBACK && answer->scope != SCOPE_UNSPECIFIED
            ? "an address of this host"
            : address_scope_text(answer->scope),
        passed);
    ret_fault->preset = policy_preset_name(police->policy->preset);
}

void police_fault(const struct police *police, const struct policy_answer *answer, const char *what,
                  struct fault *ret_fault)
{
    char address[2 * ADDRESS_TEXT_MAX + 8];

    subject(police, answer, address, sizeof(address));
    if (answer->rule)
        fault_rule(police, answer->rule, address, what, ret_fault);
    else
        fault_preset(police, answer, address, what, ret_fault);
    ret_fault->stage = STAGE_POLICY;
}

/* ---- judging ---- */

bool police_passes(struct police *police, const char *what, struct fault *ret_fault)
{
    struct policy_answer answer;

    /* nothing has to be found out: it is judged once, and the first rule that fits is told */
    if (police->is_literal && police->question.no_address_yet)
        return true;
    int r = policy_judge(police->policy, &police->question, &answer);
    if (r) {
        fault_errno(ret_fault, STAGE_BROKER, -r, what);
        return false;
    }
    if (answer.verdict == POLICY_UNSURE)
        return true;
    /* with the address it will be decided again, and counted then */
    if (answer.verdict != POLICY_DENY && police->question.no_address_yet)
        return true;
    count(police, &answer);
    if (answer.verdict != POLICY_DENY)
        return true;
    stats_count(policy_denied);
    police_fault(police, &answer, what, ret_fault);
    return false;
}

static int judge(struct police *police, const struct address *address, struct policy_answer *answer)
{
    police->question.address = address;
    if (police->question.port == 0 && police->question.no_port_yet)
        police->question.port = address_port(address);
    police->question.no_address_yet = police->question.no_port_yet = false;
    return policy_judge(police->policy, &police->question, answer);
}

bool police_lets(struct police *police, const struct address *address)
{
    struct policy_answer answer;
    return judge(police, address, &answer) == 0 && answer.verdict != POLICY_DENY;
}

/* Has that rule decided about an address before? Then it is counted already. */
struct counted {
    const struct policy_rule *rules[8];
    size_t n;
    bool preset;
};

static bool is_new(struct counted *counted, const struct policy_answer *answer)
{
    bool preset = counted->preset;

    if (!answer->rule) {
        counted->preset = counted->preset || answer->verdict == POLICY_DENY;
        return !preset;
    }
    for (size_t i = 0; i < counted->n; i++)
        if (counted->rules[i] == answer->rule)
            return false;
    if (counted->n < sizeof(counted->rules) / sizeof(counted->rules[0]))
        counted->rules[counted->n++] = answer->rule;
    return true;
}

bool police_addresses(struct police *police, struct address *addresses, size_t *n, const char *what,
                      struct fault *ret_fault)
{
    struct counted counted = {.n = 0};
    size_t n_kept = 0;
    bool failed = false;

    for (size_t i = 0; i < *n; i++) {
        struct address address = addresses[i];
        struct policy_answer answer;
        int r = judge(police, &address, &answer);
        if (r == 0 && is_new(&counted, &answer))
            count(police, &answer);
        if (r == 0 && answer.verdict != POLICY_DENY)
            addresses[n_kept++] = address;
        else if (!failed && r)
            fault_errno(ret_fault, STAGE_BROKER, -r, what);
        else if (!failed)
            police_fault(police, &answer, what, ret_fault);
        failed = failed || r || answer.verdict == POLICY_DENY;
    }
    police->question.address = NULL;
    if (n_kept == 0 && *n > 0 && ret_fault->stage == STAGE_POLICY)
        stats_count(policy_denied);
    *n = n_kept;
    return n_kept > 0;
}

bool police_passes_call(struct request *request)
{
    struct police police;
    struct fault fault;

    police_request(&police, request);
    if (police_passes(&police, request_name(request), &fault))
        return true;
    request_fail(request, &fault);
    return false;
}
