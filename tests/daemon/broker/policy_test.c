/* policy: what decides, in which order, and what is not known yet. */
#include "broker/policy.h"

#include <errno.h>

#include "support/test.h"

enum { RULES_MAX = 8 };

/* Rules on the stack: nothing of them is freed. */
struct fixture {
    struct policy policy;
    struct policy_rule rules[RULES_MAX];
    struct policy_question question;
    struct policy_answer answer;
    struct address address, listen;
};

static int own_answer;

/* 192.0.9.0/24 is ours */
static int is_own(const struct address *address)
{
    if (own_answer < 0)
        return own_answer;
    return address_family(address) == AF_INET &&
           (ntohl(address->v4.sin_addr.s_addr) & 0xffffff00) == 0xc0000900;
}

static void set_up(struct fixture *fixture, enum policy_preset preset)
{
    own_answer = 0;
    memset(fixture, 0, sizeof(*fixture));
    fixture->policy.preset = preset;
    fixture->policy.rules = fixture->rules;
    fixture->policy.own = is_own;
    fixture->question =
        (struct policy_question){.method = METHOD_TCP_CONNECT, .uid = 7, .port = 443};
}

static struct policy_rule *add(struct fixture *fixture, enum policy_verdict verdict)
{
    struct policy_rule *rule = &fixture->rules[fixture->policy.n_rules++];
    rule->verdict = verdict;
    rule->addresses.any = rule->listen_addresses.any = true;
    return rule;
}

static struct address literal(const char *text)
{
    struct address address = {.n_bytes = 0};
    CHECK_INT(address_parse(&address, text, 443), 0);
    return address;
}

static void limit(struct policy_addresses *addresses, struct policy_range *range, const char *first,
                  const char *last)
{
    struct address from = literal(first), to = literal(last);
    *range = (struct policy_range){.v6 = address_family(&from) == AF_INET6};
    if (range->v6) {
        range->first = from.v6.sin6_addr;
        range->last = to.v6.sin6_addr;
    } else {
        memcpy(&range->first.s6_addr[12], &from.v4.sin_addr, 4);
        memcpy(&range->last.s6_addr[12], &to.v4.sin_addr, 4);
    }
    *addresses = (struct policy_addresses){.ranges = range, .n_ranges = 1};
}

/* text NULL: not known yet */
static enum policy_verdict judge(struct fixture *fixture, const char *text)
{
    fixture->question.no_address_yet = text == NULL;
    fixture->question.address = NULL;
    if (text) {
        fixture->address = literal(text);
        fixture->question.address = &fixture->address;
    }
    policy_finish(&fixture->policy);
    CHECK_INT(policy_judge(&fixture->policy, &fixture->question, &fixture->answer), 0);
    return fixture->answer.verdict;
}

static enum policy_verdict judge_listening(struct fixture *fixture, const char *text, uint16_t port)
{
    fixture->listen = literal(text);
    fixture->question = (struct policy_question){.method = METHOD_TCP_BIND,
                                                 .listen_address = &fixture->listen,
                                                 .listen_port = port,
                                                 .no_listen_port_yet = port == 0};
    policy_finish(&fixture->policy);
    CHECK_INT(policy_judge(&fixture->policy, &fixture->question, &fixture->answer), 0);
    return fixture->answer.verdict;
}

TEST(policy, the_first_that_fits)
{
    struct fixture f;
    struct policy_range ten, ten_one;

    set_up(&f, POLICY_OPEN);
    CHECK_INT(judge(&f, "10.0.0.1"), POLICY_ALLOW);
    CHECK(!f.answer.rule && !f.policy.concerns[METHOD_TCP_CONNECT]);
    limit(&add(&f, POLICY_ALLOW)->addresses, &ten_one, "10.1.0.0", "10.1.255.255");
    limit(&add(&f, POLICY_DENY)->addresses, &ten, "10.0.0.0", "10.255.255.255");
    add(&f, POLICY_REPORT);
    CHECK_INT(judge(&f, "10.1.2.3"), POLICY_ALLOW);
    CHECK(f.answer.rule == &f.rules[0]);
    CHECK_INT(judge(&f, "10.2.2.3"), POLICY_DENY);
    CHECK(f.answer.rule == &f.rules[1]);
    CHECK_INT(judge(&f, "11.2.2.3"), POLICY_REPORT);
    CHECK(f.answer.rule == &f.rules[2]);
    CHECK_INT(judge(&f, "10.0.0.0"), POLICY_DENY);
    CHECK_INT(judge(&f, "10.255.255.255"), POLICY_DENY);
    CHECK_INT(judge(&f, "9.255.255.255"), POLICY_REPORT);
    CHECK_INT(judge(&f, "::a00:1"), POLICY_DENY); /* in one of its forms */
    CHECK_INT(judge(&f, "2002:a01:203::1"), POLICY_REPORT);
    CHECK_INT(judge(&f, NULL), POLICY_UNSURE);
}

