#include "rpc/route.h"

#include <stdlib.h>
#include <string.h>

#include "broker/stats.h"

static void add(atomic_llong *count, long long n)
{
    atomic_fetch_add_explicit(count, n, memory_order_relaxed);
}

static void counts_unref(struct route_counts *counts)
{
    if (counts && atomic_fetch_sub_explicit(&counts->references, 1, memory_order_acq_rel) == 1)
        free(counts);
}

struct route *route_new(const char *name)
{
    struct route *route = calloc(1, sizeof(*route));
    if (!route)
        return NULL;
    atomic_init(&route->references, 1);
    route->name = strdup(name);
    route->counts = calloc(1, sizeof(*route->counts));
    if (!route->name || !route->counts)
        return route_unref(route);
    atomic_init(&route->counts->references, 1);
    return route;
}

void route_follow(struct route *route, const struct route *before)
{
    if (strcmp(route->name, before->name) != 0 || route->counts == before->counts)
        return;
    counts_unref(route->counts);
    route->counts = before->counts;
    atomic_fetch_add_explicit(&route->counts->references, 1, memory_order_relaxed);
}

void route_failed(const struct route *route)
{
    if (route->socks)
        stats_count(socks_failed);
    else
        stats_count(tunnels_failed);
    add(&route->counts->failed, 1);
}

struct route *route_ref(struct route *route)
{
    atomic_fetch_add_explicit(&route->references, 1, memory_order_relaxed);
    return route;
}

struct route *route_unref(struct route *route)
{
    if (!route || atomic_fetch_sub_explicit(&route->references, 1, memory_order_acq_rel) > 1)
        return NULL;
    trust_unref(route->trust);
    identity_unref(route->identity);
    counts_unref(route->counts);
    free(route->name);
    free(route);
    return NULL;
}

struct route *route_enter(struct route *route)
{
    if (route->socks) {
        stats_count(socks_connections);
        stats_count(socks_connections_total);
    } else {
        stats_count(tunnel_connections);
        stats_count(tunnel_connections_total);
    }
    add(&route->counts->now, 1);
    add(&route->counts->total, 1);
    return route_ref(route);
}

struct route *route_leave(struct route *route)
{
    if (!route)
        return NULL;
    if (route->socks)
        (void)stats_sub(socks_connections, 1);
    else
        (void)stats_sub(tunnel_connections, 1);
    add(&route->counts->now, -1);
    return route_unref(route);
}
