/*
 * method_policy: Policy.Test and Policy.Show. What a request would be told is found out as the
 * request itself would find it out, without counting it. The groups of another user are asked for
 * on a worker, since that may take its time.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rpc/job.h"
#include "rpc/method.h"
#include "rpc/police.h"
#include "rpc/user_search.h"

/* Without a configured one. */
static const struct policy open_policy = {.preset = POLICY_OPEN};

static const struct policy *policy_of(const struct request *request)
{
    const struct policy *policy = request->client->io->snapshot->policy;
    return policy ? policy : &open_policy;
}

static void fail_memory(struct request *request)
{
    struct fault fault;
    fault_set(&fault, WIRE_ENOBUFS, "%s: out of memory", request_name(request));
    request_fail(request, &fault);
}

/* ---- Policy.Show ---- */

void method_policy_show(struct request *request)
{
    const struct policy *policy = policy_of(request);
    struct proto_policy_rule *rows = calloc(policy->n_rules + 1, sizeof(*rows));

    if (!rows) {
        fail_memory(request);
        return;
    }
    for (size_t i = 0; i < policy->n_rules; i++) {
        struct policy_rule *rule = &policy->rules[i];
        rows[i] = (struct proto_policy_rule){
            .name = rule->name,
            .verdict = policy_verdict_name(rule->verdict),
            .conditions = rule->conditions,
            .has_line = rule->line > 0,
            .line = (int64_t)rule->line,
            .hits = (int64_t)atomic_load_explicit(&rule->hits, memory_order_relaxed),
        };
    }
    struct proto_policy_show_result result = {
        .preset = policy_preset_name(policy->preset),
        .preset_hits = (int64_t)atomic_load_explicit(&policy->preset_hits, memory_order_relaxed),
        .has_file = policy->file != NULL,
        .file = policy->file,
        .rules = {.items = rows, .n_items = policy->n_rules},
    };
    request_answer(request, &result);
    free(rows);
}

/* ---- Policy.Test: the question ---- */

/* Kept by the request from the beginning to its answer. */
struct policy_test {
    struct user_search search;
    struct request *request; /* NULL: nobody waits any more */
    enum method method;
    bool own; /* the asking user himself: his groups are those of his connection */
};

/* The strings of params live as long as the request. */
static void ask(const struct policy_test *test, const char *host, struct police *police)
{
    const struct request *request = test->request;
    const struct proto_policy_test_params *params = &request->params.policy_test;

    police_peer(police, policy_of(request), test->method, test->own ? request->client->fd : -1);
    if (!test->own) {
        police->question.gids = test->search.gids;
        police->question.n_gids = (size_t)test->search.n_gids;
        police->question.more_gids = test->search.more_gids;
    }
    police->question.who = POLICY_USER;
    police->question.uid = test->search.uid;
    if (*host)
        police_host(police, host);
    police->question.secure = params->secure || test->method == METHOD_TCP_START_TLS;
    police->question.verify = params->verify;
    police->question.identity = params->has_identity ? params->identity : NULL;
}

static bool listens(enum method method)
{
    return method == METHOD_TCP_BIND || method == METHOD_TCP_LISTEN;
}

static bool looks_up(enum method method)
{
    return method == METHOD_TCP_CONNECT || method == METHOD_TCP_START_TLS ||
           method == METHOD_TCP_PING;
}

static bool takes_address(enum method method)
{
    return method == METHOD_TCP_ACCEPT || method == METHOD_TCP_ADDR2NAME;
}

static bool has_port(enum method method)
{
    return method == METHOD_TCP_CONNECT || method == METHOD_TCP_START_TLS;
}

/* ---- the answer ---- */

struct answers {
    struct proto_policy_address rows[LOOKUP_ADDRESSES_MAX];
    char texts[LOOKUP_ADDRESSES_MAX][ADDRESS_TEXT_MAX];
    char forms[LOOKUP_ADDRESSES_MAX][ADDRESS_TEXT_MAX];
    size_t n;
};

/* The request is about to be answered. */
static void finish(struct policy_test *test)
{
    struct request *request = test->request;

    request->op.test = NULL;
    request->withdraw = NULL;
    free(test);
}

/* A word for what the policy has not decided: with nothing more to be known, it lets it pass. */
static const char *verdict_name(enum policy_verdict verdict)
{
    return policy_verdict_name(verdict == POLICY_UNSURE ? POLICY_ALLOW : verdict);
}

static void add_answer(struct answers *answers, const struct address *address,
                       const struct policy_answer *answer)
{
    struct proto_policy_address *row = &answers->rows[answers->n];
    char *text = answers->texts[answers->n], *form = answers->forms[answers->n];

    (void)address_text(address, text, ADDRESS_TEXT_MAX);
    (void)address_text(&answer->form, form, ADDRESS_TEXT_MAX);
    *row = (struct proto_policy_address){
        .address = text,
        .scope = address_scope_name(address_scope(address)),
        .verdict = verdict_name(answer->verdict),
        .has_rule = answer->rule != NULL,
        .rule = answer->rule ? answer->rule->name : NULL,
        .has_line = answer->rule && answer->rule->line > 0,
        .line = answer->rule ? (int64_t)answer->rule->line : 0,
        .has_form = answer->verdict == POLICY_DENY && strcmp(text, form) != 0,
        .form = form,
    };
    answers->n++;
}

