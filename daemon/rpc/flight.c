#include "rpc/flight.h"

#include "broker/stats.h"

static void count_lookup(const struct lookup *lookup)
{
    (void)stats_sub(lookups_running, 1);
    stats_changed();
    if (lookup->source == LOOKUP_SHARED)
        stats_count(lookups_shared);
    if (lookup->source == LOOKUP_CACHED)
        stats_count(lookups_cached);
    if (lookup->source == LOOKUP_CACHED && lookup->gai)
        stats_count(lookups_cached_negative);
}

static void on_lookup_back(struct mail *mail)
{
    struct lookup *lookup = container_of(mail, struct lookup, done);
    struct flight *flight = lookup->context;

    ASSERT_OWNER(flight->loop);
    flight->lookup = NULL;
    count_lookup(lookup);
    flight->on_lookup(flight, lookup);
}

int flight_lookup(struct flight *flight, struct lookup **lookup)
{
    struct lookup *out = *lookup;

    ASSERT_OWNER(flight->loop);
    ASSERT(!flight->lookup);
    out->done.deliver = on_lookup_back;
    out->context = flight;
    out->reply_to = flight->loop;
    out->payer = &flight->account->lookups;
    out->n_payer_max = flight->n_lookups_max;
    int r = resolver_post(flight->shared->resolver, lookup);
    if (r)
        return r == RESOLVER_E_PAYER ? FLIGHT_E_USER_LOOKUPS : FLIGHT_E_LOOKUPS_FULL;
    flight->lookup = out;
    stats_count(lookups);
    stats_count(lookups_running);
    stats_changed();
    return 0;
}

static void on_dial_back(struct mail *mail)
{
    struct dial *dial = container_of(mail, struct dial, done);
    struct flight *flight = dial->context;

    ASSERT_OWNER(flight->loop);
    flight->dial = NULL;
    flight->on_dial(flight, dial);
}

void flight_dial(struct flight *flight, struct dial **dial)
{
    struct dial *out = *dial;

    ASSERT_OWNER(flight->loop);
    ASSERT(!flight->dial);
    out->done.deliver = on_dial_back;
    out->context = flight;
    out->reply_to = flight->loop;
    flight->dial = out;
    dialer_post(flight->shared->dialers, dial);
}

void flight_recall(struct flight *flight)
{
    ASSERT_OWNER(flight->loop);
    if (flight->lookup)
        lookup_abandon(flight->lookup);
    if (flight->dial)
        dial_cancel(flight->dial);
}
