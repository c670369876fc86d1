#include "app/door_plan.h"

#include <errno.h>
#include <grp.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FAILURE = 1, WRONG = 2 };

static int fail_memory(char *reason, size_t n_reason)
{
    snprintf(reason, n_reason, "out of memory");
    return FAILURE;
}

static int find_group(const char *name, const char *of, gid_t *ret_group, char *reason,
                      size_t n_reason)
{
    size_t n_buffer = 262144; /* of a group with very many members */
    struct group entry, *found = NULL;

    *ret_group = (gid_t)-1;
    if (!*name)
        return 0;
    char *buffer = malloc(n_buffer);
    if (!buffer)
        return fail_memory(reason, n_reason);
    int r = getgrnam_r(name, &entry, buffer, n_buffer, &found);
    if (found)
        *ret_group = found->gr_gid;
    free(buffer);
    if (found)
        return 0;
    if (r == ENOMEM)
        return fail_memory(reason, n_reason);
    snprintf(reason, n_reason, "%s has group = %s, but there is no such group here", of, name);
    return WRONG;
}

/* The wish of the next door; route is taken also after an error. */
static int add(struct door_plan *plan, struct route *route, const char *listen, mode_t mode,
               gid_t group, char *reason, size_t n_reason)
{
    struct door_wish *wish = &plan->wishes[plan->n];

    if (!route)
        return fail_memory(reason, n_reason);
    plan->n++;
    *wish = (struct door_wish){.mode = mode, .group = group, .route = route};
    snprintf(wish->listen, sizeof(wish->listen), "%s", listen);
    if (!config_read_door(listen, &wish->where))
        return 0;
    snprintf(reason, n_reason, "%s cannot be listened on", listen); /* it has been checked */
    return WRONG;
}

/* ---- tunnels ---- */

static int find_port(const struct config_tunnel *tunnel, struct route *route, char *reason,
                     size_t n_reason)
{
    struct config_target target;
    struct servent entry, *found = NULL;
    char buffer[4096];

    const char *wrong = config_read_target(tunnel->connect, &target);
    if (wrong) {
        snprintf(reason, n_reason, "[tunnel \"%s\"]: %s %s", tunnel->name, tunnel->connect, wrong);
        return WRONG;
    }
    snprintf(route->host, sizeof(route->host), "%s", target.host);
    route->port = target.port;
    if (target.port)
        return 0;
    (void)getservbyname_r(target.service, "tcp", &entry, buffer, sizeof(buffer), &found);
    if (found) {
        unsigned port = (unsigned)found->s_port; /* in the network's order */
        route->port = (uint16_t)((port & 0xff) << 8 | port >> 8);
    }
    if (route->port)
        return 0;
    snprintf(reason, n_reason,
             "[tunnel \"%s\"]: there is no service %s here; give the port's number, or add it to "
             "/etc/services",
             tunnel->name, target.service);
    return WRONG;
}

static int add_identity(const struct config_tunnel *tunnel, const struct credentials *credentials,
                        const struct app_options *options, struct route *route, char *reason,
                        size_t n_reason)
{
    const struct credentials_use use = {
        .host = route->host,
        .server_name = *tunnel->server_name ? tunnel->server_name : NULL,
        .port = route->port,
        .verify = tunnel->verify,
    };
    struct identity *identity;
    int r = credentials_grant(credentials, tunnel->identity, &use, &identity);

    if (r == 0)
        route->identity = identity_ref(identity);
    if (r == 0 || (r == CREDENTIALS_E_UNKNOWN && options->check)) /* out of sight there */
        return 0;
    if (r < 0)
        return fail_memory(reason, n_reason);
    snprintf(reason, n_reason,
             r == CREDENTIALS_E_UNVERIFIED
                 ? "[tunnel \"%s\"] has verify = no, but the identity %s is for certain "
                   "destinations, and then nobody knows who the peer is"
                 : "[tunnel \"%s\"]: the identity %s may not be shown to this host, port and "
                   "server_name; its section lists its destinations",
             tunnel->name, tunnel->identity);
    return WRONG;
}

static int add_alpn(const struct config_tunnel *tunnel, struct route *route, char *reason,
                    size_t n_reason)
{
    for (size_t i = 0; i < tunnel->alpn.n; i++) {
        size_t n = strlen(tunnel->alpn.items[i]);
        if (route->n_alpn + 1 + n > sizeof(route->alpn)) {
            snprintf(reason, n_reason, "[tunnel \"%s\"]: alpn has more than %zu bytes",
                     tunnel->name, sizeof(route->alpn));
            return WRONG;
        }
        route->alpn[route->n_alpn++] = (unsigned char)n;
        memcpy(route->alpn + route->n_alpn, tunnel->alpn.items[i], n);
        route->n_alpn += n;
    }
    return 0;
}