TEST(policy, before_the_address_is_known)
{
    struct policy_host host = {.name = (char *)"a.example"};
    struct fixture f;
    struct policy_range ten;

    set_up(&f, POLICY_OPEN);
    struct policy_rule *rule = add(&f, POLICY_DENY);
    rule->hosts = &host;
    rule->n_hosts = 1;
    limit(&add(&f, POLICY_ALLOW)->addresses, &ten, "10.0.0.0", "10.255.255.255");
    add(&f, POLICY_DENY);
    f.question.host = "a.example";
    CHECK_INT(judge(&f, NULL), POLICY_DENY);
    CHECK(f.answer.rule == &f.rules[0]);
    f.question.host = "b.example";
    CHECK_INT(judge(&f, NULL), POLICY_UNSURE);
    f.policy.n_rules = 1;
    CHECK_INT(judge(&f, NULL), POLICY_ALLOW);
    f.policy.preset = POLICY_INTERNET;
    CHECK_INT(judge(&f, NULL), POLICY_UNSURE);
    /* denied by whichever of the two */
    set_up(&f, POLICY_OPEN);
    limit(&add(&f, POLICY_DENY)->addresses, &ten, "10.0.0.0", "10.255.255.255");
    add(&f, POLICY_DENY);
    CHECK_INT(judge(&f, NULL), POLICY_DENY);
    CHECK(f.answer.rule == &f.rules[1]);
    /* a port that is not known yet */
    set_up(&f, POLICY_OPEN);
    struct policy_port_range port = {.first = 25, .last = 25};
    rule = add(&f, POLICY_DENY);
    rule->ports = (struct policy_ports){.ranges = &port, .n_ranges = 1};
    f.question.port = 0;
    CHECK_INT(judge(&f, NULL), POLICY_ALLOW); /* it has none */
    f.question.no_port_yet = true;
    CHECK_INT(judge(&f, NULL), POLICY_UNSURE);
    f.question.port = 25;
    CHECK_INT(judge(&f, NULL), POLICY_DENY);
    f.question.port = 24;
    CHECK_INT(judge(&f, NULL), POLICY_ALLOW);
    f.question.port = 26;
    CHECK_INT(judge(&f, NULL), POLICY_ALLOW);
}

TEST(policy, hosts)
{
    struct policy_host hosts[] = {{.name = (char *)"a.example"},
                                  {.name = (char *)"b.example", .below = true}};
    struct fixture f;

    set_up(&f, POLICY_OPEN);
    struct policy_rule *rule = add(&f, POLICY_DENY);
    rule->hosts = hosts;
    rule->n_hosts = 2;
    static const struct {
        const char *name;
        bool denied;
    } cases[] = {{"a.example", true},    {"x.a.example", false}, {"xa.example", false},
                 {"b.example", false},   {"x.b.example", true},  {"x.y.b.example", true},
                 {"xb.example", false},  {".b.example", false},  {"example", false},
                 {"a.example.x", false}, {NULL, false}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        f.question.host = cases[i].name;
        CHECK_INT(judge(&f, "8.8.8.8"), cases[i].denied ? POLICY_DENY : POLICY_ALLOW);
    }
}