static void answer(struct policy_test *test, const struct policy_answer *deciding, bool looked_up,
                   const struct answers *answers)
{
    const struct policy *policy = policy_of(test->request);
    struct request *request = test->request;
    const struct policy_rule *rule = deciding->rule;
    struct proto_policy_test_result result = {
        .verdict = verdict_name(deciding->verdict),
        .preset = policy_preset_name(policy->preset),
        .uid = test->search.uid,
        .looked_up = looked_up,
        .has_rule = rule != NULL,
        .rule = rule ? rule->name : NULL,
        .has_file = rule && rule->line > 0,
        .file = policy->file,
        .has_line = rule && rule->line > 0,
        .line = rule ? (int64_t)rule->line : 0,
        .addresses = {.items = answers ? answers->rows : NULL, .n_items = answers ? answers->n : 0},
    };
    finish(test);
    request_answer(request, &result);
}

static void fail(struct policy_test *test, const struct fault *fault)
{
    struct request *request = test->request;

    finish(test);
    request_fail(request, fault);
}

static void fail_judging(struct policy_test *test, int r)
{
    struct fault fault;

    fault_errno(&fault, STAGE_BROKER, -r, "Policy.Test");
    fail(test, &fault);
}

/* One that passes decides: a connection would be made to it. */
static void judge_addresses(struct policy_test *test, const char *host,
                            const struct address *addresses, size_t n, bool looked_up)
{
    struct answers *answers = calloc(1, sizeof(*answers));
    struct policy_answer deciding = {.verdict = POLICY_DENY};
    struct police police;
    int r = answers ? 0 : -ENOMEM;

    ask(test, host, &police);
    for (size_t i = 0; r == 0 && i < n && i < LOOKUP_ADDRESSES_MAX; i++) {
        struct policy_answer each;
        police.question.address = &addresses[i];
        police.question.port = has_port(test->method) ? address_port(&addresses[i]) : 0;
        r = policy_judge(policy_of(test->request), &police.question, &each);
        if (r == 0)
            add_answer(answers, &addresses[i], &each);
        if (i == 0 || (deciding.verdict == POLICY_DENY && each.verdict != POLICY_DENY))
            deciding = each;
    }
    if (r)
        fail_judging(test, r);
    else
        answer(test, &deciding, looked_up, answers);
    free(answers);
}

/* What is known without an address of the other side. */
static void judge_rest(struct policy_test *test, const char *host, const struct address *local,
                       uint16_t port)
{
    struct policy_answer deciding;
    struct police police;

    ask(test, host, &police);
    if (listens(test->method)) {
        police.question.listen_address = local;
        police.question.listen_port = port;
        police.question.no_listen_port_yet = port == 0;
    }
    int r = policy_judge(policy_of(test->request), &police.question, &deciding);
    if (r)
        fail_judging(test, r);
    else
        answer(test, &deciding, false, NULL);
}

/* ---- what is asked about ---- */

static void on_lookup(struct request *request, struct lookup *lookup)
{
    struct policy_test *test = request->op.test;
    struct fault fault;

    job_done(request);
    if (lookup->gai) {
        fault_gai(&fault, lookup->gai, lookup->sys_errno, "Policy.Test", lookup->host,
                  lookup->service);
        fail(test, &fault);
    } else {
        judge_addresses(test, lookup->host, lookup->addresses, lookup->n_addresses, true);
    }
    lookup_free(lookup);
}

static void withdraw_lookup(struct request *request, struct fault *fault)
{
    (void)fault;
    free(request->op.test);
    request->op.test = NULL;
}

static void look_up(struct policy_test *test, const char *host)
{
    struct request *request = test->request;
    const struct proto_policy_test_params *params = &request->params.policy_test;
    struct lookup *lookup = calloc(1, sizeof(*lookup));

    if (lookup) {
        lookup->kind = LOOKUP_ADDRESSES;
        lookup->family = AF_UNSPEC;
        snprintf(lookup->host, sizeof(lookup->host), "%s", host);
        if (has_port(test->method))
            snprintf(lookup->service, sizeof(lookup->service), "%s", params->port);
    }
    request->withdraw = NULL;
    if (!method_look_up(request, lookup, params->has_timeout_ms, params->timeout_ms, on_lookup)) {
        free(test); /* the request is gone */
        return;
    }
    request->op.job->on_withdraw = withdraw_lookup;
}

