#include "net/dial_plan.h"

#include <ctype.h>
#include <errno.h>

#include "support/test.h"

/* Addresses as a string of families ("446"), events as a script, what the plan did as a string. In
 * the script: a number lets that many milliseconds pass, 'f' is the failure of an attempt; starts
 * are written as the address's index, with "+T:" before it when time has passed. */
struct plan_case {
    const char *name, *families;
    int family;
    int64_t stagger_ms;
    const char *script, *wanted;
};

static const struct plan_case cases[] = {
    {"nothing", "", AF_UNSPEC, 250, "", "L"},
    {"one", "4", AF_UNSPEC, 250, "", "0"},
    {"one fails", "4", AF_UNSPEC, 250, "f", "0 L"},
    {"one waits for ever", "4", AF_UNSPEC, 250, "100000", "0"},
    {"two, stagger", "44", AF_UNSPEC, 250, "250", "0 +250:1"},
    {"two, not yet", "44", AF_UNSPEC, 250, "249", "0"},
    {"two, step by step", "44", AF_UNSPEC, 250, "100 100 50", "0 +250:1"},
    {"at once after a failure", "44", AF_UNSPEC, 250, "10f", "0 +10:1"},
    {"failure at the same instant", "44", AF_UNSPEC, 250, "f", "0 +0:1"},
    {"both fail", "44", AF_UNSPEC, 250, "ff", "0 +0:1 L"},
    {"late failure, nothing left", "44", AF_UNSPEC, 250, "250 500ff", "0 +250:1 L"},
    {"first is not given up", "44", AF_UNSPEC, 250, "250f 1000", "0 +250:1"},
    {"alternate from 6", "6644", AF_UNSPEC, 250, "fff", "0 +0:2 +0:1 +0:3"},
    {"alternate from 4", "4466", AF_UNSPEC, 250, "fff", "0 +0:2 +0:1 +0:3"},
    {"uneven", "66664", AF_UNSPEC, 250, "ffff", "0 +0:4 +0:1 +0:2 +0:3"},
    {"uneven the other way", "64444", AF_UNSPEC, 250, "ffff", "0 +0:1 +0:2 +0:3 +0:4"},
    {"mixed keeps order in a family", "46464", AF_UNSPEC, 250, "ffff", "0 +0:1 +0:2 +0:3 +0:4"},
    {"first differs only", "4666", AF_UNSPEC, 250, "fff", "0 +0:1 +0:2 +0:3"},
    {"only IPv4", "6464", AF_INET, 250, "ff", "1 +0:3 L"},
    {"only IPv6", "4646", AF_INET6, 250, "ff", "1 +0:3 L"},
    {"none of that family", "444", AF_INET6, 250, "", "L"},
    {"stagger counts from the last start", "444", AF_UNSPEC, 100, "100 99 1", "0 +100:1 +200:2"},
    {"a failure starts one only", "444", AF_UNSPEC, 100, "10f 50", "0 +10:1"},
    {"stagger after a failure", "444", AF_UNSPEC, 100, "10f 100", "0 +10:1 +110:2"},
    {"two failures, two starts", "4444", AF_UNSPEC, 100, "100 ff", "0 +100:1 +100:2 +100:3"},
    {"late wakeup starts one", "4444", AF_UNSPEC, 100, "1000", "0 +1000:1"},
    {"default stagger", "44", AF_UNSPEC, 0, "249 1", "0 +250:1"},
    {"other families are left out", "4u6", AF_UNSPEC, 250, "ff", "0 +0:2 L"},
    {"sixteen at most", "44444444444444444444", AF_UNSPEC, 10, "ffffffffffffffff",
     "0 +0:1 +0:2 +0:3 +0:4 +0:5 +0:6 +0:7 +0:8 +0:9 +0:10 +0:11 +0:12 +0:13 +0:14 +0:15 L"},
};

static void let_go(struct dial_plan *plan, int64_t now, bool first, char *done, size_t n_done)
{
    size_t index = 99, n = strlen(done);
    int64_t wait;
    for (bool again = first;; again = false) {
        enum dial_step step = dial_plan_next(plan, now, &index, &wait);
        if (step == DIAL_WAIT) {
            CHECK(wait == -1 || wait > 0);
            return;
        }
        n += (size_t)snprintf(done + n, n_done - n, "%s", n ? " " : "");
        if (step == DIAL_LOST) {
            n += (size_t)snprintf(done + n, n_done - n, "L");
            return;
        }
        if (again)
            n += (size_t)snprintf(done + n, n_done - n, "%zu", index);
        else
            n += (size_t)snprintf(done + n, n_done - n, "+%lld:%zu", (long long)now, index);
        dial_plan_started(plan, now);
    }
}

