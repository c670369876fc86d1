/*
 * metrics_collect: what is told of the broker that is no counter of proto/stats.def: the meters of
 * the io threads, added up, and what pools, identities, resolver and loops are like just now.
 */
#include <string.h>
#include <time.h>

#include "rpc/io.h"
#include "rpc/metrics_internal.h"

#define LABELS(...)                                                                                \
    (&(const struct exposition_labels){sizeof((const struct exposition_label[]){__VA_ARGS__}) /    \
                                           sizeof(struct exposition_label),                        \
                                       {__VA_ARGS__}})

static void tell(const struct metrics_family *family, const struct exposition_labels *labels,
                 int64_t value)
{
    exposition_int(family->writer, family->name, labels, value);
}

static void tell_histogram(const struct metrics_family *family,
                           const struct exposition_labels *labels,
                           const struct histogram_scale *scale, const struct histogram_sum *sum)
{
    exposition_histogram(family->writer, family->name, labels, scale, sum);
}

static const struct meter *meter_at(const struct metrics_family *family, size_t i)
{
    return &family->shared->ios[i]->meter;
}

/* ---- the broker ---- */

void collect_build_info(const struct metrics_family *family)
{
    tell(family, LABELS({"version", TCPBROKER_VERSION}), 1);
}

void collect_reload_successful(const struct metrics_family *family)
{
    tell(family, NULL, family->shared->reloads.failed ? 0 : 1);
}

void collect_reload_timestamp(const struct metrics_family *family)
{
    tell(family, NULL, family->shared->reloads.success_s);
}

void collect_loop_lag(const struct metrics_family *family)
{
    const struct rpc_shared *shared = family->shared;
    struct histogram_sum control = {.count = 0}, io = {.count = 0}, dial = {.count = 0};

    histogram_add(&control, loop_lag(shared->control));
    for (size_t i = 0; i < shared->n_ios; i++)
        histogram_add(&io, loop_lag(shared->ios[i]->loop));
    for (size_t i = 0; i < dialers_count(shared->dialers); i++)
        histogram_add(&dial, loop_lag(dialers_loop(shared->dialers, i)));
    tell_histogram(family, LABELS({"loop", "control"}), &histogram_scale_lag, &control);
    tell_histogram(family, LABELS({"loop", "dial"}), &histogram_scale_lag, &dial);
    tell_histogram(family, LABELS({"loop", "io"}), &histogram_scale_lag, &io);
}

/* ---- requests ---- */

static const char *code_name(unsigned code)
{
    return code == WIRE_NONE ? "OK" : code == METER_GONE ? "GONE" : error_infos[code].symbol;
}

/* OK is told of all methods, so that a rate has something to begin with. */
void collect_requests(const struct metrics_family *family)
{
    for (unsigned method = METHOD_UNKNOWN; method < METHOD_N; method++)
        for (unsigned code = 0; code < METER_CODES; code++) {
            uint64_t n = 0;
            for (size_t i = 0; i < family->shared->n_ios; i++)
                n += counter_read(&meter_at(family, i)->requests[method][code]);
            if (n > 0 || (code == WIRE_NONE && method != METHOD_UNKNOWN))
                tell(family,
                     LABELS({"method", method ? method_infos[method].name : "unknown"},
                            {"code", code_name(code)}),
                     (int64_t)n);
        }
}

void collect_request_seconds(const struct metrics_family *family)
{
    for (unsigned method = METHOD_UNKNOWN + 1; method < METHOD_N; method++) {
        struct histogram_sum sum = {.count = 0};
        for (size_t i = 0; i < family->shared->n_ios; i++)
            histogram_add(&sum, &meter_at(family, i)->times[method]);
        if (sum.count > 0)
            tell_histogram(family, LABELS({"method", method_infos[method].name}),
                           &histogram_scale_stage, &sum);
    }
}

/* The same limit can stand in another place of each thread's list. */
void collect_quota_rejections(const struct metrics_family *family)
{
    size_t n_ios = family->shared->n_ios;
    const char *names[METER_LIMITS_MAX + 1];
    size_t n_names = 0;

    for (size_t i = 0; i < n_ios * METER_LIMITS_MAX; i++) {
        const struct meter_limit *limit =
            &meter_at(family, i / METER_LIMITS_MAX)->limits[i % METER_LIMITS_MAX];
        const char *name = atomic_load_explicit(&limit->name, memory_order_acquire);
        bool known = !name || n_names == sizeof(names) / sizeof(names[0]);
        for (size_t k = 0; k < n_names && !known; k++)
            known = strcmp(names[k], name) == 0;
        if (!known)
            names[n_names++] = name;
    }
    for (size_t k = 0; k < n_names; k++) {
        uint64_t n = 0;
        for (size_t i = 0; i < n_ios * METER_LIMITS_MAX; i++) {
            const struct meter_limit *limit =
                &meter_at(family, i / METER_LIMITS_MAX)->limits[i % METER_LIMITS_MAX];
            const char *name = atomic_load_explicit(&limit->name, memory_order_acquire);
            if (name && strcmp(name, names[k]) == 0)
                n += counter_read(&limit->n);
        }
        tell(family, LABELS({"limit", names[k]}), (int64_t)n);
    }
}

/* ---- connects ---- */

