#include "rpc/subscriptions.h"

#include <errno.h>
#include <stdlib.h>

#include "broker/stats.h"

struct subscription {
    struct list link; /* io->subscriptions */
    struct client *client;
    struct subscription_wish wish;
    uint64_t lost; /* and not told yet */
};

bool subscription_allowed(const struct client *client, const struct subscription_wish *wish)
{
    return (!wish->all && wish->uid == client->uid) || client_is_admin(client);
}

int subscription_set(struct client *client, const struct subscription_wish *wish)
{
    struct io *io = client->io;

    ASSERT_OWNER(io->loop);
    if (!client->subscription) {
        struct subscription *subscription = calloc(1, sizeof(*subscription));
        if (!subscription)
            return -ENOMEM;
        subscription->client = client;
        list_append(&io->subscriptions, &subscription->link);
        client->subscription = subscription;
        events_listen(io->shared->events, io->index);
        stats_count(event_listeners);
    }
    client->subscription->wish = *wish;
    return 0;
}

void subscription_end(struct client *client)
{
    struct subscription *subscription = client->subscription;

    if (!subscription)
        return;
    ASSERT_OWNER(client->io->loop);
    client->subscription = NULL;
    list_remove(&subscription->link);
    free(subscription);
    events_unlisten(client->io->shared->events, client->io->index);
    (void)stats_sub(event_listeners, 1);
}

/* How much may lie unread before an event. */
static size_t limit_of(const struct client *client)
{
    size_t limit = client->io->snapshot->settings.unread_answers / 2;
    return limit < SUBSCRIPTION_UNREAD_MAX ? limit : SUBSCRIPTION_UNREAD_MAX;
}

bool subscription_tell_lost(struct client *client)
{
    struct subscription *subscription = client->subscription;
    char text[EVENTS_LOST_MAX];
    size_t n;

    ASSERT_OWNER(client->io->loop);
    /* not at the very brim: one line that says so, rather than one for each */
    if (subscription->lost == 0 || client->out.n_data > limit_of(client) / 2)
        return false;
    events_lost_line(subscription->lost, text, &n);
    if (!client_notify(client, text, n))
        return false;
    subscription->lost = 0;
    return true;
}

static void lose(struct subscription *subscription, uint64_t n)
{
    subscription->lost += n;
    (void)stats_add(events_lost, (int64_t)n);
}

static void tell(struct subscription *subscription, const struct event_line *line)
{
    const struct subscription_wish *wish = &subscription->wish;
    struct client *client = subscription->client;

    if (!(wish->classes & line->one) || !(wish->all || wish->uid == line->uid))
        return;
    /* what was lost is told before what came after it */
    if ((subscription->lost > 0 && !subscription_tell_lost(client)) ||
        client->out.n_data > limit_of(client) || !client_notify(client, line->text, line->n_text))
        lose(subscription, 1);
}

void subscriptions_follow(struct io *io)
{
    ASSERT_OWNER(io->loop);
    list_for_each_safe (link, &io->subscriptions) {
        struct client *client = container_of(link, struct subscription, link)->client;
        if (!subscription_allowed(client, &client->subscription->wish))
            subscription_end(client);
    }
}

void subscriptions_deliver(void *context, const struct event_line *line, uint64_t lost)
{
    struct io *io = context;

    ASSERT_OWNER(io->loop);
    list_for_each (link, &io->subscriptions) {
        struct subscription *subscription = container_of(link, struct subscription, link);
        if (lost > 0)
            lose(subscription, lost);
        tell(subscription, line);
        if (lost > 0)
            (void)subscription_tell_lost(subscription->client);
    }
}
