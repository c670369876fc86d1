#include "rpc/pace.h"

#include "rpc/request.h"

static const struct {
    const char *limit, *things;
} rates[] = {
    [ACCOUNT_CONNECTS] = {"limits.connects_per_second", "connections"},
    [ACCOUNT_PINGING] = {"limits.pings_per_second", "pings"},
};

bool pace_account(struct account *account, enum account_rate rate,
                  const struct account_limits *limits, const char *what, struct fault *ret_fault)
{
    int64_t wait_ms, per_second = limits->rates[rate].per_second;

    if (account_pace(account, rate, limits, loop_clock_us(), &wait_ms))
        return true;
    fault_limit(ret_fault, WIRE_LIMIT, rates[rate].limit, per_second,
                "%s: this user has begun more than %lld %s a second; try again in %lld ms", what,
                (long long)per_second, rates[rate].things, (long long)wait_ms);
    fault_retry(ret_fault, wait_ms);
    return false;
}

bool pace_request(struct request *request, enum account_rate rate)
{
    const struct session *session = request_session(request);
    struct fault fault;

    if (pace_account(session->share->account, rate, session->room->limits, request_name(request),
                     &fault))
        return true;
    request_fail(request, &fault);
    return false;
}