static const char *const vias[] = {
    [METER_REQUEST] = "request", [METER_TUNNEL] = "tunnel", [METER_SOCKS] = "socks"};
static const char *const results[] = {[METER_OK] = "ok",
                                      [METER_POOLED] = "pooled",
                                      [METER_ERROR] = "error",
                                      [METER_TIMEOUT] = "timeout"};
static const char *const stages[] = {[METER_RESOLVE] = "resolve",
                                     [METER_QUEUE] = "queue",
                                     [METER_TCP] = "tcp",
                                     [METER_TLS] = "tls",
                                     [METER_TOTAL] = "total"};

static void tell_failed(const struct metrics_family *family, enum meter_via via,
                        enum meter_result result)
{
    for (unsigned stage = 0; stage < STAGE_N; stage++) {
        uint64_t n = 0;
        for (size_t i = 0; i < family->shared->n_ios; i++)
            n += counter_read(&meter_at(family, i)->failed[via][result][stage]);
        bool usual = stage == STAGE_RESOLVE || stage == STAGE_CONNECT || stage == STAGE_TLS;
        if (n > 0 || (usual && via == METER_REQUEST))
            tell(family,
                 LABELS({"via", vias[via]}, {"result", results[result]},
                        {"stage", error_stage_name((enum error_stage)stage)}),
                 (int64_t)n);
    }
}

void collect_connects(const struct metrics_family *family)
{
    for (unsigned via = 0; via < METER_N_VIA; via++) {
        for (unsigned result = METER_OK; result <= METER_POOLED; result++) {
            uint64_t n = 0;
            for (size_t i = 0; i < family->shared->n_ios; i++)
                n += counter_read(&meter_at(family, i)->connected[via][result]);
            if (n > 0 || result == METER_OK)
                tell(family,
                     LABELS({"via", vias[via]}, {"result", results[result]}, {"stage", "done"}),
                     (int64_t)n);
        }
        tell_failed(family, via, METER_ERROR);
        tell_failed(family, via, METER_TIMEOUT);
    }
}

void collect_connect_seconds(const struct metrics_family *family)
{
    for (unsigned stage = 0; stage < METER_N_STAGES; stage++) {
        struct histogram_sum sum = {.count = 0};
        for (size_t i = 0; i < family->shared->n_ios; i++)
            histogram_add(&sum, &meter_at(family, i)->stages[stage]);
        tell_histogram(family, LABELS({"stage", stages[stage]}), &histogram_scale_stage, &sum);
    }
}

/* ---- TLS, pools, look-ups ---- */

void collect_cert_expiry(const struct metrics_family *family)
{
    const struct credentials *credentials = &family->shared->snapshot->credentials;
    int64_t now_s = (int64_t)time(NULL);

    for (size_t i = 0; i < credentials->n_identities; i++) {
        const struct identity *identity = credentials->identities[i].identity;
        tell(family, LABELS({"identity", identity_name(identity)}),
             identity_not_after(identity) - now_s);
    }
}

/* Profiles without a list have no such time. */
void collect_crl_expiry(const struct metrics_family *family)
{
    const struct credentials *credentials = &family->shared->snapshot->credentials;
    int64_t now_s = (int64_t)time(NULL);

    for (size_t i = 0; i < credentials->n_profiles; i++) {
        int64_t until_s = trust_crls_until(credentials->profiles[i].trust);
        if (until_s != INT64_MAX)
            tell(family, LABELS({"profile", credentials->profiles[i].name}), until_s - now_s);
    }
}

void collect_policy_decisions(const struct metrics_family *family)
{
    const struct policy *policy = family->shared->snapshot->policy;

    for (size_t i = 0; policy && i < policy->n_rules; i++) {
        const struct policy_rule *rule = &policy->rules[i];
        tell(family, LABELS({"verdict", policy_verdict_name(rule->verdict)}, {"rule", rule->name}),
             (int64_t)atomic_load_explicit(&rule->hits, memory_order_relaxed));
    }
    if (policy)
        tell(family, LABELS({"verdict", policy_verdict_name(POLICY_DENY)}, {"rule", ""}),
             (int64_t)atomic_load_explicit(&policy->preset_hits, memory_order_relaxed));
}

void collect_pool_idle(const struct metrics_family *family)
{
    const struct pools *pools = &family->shared->snapshot->pools;

    for (size_t i = 0; i < pools->n_pools; i++)
        tell(family, LABELS({"pool", pools->pools[i].name}),
             (int64_t)shelf_count(pools->pools[i].shelf));
}

void collect_resolver_queue(const struct metrics_family *family)
{
    struct resolver_load load;

    resolver_load(family->shared->resolver, &load);
    tell(family, NULL, (int64_t)load.n_waiting);
}

void collect_resolver_threads(const struct metrics_family *family)
{
    struct resolver_load load;

    resolver_load(family->shared->resolver, &load);
    size_t n_free = load.n_threads > load.n_running ? load.n_threads - load.n_running : 0;
    tell(family, LABELS({"state", "free"}), (int64_t)n_free);
    tell(family, LABELS({"state", "busy"}), (int64_t)(load.n_running - load.n_slow));
    tell(family, LABELS({"state", "slow"}), (int64_t)load.n_slow);
}
