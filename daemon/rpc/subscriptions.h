#pragma once
/*
 * subscriptions: clients that want to be told of events (Broker.Events): which, and how an event
 * gets into the line of their answers.
 *
 * Threads:   the client's io thread only (asserted).
 * Ownership: a subscription is its client's; it ends with it, with Session.Join, or when asked to.
 * Errors:    -ENOMEM. An event that cannot be told is counted, and told as lost when there is room.
 * Limits:    no event is put behind more than SUBSCRIPTION_UNREAD_MAX bytes of what the client has
 * not read yet, or half of limits.unread_answers, when that is less: a client that does not read
 * loses events, and nothing else.
 */
#include "broker/events.h"
#include "rpc/client.h"

enum { SUBSCRIPTION_UNREAD_MAX = 262144 };

struct subscription_wish {
    unsigned classes; /* bits of enum event_class */
    bool all;         /* of all users */
    uid_t uid;        /* else of that one */
};

/* May the client see that? What concerns others is for administrators. */
bool subscription_allowed(const struct client *client, const struct subscription_wish *wish);
/* From now on, in place of what was wished before. */
NODISCARD int subscription_set(struct client *client, const struct subscription_wish *wish);
/* Fine when there is none. */
void subscription_end(struct client *client);
/* After a reload: those end that are not allowed any more. */
void subscriptions_follow(struct io *io);
/* Tell how many were lost, if any were and there is room now. True: it was. */
bool subscription_tell_lost(struct client *client);
/* An events_deliver; context: the struct io. */
void subscriptions_deliver(void *context, const struct event_line *line, uint64_t lost);