TEST(policy, who)
{
    uid_t uids[] = {7};
    gid_t gids[] = {60}, his[] = {50, 60};
    struct fixture f;

    set_up(&f, POLICY_OPEN);
    struct policy_rule *rule = add(&f, POLICY_ALLOW);
    rule->for_some = true;
    rule->uids = uids;
    rule->gids = gids;
    rule->n_uids = rule->n_gids = 1;
    add(&f, POLICY_DENY);
    CHECK_INT(judge(&f, "8.8.8.8"), POLICY_ALLOW);
    CHECK(f.policy.needs_groups);
    f.question.uid = 8;
    CHECK_INT(judge(&f, "8.8.8.8"), POLICY_DENY);
    f.question.gids = his;
    f.question.n_gids = 1;
    CHECK_INT(judge(&f, "8.8.8.8"), POLICY_DENY);
    f.question.more_gids = true; /* which may be the one that is allowed, or not */
    CHECK_INT(judge(&f, "8.8.8.8"), POLICY_DENY);
    f.question.n_gids = 2;
    CHECK_INT(judge(&f, "8.8.8.8"), POLICY_ALLOW);
    f.question.who = POLICY_STRANGER;
    CHECK_INT(judge(&f, "8.8.8.8"), POLICY_DENY);
    f.question.who = POLICY_ANYONE;
    CHECK_INT(judge(&f, "8.8.8.8"), POLICY_ALLOW);
    /* the other way round: a rule that denies some */
    rule->verdict = POLICY_DENY;
    f.policy.n_rules = 1;
    CHECK_INT(judge(&f, "8.8.8.8"), POLICY_ALLOW);
    f.question.who = POLICY_STRANGER;
    CHECK_INT(judge(&f, "8.8.8.8"), POLICY_DENY);
    f.question.who = POLICY_USER;
    f.question.n_gids = 1;
    CHECK_INT(judge(&f, "8.8.8.8"), POLICY_DENY); /* more_gids */
    f.question.more_gids = false;
    CHECK_INT(judge(&f, "8.8.8.8"), POLICY_ALLOW);
    /* a list of users that is empty, because none was found, is nobody */
    rule->n_uids = rule->n_gids = 0;
    CHECK_INT(judge(&f, "8.8.8.8"), POLICY_ALLOW);
}

TEST(policy, tls)
{
    char *identities[] = {(char *)"partner"};
    struct fixture f;
    static const struct {
        enum policy_condition secure, verify;
        bool identity;
        const char *denied; /* of plain, verified, unverified, with an identity */
    } cases[] = {
        {POLICY_ANY, POLICY_ANY, false, "pvui"}, {POLICY_YES, POLICY_ANY, false, "vui"},
        {POLICY_NO, POLICY_ANY, false, "p"},     {POLICY_ANY, POLICY_YES, false, "vi"},
        {POLICY_ANY, POLICY_NO, false, "u"},     {POLICY_ANY, POLICY_ANY, true, "i"},
        {POLICY_ANY, POLICY_NO, true, ""},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char denied[8] = "";
        size_t n = 0;
        for (const char *kind = "pvui"; *kind; kind++) {
            set_up(&f, POLICY_OPEN);
            struct policy_rule *rule = add(&f, POLICY_DENY);
            rule->secure = cases[i].secure;
            rule->verify = cases[i].verify;
            rule->identities = identities;
            rule->n_identities = cases[i].identity;
            f.question.secure = *kind != 'p';
            f.question.verify = *kind != 'u'; /* without TLS too: it means nothing there */
            f.question.identity = *kind == 'i' ? "partner" : *kind == 'v' ? "other" : NULL;
            if (judge(&f, "8.8.8.8") == POLICY_DENY)
                denied[n++] = *kind;
        }
        CHECK_STRING(denied, cases[i].denied);
    }
}