/* A name is judged first as it is, as it would be. */
static void judge_name(struct policy_test *test, const char *host, uint16_t port)
{
    struct policy_answer deciding;
    struct police police;

    ask(test, host, &police);
    police.question.port = port;
    police.question.no_port_yet = port == 0 && has_port(test->method);
    police.question.no_address_yet = true;
    int r = policy_judge(policy_of(test->request), &police.question, &deciding);
    if (r)
        fail_judging(test, r);
    else if (deciding.verdict == POLICY_DENY)
        answer(test, &deciding, false, NULL);
    else
        look_up(test, host);
}

/* What must be there for the method is; false: it was answered. */
static bool check_params(struct policy_test *test, bool literal, bool numeric)
{
    const struct proto_policy_test_params *params = &test->request->params.policy_test;
    const char *param = NULL, *expected = NULL;
    struct fault fault;

    if (!params->has_hostname && (looks_up(test->method) || takes_address(test->method) ||
                                  test->method == METHOD_TCP_NAME2ADDR)) {
        param = "hostname";
        expected = "the name or address of the other side";
    } else if (params->has_hostname && !literal &&
               (takes_address(test->method) || listens(test->method))) {
        param = "hostname";
        expected = "an IPv4 or IPv6 address, for that method";
    } else if (!params->has_port && has_port(test->method)) {
        param = "port";
        expected = "a port number or service name, for that method";
    } else if (params->has_port && !numeric && listens(test->method)) {
        param = "port";
        expected = "a port number, for that method";
    }
    if (!param)
        return true;
    fault_param(&fault, "Policy.Test", param, expected);
    fail(test, &fault);
    return false;
}

static void judge(struct policy_test *test)
{
    const struct proto_policy_test_params *params = &test->request->params.policy_test;
    struct address literal = {.n_bytes = sizeof(literal.v6), .v6.sin6_family = AF_INET6};
    char host[256] = "", *end = "";
    unsigned long port = params->has_port ? strtoul(params->port, &end, 10) : 0;
    bool numeric = *end == '\0', is_literal = false;

    if (params->has_hostname) {
        method_strip_brackets(params->hostname, host, sizeof(host));
        is_literal = address_parse(&literal, host, numeric ? (uint16_t)port : 0) == 0;
    }
    if (!check_params(test, is_literal, numeric))
        return;
    if (is_literal && (takes_address(test->method) || (looks_up(test->method) && numeric)))
        judge_addresses(test, host, &literal, 1, false);
    else if (looks_up(test->method))
        judge_name(test, host, numeric ? (uint16_t)port : 0);
    else
        judge_rest(test, listens(test->method) ? "" : host, &literal, (uint16_t)port);
}

/* ---- who ---- */

static bool is_allowed(struct policy_test *test)
{
    struct fault fault;

    if (test->own || client_is_admin(test->request->client))
        return true;
    fault_set(&fault, WIRE_EACCES, "Policy.Test: only administrators may ask for another user");
    fail(test, &fault);
    return false;
}

static void on_found(struct user_search *search)
{
    struct policy_test *test = container_of(search, struct policy_test, search);
    struct fault fault;

    if (!test->request) {
        free(test);
        return;
    }
    if (search->failed > 0) {
        fail_judging(test, -search->failed);
        return;
    }
    test->own = search->failed == 0 && search->uid == test->request->client->uid;
    if (!is_allowed(test))
        return;
    if (search->failed == 0) {
        judge(test);
        return;
    }
    fault_param(&fault, "Policy.Test", "user", "the name or number of a user of this host");
    fail(test, &fault);
}

static void withdraw_search(struct request *request, struct fault *fault)
{
    (void)fault;
    request->op.test->request = NULL; /* freed when it is back */
}

static bool read_method(struct policy_test *test)
{
    const struct proto_policy_test_params *params = &test->request->params.policy_test;
    struct fault fault;

    test->method = METHOD_TCP_CONNECT;
    if (!params->has_method)
        return true;
    for (size_t i = METHOD_UNKNOWN + 1; i < METHOD_N; i++)
        if (strcmp(method_infos[i].name, params->method) == 0) {
            test->method = (enum method)i;
            return true;
        }
    fault_param(&fault, "Policy.Test", "method", "the name of a method");
    fail(test, &fault);
    return false;
}

void method_policy_test(struct request *request)
{
    const struct proto_policy_test_params *params = &request->params.policy_test;
    struct policy_test *test = calloc(1, sizeof(*test));

    if (!test) {
        fail_memory(request);
        return;
    }
    test->request = request;
    test->search.uid = request->client->uid;
    request->op.test = test;
    request->op.job = NULL;
    if (!read_method(test))
        return;
    bool is_number = params->has_user && user_search_number(params->user, &test->search.uid);
    test->own = !params->has_user || (is_number && test->search.uid == request->client->uid);
    if (test->own) {
        judge(test);
    } else if (!is_number || is_allowed(test)) {
        test->search.on_found = on_found;
        request->withdraw = withdraw_search;
        user_search_begin(&test->search, request->client->io, params->user);
    }
}