static int add_tls(const struct config_tunnel *tunnel, const struct credentials *credentials,
                   const struct app_options *options, struct route *route, char *reason,
                   size_t n_reason)
{
    struct trust *trust =
        credentials_trust(credentials, *tunnel->profile ? tunnel->profile : "default");

    if (!trust) { /* the configuration has been checked */
        snprintf(reason, n_reason, "[tunnel \"%s\"]: there is no profile %s", tunnel->name,
                 tunnel->profile);
        return WRONG;
    }
    route->secure = true;
    route->verify = tunnel->verify;
    route->trust = trust_ref(trust);
    snprintf(route->server_name, sizeof(route->server_name), "%s",
             *tunnel->server_name ? tunnel->server_name : route->host);
    int status = add_alpn(tunnel, route, reason, n_reason);
    if (status == 0 && *tunnel->identity)
        status = add_identity(tunnel, credentials, options, route, reason, n_reason);
    return status;
}

static int add_tunnel(struct door_plan *plan, const struct config_tunnel *tunnel,
                      const struct credentials *credentials, const struct app_options *options,
                      char *reason, size_t n_reason)
{
    char name[CONFIG_MAX_NAME + 16], section[CONFIG_MAX_NAME + 16];
    gid_t group;

    snprintf(name, sizeof(name), "tunnel %s", tunnel->name);
    snprintf(section, sizeof(section), "[tunnel \"%s\"]", tunnel->name);
    struct route *route = route_new(name);
    int status = find_group(tunnel->group, section, &group, reason, n_reason);
    if (status) {
        route_unref(route);
        return status;
    }
    status = add(plan, route, tunnel->listen, tunnel->mode, group, reason, n_reason);
    if (status)
        return status;
    route->timeout_ms = tunnel->timeout;
    status = find_port(tunnel, route, reason, n_reason);
    if (status == 0 && tunnel->secure)
        status = add_tls(tunnel, credentials, options, route, reason, n_reason);
    return status;
}

/* ---- SOCKS ---- */

static int add_socks(struct door_plan *plan, const struct config *config, char *reason,
                     size_t n_reason)
{
    const char *const doors[] = {config->socks_socket, config->socks_listen};
    gid_t group;
    int status = find_group(config->socks_group, "[socks]", &group, reason, n_reason);

    for (size_t i = 0; status == 0 && i < 2; i++) {
        if (!*doors[i])
            continue;
        struct route *route = route_new("socks");
        if (route) {
            route->socks = true;
            route->handshake_ms = config->socks_handshake_timeout;
            route->max_clients = config->socks_clients;
        }
        status = add(plan, route, doors[i], config->socks_mode, group, reason, n_reason);
    }
    return status;
}

/* ---- metrics ---- */

static int add_metrics(struct door_plan *plan, const struct config *config, char *reason,
                       size_t n_reason)
{
    const char *const doors[] = {config->metrics_socket, config->metrics_listen};
    gid_t group;
    int status = find_group(config->metrics_group, "[metrics]", &group, reason, n_reason);

    for (size_t i = 0; status == 0 && i < 2; i++) {
        if (!*doors[i])
            continue;
        struct route *route = route_new("metrics");
        if (route)
            route->metrics = true;
        status = add(plan, route, doors[i], config->metrics_mode, group, reason, n_reason);
    }
    return status;
}

int door_plan_new(struct door_plan **ret_plan, const struct config *config,
                  const struct credentials *credentials, const struct app_options *options,
                  char *reason, size_t n_reason)
{
    const struct config_tunnel *tunnel;
    struct door_plan *plan = calloc(1, sizeof(*plan));

    if (!plan)
        return fail_memory(reason, n_reason);
    int status = add_socks(plan, config, reason, n_reason);
    if (status == 0)
        status = add_metrics(plan, config, reason, n_reason);
    for (size_t i = 0; status == 0 && (tunnel = config_tunnel_at(config, i)); i++)
        status = add_tunnel(plan, tunnel, credentials, options, reason, n_reason);
    if (status) {
        door_plan_free(plan);
        return status;
    }
    *ret_plan = plan;
    return 0;
}

struct door_plan *door_plan_free(struct door_plan *plan)
{
    if (!plan)
        return NULL;
    for (size_t i = 0; i < plan->n; i++)
        route_unref(plan->wishes[i].route);
    free(plan);
    return NULL;
}
