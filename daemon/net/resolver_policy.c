#include "net/resolver_policy.h"

enum { THREADS_PER_SLOW = 2 };

unsigned resolver_policy_limit(const struct resolver_policy *policy, unsigned n_slow)
{
    unsigned room = policy->n_threads_max - policy->n_threads;
    if (n_slow >= room / THREADS_PER_SLOW + 1)
        return policy->n_threads_max;
    unsigned more = n_slow * THREADS_PER_SLOW;
    return policy->n_threads + (more < room ? more : room);
}

unsigned resolver_policy_start(const struct resolver_policy *policy, unsigned n_alive,
                               unsigned n_idle, unsigned n_slow, unsigned n_waiting)
{
    unsigned limit = resolver_policy_limit(policy, n_slow);
    if (n_waiting <= n_idle || n_alive >= limit)
        return 0;
    unsigned wanted = n_waiting - n_idle;
    return wanted < limit - n_alive ? wanted : limit - n_alive;
}

bool resolver_policy_surplus(const struct resolver_policy *policy, unsigned n_alive,
                             unsigned n_slow)
{
    return n_alive > resolver_policy_limit(policy, n_slow);
}
