#include "net/dial_plan.h"

#include <errno.h>

/* The next address of this family at or after *position, or n. */
static size_t next_of(const struct address *addresses, size_t n, int family, size_t position)
{
    while (position < n && address_family(&addresses[position]) != family)
        position++;
    return position;
}

void dial_plan_init(struct dial_plan *plan, const struct address *addresses, size_t n, int family,
                    int64_t stagger_ms,
                    bool (*leave_out)(void *context, const struct address *address), void *context)
{
    *plan = (struct dial_plan){.stagger_ms = stagger_ms ? stagger_ms : DIAL_PLAN_STAGGER_MS};
    if (n == 0)
        return;
    int families[2] = {address_family(&addresses[0]), AF_INET};
    if (families[0] == AF_INET)
        families[1] = AF_INET6;
    size_t positions[2];
    for (int i = 0; i < 2; i++)
        positions[i] = family == AF_UNSPEC || family == families[i]
                           ? next_of(addresses, n, families[i], 0)
                           : n;
    for (int turn = 0; plan->n < NET_ATTEMPTS_MAX; turn = !turn) {
        if (positions[turn] == n)
            turn = !turn;
        if (positions[turn] == n)
            return;
        if (!leave_out || !leave_out(context, &addresses[positions[turn]]))
            plan->order[plan->n++] = positions[turn];
        positions[turn] = next_of(addresses, n, families[turn], positions[turn] + 1);
    }
}

enum dial_step dial_plan_next(const struct dial_plan *plan, int64_t now_ms, size_t *ret_index,
                              int64_t *ret_wait_ms)
{
    *ret_wait_ms = -1;
    if (plan->next == plan->n)
        return plan->n_running ? DIAL_WAIT : DIAL_LOST;
    *ret_index = plan->order[plan->next];
    if (plan->n_running == 0 || now_ms >= plan->next_at_ms)
        return DIAL_START;
    *ret_wait_ms = plan->next_at_ms - now_ms;
    return DIAL_WAIT;
}

void dial_plan_started(struct dial_plan *plan, int64_t now_ms)
{
    plan->next++;
    plan->n_running++;
    plan->next_at_ms = now_ms + plan->stagger_ms;
}

void dial_plan_failed(struct dial_plan *plan, int64_t now_ms)
{
    plan->n_running--;
    plan->next_at_ms = now_ms;
}

static int rank(int error)
{
    switch (error) {
    case EMFILE:
    case ENFILE:
    case ENOMEM:
    case ENOBUFS:
        return 2;
    case EAFNOSUPPORT:
    case EADDRNOTAVAIL:
    case ENETUNREACH:
    case EINVAL:
        return 0;
    default:
        return 1;
    }
}

int dial_plan_better(int a, int b)
{
    return rank(b) > rank(a);
}
