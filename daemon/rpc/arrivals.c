#include "rpc/arrivals.h"

/* Nobody waits; somebody does; somebody does, and go_on is in the control thread's mailbox. */
enum { FREE, HELD, POSTED };

static void on_go_on(struct mail *mail)
{
    struct arrivals *arrivals = container_of(mail, struct arrivals, go_on);
    struct list waiters = LIST_INIT(waiters);

    atomic_store(&arrivals->state, FREE);
    list_splice(&waiters, &arrivals->waiters);
    for (struct list *link; (link = list_pop(&waiters));) {
        struct arrivals_waiter *waiter = container_of(link, struct arrivals_waiter, link);
        waiter->go_on(waiter);
    }
}

void arrivals_init(struct arrivals *arrivals, struct loop *control)
{
    arrivals->control = control;
    atomic_init(&arrivals->n, 0);
    atomic_init(&arrivals->state, FREE);
    arrivals->go_on.deliver = on_go_on;
    list_init(&arrivals->waiters);
}

static void let_go_on(struct arrivals *arrivals)
{
    int held = HELD;

    if (atomic_compare_exchange_strong(&arrivals->state, &held, POSTED))
        loop_post(arrivals->control, &arrivals->go_on);
}

bool arrivals_must_wait(struct arrivals *arrivals, struct arrivals_waiter *waiter)
{
    int free = FREE;

    ASSERT_OWNER(arrivals->control);
    if (atomic_load(&arrivals->n) < ARRIVALS_MAX)
        return false;
    if (!list_linked(&waiter->link))
        list_append(&arrivals->waiters, &waiter->link);
    atomic_compare_exchange_strong(&arrivals->state, &free, HELD);
    /* they may have been taken up before that could be seen */
    if (atomic_load(&arrivals->n) <= ARRIVALS_FEW)
        let_go_on(arrivals);
    return true;
}

void arrivals_begin(struct arrivals *arrivals)
{
    ASSERT_OWNER(arrivals->control);
    atomic_fetch_add(&arrivals->n, 1);
}

void arrivals_end(struct arrivals *arrivals)
{
    if (atomic_fetch_sub(&arrivals->n, 1) - 1 <= ARRIVALS_FEW)
        let_go_on(arrivals);
}
