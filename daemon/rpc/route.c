#include "rpc/route.h"

#include <stdlib.h>
#include <string.h>

#include "broker/stats.h"

struct route *route_new(const char *name)
{
    struct route *route = calloc(1, sizeof(*route));
    if (!route)
        return NULL;
    atomic_init(&route->references, 1);
    route->name = strdup(name);
    return route->name ? route : route_unref(route);
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
    return route_unref(route);
}