TEST(policy, methods)
{
    struct fixture f;

    set_up(&f, POLICY_OPEN);
    add(&f, POLICY_DENY);
    policy_finish(&f.policy);
    for (size_t i = METHOD_UNKNOWN + 1; i < METHOD_N; i++) {
        f.question = (struct policy_question){.method = (enum method)i};
        CHECK_INT(policy_judge(&f.policy, &f.question, &f.answer), 0);
        CHECK_INT(f.answer.verdict == POLICY_DENY, policy_is_about((enum method)i));
        CHECK_INT(f.policy.concerns[i], policy_is_about((enum method)i));
    }
    f.rules[0].methods_given = true;
    f.rules[0].methods[METHOD_TCP_ATTACH] = true;
    memset(f.policy.concerns, 0, sizeof(f.policy.concerns));
    policy_finish(&f.policy);
    for (size_t i = METHOD_UNKNOWN + 1; i < METHOD_N; i++) {
        f.question = (struct policy_question){.method = (enum method)i};
        CHECK_INT(policy_judge(&f.policy, &f.question, &f.answer), 0);
        CHECK_INT(f.answer.verdict == POLICY_DENY, i == METHOD_TCP_ATTACH);
        CHECK_INT(f.policy.concerns[i], i == METHOD_TCP_ATTACH);
    }
}

TEST(policy, presets)
{
    struct fixture f;
    struct policy_range range;

    set_up(&f, POLICY_INTERNET);
    CHECK_INT(judge(&f, "8.8.8.8"), POLICY_ALLOW);
    CHECK_INT(judge(&f, "10.0.0.1"), POLICY_DENY);
    CHECK(!f.answer.rule && f.answer.scope == SCOPE_PRIVATE && !f.answer.own);
    CHECK_INT(judge(&f, "192.0.9.1"), POLICY_DENY);
    CHECK(f.answer.own && f.answer.scope == SCOPE_PUBLIC);
    CHECK_INT(judge(&f, "64:ff9b::a00:1"), POLICY_DENY);
    CHECK_INT(f.answer.form.v4.sin_addr.s_addr, htonl(0x0a000001));
    /* a rule that says nothing of addresses opens none */
    struct policy_rule *rule = add(&f, POLICY_ALLOW);
    CHECK_INT(judge(&f, "8.8.8.8"), POLICY_ALLOW);
    CHECK(f.answer.rule == rule);
    CHECK_INT(judge(&f, "10.0.0.1"), POLICY_DENY);
    CHECK(!f.answer.rule && f.answer.passed == rule);
    rule->verdict = POLICY_REPORT;
    CHECK_INT(judge(&f, "8.8.8.8"), POLICY_REPORT);
    CHECK_INT(judge(&f, "10.0.0.1"), POLICY_DENY);
    limit(&rule->addresses, &range, "10.0.0.0", "10.255.255.255");
    CHECK_INT(judge(&f, "10.0.0.1"), POLICY_REPORT);
    CHECK_INT(judge(&f, "64:ff9b::a00:1"), POLICY_REPORT);
    CHECK_INT(judge(&f, "64:ff9b::b00:1"), POLICY_ALLOW);
    CHECK_INT(judge(&f, "192.168.0.1"), POLICY_DENY);
    f.question.method = METHOD_TCP_ACCEPT; /* who comes is no destination */
    CHECK_INT(judge(&f, "192.168.0.1"), POLICY_ALLOW);
    f.question.method = METHOD_TCP_PING;
    CHECK_INT(judge(&f, "192.168.0.1"), POLICY_DENY);
    set_up(&f, POLICY_INTRANET);
    CHECK_INT(judge(&f, "192.168.0.1"), POLICY_ALLOW);
    CHECK_INT(judge(&f, "fd00::1"), POLICY_ALLOW);
    CHECK_INT(judge(&f, "8.8.8.8"), POLICY_DENY);
    CHECK_INT(judge(&f, "127.0.0.1"), POLICY_DENY);
    CHECK_INT(judge(&f, "169.254.169.254"), POLICY_DENY);
}

