#include "rpc/pools.h"

#include <stdlib.h>
#include <string.h>

#include "broker/socket_rest.h"
#include "broker/stats.h"
#include "rpc/pool_keeper.h"
#include "rpc/request.h"
#include "util/log.h"

void pools_deinit(struct pools *pools)
{
    for (size_t i = 0; i < pools->n_pools; i++) {
        shelf_unref(pools->pools[i].shelf);
        free(pools->pools[i].name);
    }
    free(pools->pools);
    *pools = (struct pools){.n_pools = 0};
}

static bool same_host(const char *host, const char *wire, const struct address *address)
{
    char other[HOSTNAME_WIRE_MAX];
    struct address literal;

    if (address_parse(&literal, host, address_port(address)) == 0)
        return !*wire && address_equal(&literal, address);
    return *wire && hostname_wire(host, other) == 0 && strcmp(other, wire) == 0;
}

/* The name that is verified and sent, in the form in which two spellings are the same. */
static bool same_server_name(const char *server_name, const char *wanted)
{
    char wire[HOSTNAME_WIRE_MAX];
    struct address literal, other;

    if (address_parse(&literal, wanted, 0) == 0)
        return address_parse(&other, server_name, 0) == 0 && address_equal(&literal, &other);
    return strcmp(server_name, wanted) == 0 ||
           (hostname_wire(server_name, wire) == 0 && strcmp(wire, wanted) == 0);
}

static bool same_terms(const struct pool *pool, const struct dial *dial)
{
    if (pool->secure != dial->secure || dial->explain || dial->local.n_bytes ||
        dial->family != AF_UNSPEC)
        return false;
    return !pool->secure ||
           (pool->verify == dial->verify && pool->trust == dial->trust &&
            pool->identity == dial->identity && !dial->min_tls13 && pool->n_alpn == dial->n_alpn &&
            memcmp(pool->alpn, dial->alpn, dial->n_alpn) == 0 &&
            same_server_name(dial->server_name, pool->server_name));
}

struct shelf *pools_match(const struct pools *pools, const char *host, uint16_t port,
                          const struct dial *dial)
{
    for (size_t i = 0; i < pools->n_pools; i++) {
        const struct pool *pool = &pools->pools[i];
        if (pool->port == port && same_terms(pool, dial) &&
            same_host(host, pool->host, &pool->address))
            return pool->shelf;
    }
    return NULL;
}

struct connection *pools_take(struct request *request, struct shelf *shelf,
                              struct shelf_tag *ret_tag)
{
    struct connection *connection;

    for (;;) {
        struct shelf_now now = shelf_now();
        connection = shelf_take(shelf, request->client->uid, now, ret_tag);
        if (!connection)
            break;
        enum warm_state state = warm_look(connection);
        shelf_judge(shelf, ret_tag, state, now);
        if (state == WARM_ALIVE)
            break;
        stats_count(pool_stale);
        connection_free(connection);
    }
    if (connection)
        stats_count(pool_taken);
    else
        stats_count(pool_missed);
    pool_keeper_wake(request->client->io->shared->keeper);
    return connection;
}

void pools_put_back(struct request *request, struct shelf *shelf, struct connection **connection,
                    const struct shelf_tag *tag)
{
    (void)stats_sub(pool_taken, 1);
    (void)!shelf_put(shelf, connection, tag, shelf_now());
    *connection = warm_retire(*connection); /* for which there was no place any more */
    pool_keeper_wake(request->client->io->shared->keeper);
}

bool pools_give_back(struct request *request, bool *ret_reused)
{
    enum rest_outcome outcome = socket_rest(request->socket, request->client->uid, shelf_now());

    if (outcome == REST_NOT)
        return false;
    *ret_reused = outcome == REST_DONE;
    if (*ret_reused)
        stats_count(pool_reused);
    pool_keeper_wake(request->client->io->shared->keeper);
    return true;
}
