#include "app/pool_settings.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/value.h"

static struct identity *find_identity(const struct credentials *credentials, const char *name)
{
    for (size_t i = 0; i < credentials->n_identities; i++)
        if (strcmp(identity_name(credentials->identities[i].identity), name) == 0)
            return credentials->identities[i].identity;
    return NULL;
}

static int read_alpn(const struct config_list *alpn, struct pool *pool)
{
    for (size_t i = 0; i < alpn->n; i++) {
        size_t n = strlen(alpn->items[i]);
        if (n > 255 || pool->n_alpn + 1 + n > sizeof(pool->alpn))
            return -EINVAL;
        pool->alpn[pool->n_alpn++] = (unsigned char)n;
        memcpy(pool->alpn + pool->n_alpn, alpn->items[i], n);
        pool->n_alpn += n;
    }
    return 0;
}

/* Returns 0, HOSTNAME_E_* or -errno. */
static int read_host(const struct config_pool *config, struct pool *pool)
{
    struct config_destination endpoint;
    const char *name = config->server_name;

    if (config_read_endpoint(config->connect.items[0], &endpoint))
        return -EINVAL; /* the configuration has been checked */
    pool->port = endpoint.port;
    int r = endpoint.is_address ? address_parse(&pool->address, endpoint.host, endpoint.port)
                                : hostname_wire(endpoint.host, pool->host);
    if (r)
        return r;
    if (!*name)
        name = endpoint.host;
    struct address literal; /* as server name it stays as it is */
    if (address_parse(&literal, name, 0) != 0)
        return hostname_wire(name, pool->server_name);
    snprintf(pool->server_name, sizeof(pool->server_name), "%s", name);
    return 0;
}

static int read_pool(const struct config_pool *config, const struct credentials *credentials,
                     struct pool *pool, char *text, size_t n_text)
{
    struct shelf_settings shelf = {
        .min_idle = (size_t)config->min_idle,
        .max_idle = (size_t)config->max_idle,
        .max_age_ms = config->max_age,
        .idle_time_ms = config->idle_time,
        .until_s = INT64_MAX,
        .secure = config->secure,
        .personal = *config->identity != '\0',
    };
    pool->name = strdup(config->name);
    if (!pool->name)
        return -ENOMEM;
    int r = read_host(config, pool);
    if (r) {
        snprintf(text, n_text, "connect or server_name cannot be the name of a host");
        return r < 0 ? r : -EINVAL;
    }
    r = read_alpn(&config->alpn, pool);
    if (r) {
        snprintf(text, n_text, "alpn has more than %d bytes", TRUST_ALPN_MAX);
        return r;
    }
    pool->secure = config->secure;
    pool->verify = config->verify;
    if (pool->secure) {
        pool->trust = credentials_trust(credentials, config->profile);
        pool->identity = find_identity(credentials, config->identity);
        if (!pool->trust)
            return -EINVAL;
        if (pool->verify)
            shelf.until_s = trust_crls_until(pool->trust);
        if (pool->identity && identity_not_after(pool->identity) < shelf.until_s)
            shelf.until_s = identity_not_after(pool->identity);
    }
    return shelf_new(&pool->shelf, &shelf);
}

int pool_settings_load(struct pools *pools, const struct config *config,
                       const struct credentials *credentials, char *reason, size_t n_reason)
{
    const struct config_pool *pool;
    char text[256];

    pools->pools = calloc(CONFIG_MAX_NAMED, sizeof(*pools->pools));
    if (!pools->pools) {
        snprintf(reason, n_reason, "out of memory");
        return 1;
    }
    for (size_t i = 0; (pool = config_pool_at(config, i)); i++) {
        text[0] = '\0';
        int r = read_pool(pool, credentials, &pools->pools[pools->n_pools++], text, sizeof(text));
        if (r == 0)
            continue;
        snprintf(reason, n_reason, "[pool \"%s\"]: %s", pool->name, text[0] ? text : strerror(-r));
        return r == -EINVAL ? 2 : 1;
    }
    return 0;
}

size_t pool_settings_count(const struct config *config)
{
    const struct config_pool *pool;
    size_t n = 0;

    for (size_t i = 0; (pool = config_pool_at(config, i)); i++)
        n += (size_t)pool->max_idle;
    return n;
}