TEST(policy, scopes)
{
    struct fixture f;

    set_up(&f, POLICY_OPEN);
    struct policy_rule *rule = add(&f, POLICY_DENY);
    rule->addresses =
        (struct policy_addresses){.scopes = 1U << SCOPE_PRIVATE | 1U << SCOPE_LOOPBACK};
    CHECK_INT(judge(&f, "10.0.0.1"), POLICY_DENY);
    CHECK_INT(judge(&f, "8.8.8.8"), POLICY_ALLOW);
    CHECK_INT(judge(&f, "0.0.0.0"), POLICY_DENY); /* leads to loopback */
    CHECK_INT(judge(&f, "::"), POLICY_DENY);
    rule->addresses = (struct policy_addresses){.scopes = 1U << SCOPE_PUBLIC};
    CHECK_INT(judge(&f, "8.8.8.8"), POLICY_DENY);
    CHECK_INT(judge(&f, "192.0.9.1"), POLICY_ALLOW); /* ours is not public */
    rule->addresses = (struct policy_addresses){.own = true};
    CHECK_INT(judge(&f, "192.0.9.1"), POLICY_DENY);
    CHECK_INT(judge(&f, "127.0.0.1"), POLICY_DENY);
    CHECK_INT(judge(&f, "8.8.8.8"), POLICY_ALLOW);
    /* who cannot find out denies */
    own_answer = -EMFILE;
    f.address = literal("8.8.8.8");
    f.question.address = &f.address;
    CHECK_INT(policy_judge(&f.policy, &f.question, &f.answer), -EMFILE);
    CHECK_INT(f.answer.verdict, POLICY_DENY);
}

TEST(policy, listening)
{
    struct fixture f;
    struct policy_range range;
    struct policy_port_range ports = {.first = 8000, .last = 8999};

    set_up(&f, POLICY_INTERNET); /* which is not about that */
    CHECK_INT(judge_listening(&f, "127.0.0.1", 80), POLICY_ALLOW);
    struct policy_rule *rule = add(&f, POLICY_DENY);
    limit(&rule->listen_addresses, &range, "10.0.0.0", "10.255.255.255");
    CHECK_INT(judge_listening(&f, "10.0.0.1", 80), POLICY_DENY);
    CHECK_INT(judge_listening(&f, "11.0.0.1", 80), POLICY_ALLOW);
    CHECK_INT(judge_listening(&f, "0.0.0.0", 80), POLICY_DENY); /* 10.0.0.1 is part of it */
    CHECK_INT(judge_listening(&f, "::", 80), POLICY_DENY);
    CHECK_INT(judge_listening(&f, "::ffff:10.0.0.1", 80), POLICY_DENY);
    CHECK_INT(judge_listening(&f, "::1", 80), POLICY_ALLOW);
    /* only what is listed */
    rule->verdict = POLICY_ALLOW;
    add(&f, POLICY_DENY);
    CHECK_INT(judge_listening(&f, "10.0.0.1", 80), POLICY_ALLOW);
    CHECK_INT(judge_listening(&f, "0.0.0.0", 80), POLICY_DENY);
    CHECK_INT(judge_listening(&f, "::", 80), POLICY_DENY);
    limit(&rule->listen_addresses, &range, "0.0.0.0", "255.255.255.255");
    CHECK_INT(judge_listening(&f, "0.0.0.0", 80), POLICY_ALLOW);
    CHECK_INT(judge_listening(&f, "::", 80), POLICY_DENY);
    rule->listen_addresses = (struct policy_addresses){.own = true};
    CHECK_INT(judge_listening(&f, "::", 80), POLICY_ALLOW);
    rule->listen_addresses =
        (struct policy_addresses){.scopes = 1U << SCOPE_LOOPBACK | 1U << SCOPE_UNSPECIFIED};
    CHECK_INT(judge_listening(&f, "127.0.0.1", 80), POLICY_ALLOW);
    CHECK_INT(judge_listening(&f, "0.0.0.0", 80), POLICY_DENY);
    rule->listen_ports = (struct policy_ports){.ranges = &ports, .n_ranges = 1};
    CHECK_INT(judge_listening(&f, "127.0.0.1", 80), POLICY_DENY);
    CHECK_INT(judge_listening(&f, "127.0.0.1", 8000), POLICY_ALLOW);
    CHECK_INT(judge_listening(&f, "127.0.0.1", 8999), POLICY_ALLOW);
    CHECK_INT(judge_listening(&f, "127.0.0.1", 9000), POLICY_DENY);
    CHECK_INT(judge_listening(&f, "127.0.0.1", 0), POLICY_UNSURE);
    /* who connects does not listen */
    f.question = (struct policy_question){.method = METHOD_TCP_CONNECT, .port = 8000};
    CHECK_INT(judge(&f, "127.0.0.1"), POLICY_DENY);
    CHECK(f.answer.rule == &f.rules[1]);
}