static void run_case(const struct plan_case *each)
{
    struct address addresses[32] = {0};
    size_t n = strlen(each->families);
    char done[512] = "";
    int64_t now = 0;
    struct dial_plan plan;

    for (size_t i = 0; i < n; i++) {
        addresses[i].n_bytes = sizeof(addresses[i].v6);
        addresses[i].any.sa_family = each->families[i] == '4'   ? AF_INET
                                     : each->families[i] == '6' ? AF_INET6
                                                                : AF_UNIX;
    }
    dial_plan_init(&plan, addresses, n, each->family, each->stagger_ms, NULL, NULL);
    let_go(&plan, now, true, done, sizeof(done));
    for (const char *p = each->script; *p;) {
        if (isdigit((unsigned char)*p)) {
            now += strtol(p, (char **)&p, 10);
        } else if (*p++ == 'f') {
            CHECK(plan.n_running > 0);
            dial_plan_failed(&plan, now);
        } else {
            continue;
        }
        let_go(&plan, now, false, done, sizeof(done));
    }
    if (strcmp(done, each->wanted) != 0)
        fprintf(stderr, "case \"%s\"\n", each->name);
    CHECK_STRING(done, each->wanted);
}

TEST(dial_plan, table)
{
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        run_case(&cases[i]);
}

/* The port tells who is left out. */
static bool leave_out_odd(void *context, const struct address *address)
{
    int *n_asked = context;
    ++*n_asked;
    return address_port(address) % 2 == 1;
}

TEST(dial_plan, leaves_out)
{
    struct address addresses[40] = {0};
    struct dial_plan plan;
    int n_asked = 0;

    for (uint16_t i = 0; i < 40; i++) {
        addresses[i].any.sa_family = i < 36 ? AF_INET : AF_INET6;
        addresses[i].n_bytes = i < 36 ? sizeof(addresses[i].v4) : sizeof(addresses[i].v6);
        address_set_port(&addresses[i], i);
    }
    dial_plan_init(&plan, addresses, 40, AF_UNSPEC, 0, leave_out_odd, &n_asked);
    CHECK_INT(plan.n, NET_ATTEMPTS_MAX);
    CHECK(n_asked < 40); /* not about those that there is no room for */
    for (size_t i = 0; i < plan.n; i++)
        CHECK(plan.order[i] % 2 == 0);
    CHECK_INT(plan.order[1], 36); /* the families alternate, as far as they are there */
    n_asked = 0;
    dial_plan_init(&plan, addresses + 1, 39, AF_INET6, 0, leave_out_odd, &n_asked);
    CHECK_INT(plan.n, 2);
    CHECK_INT(n_asked, 4); /* not about the other family */
    n_asked = 0;
    dial_plan_init(&plan, addresses + 1, 1, AF_UNSPEC, 0, leave_out_odd, &n_asked);
    CHECK_INT(plan.n, 0);
}

TEST(dial_plan, waits_exactly)
{
    struct address addresses[2] = {0};
    struct dial_plan plan;
    size_t index;
    int64_t wait;
    for (int i = 0; i < 2; i++) {
        addresses[i].any.sa_family = AF_INET;
        addresses[i].n_bytes = sizeof(addresses[i].v4);
    }
    dial_plan_init(&plan, addresses, 2, AF_UNSPEC, 300, NULL, NULL);
    CHECK_INT(dial_plan_next(&plan, 1000, &index, &wait), DIAL_START);
    dial_plan_started(&plan, 1000);
    CHECK_INT(dial_plan_next(&plan, 1100, &index, &wait), DIAL_WAIT);
    CHECK_INT(wait, 200);
    CHECK_INT(dial_plan_next(&plan, 1300, &index, &wait), DIAL_START);
    CHECK_INT(index, 1);
    dial_plan_started(&plan, 1300);
    CHECK_INT(dial_plan_next(&plan, 1300, &index, &wait), DIAL_WAIT);
    CHECK_INT(wait, -1);
}

TEST(dial_plan, errno_that_tells_most)
{
    CHECK_INT(dial_plan_better(ENETUNREACH, ECONNREFUSED), 1);
    CHECK_INT(dial_plan_better(ECONNREFUSED, ENETUNREACH), 0);
    CHECK_INT(dial_plan_better(ECONNREFUSED, ETIMEDOUT), 0); /* the first stays */
    CHECK_INT(dial_plan_better(ECONNREFUSED, EMFILE), 1);
    CHECK_INT(dial_plan_better(ENOMEM, ECONNREFUSED), 0);
    CHECK_INT(dial_plan_better(EAFNOSUPPORT, EHOSTUNREACH), 1);
}
