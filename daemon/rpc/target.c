#include "rpc/target.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rpc/method.h"
#include "rpc/report.h"
#include "rpc/secure.h"

static void fail_param(struct request *request, const char *param, const char *expected)
{
    struct fault fault;

    fault_param(&fault, request_name(request), param, expected);
    request_fail(request, &fault);
}

void method_strip_brackets(const char *hostname, char *host, size_t n_host)
{
    struct address address;
    size_t n = strlen(hostname);
    /* RFC 3986 section 3.2.2: brackets belong to IPv6 addresses only */
    bool bracketed = hostname[0] == '[' && address_parse(&address, hostname, 0) == 0;

    snprintf(host, n_host, "%.*s", (int)(bracketed ? n - 2 : n), hostname + (bracketed ? 1 : 0));
}

void target_read(const struct proto_tcp_connect_params *params, struct target *ret_target)
{
    char *end;
    unsigned long port = strtoul(params->port, &end, 10);

    memset(ret_target, 0, sizeof(*ret_target));
    ret_target->port =
        *end == '\0' ? (uint16_t)port : 0; /* the field table has checked the range */
    method_strip_brackets(params->hostname, ret_target->host, sizeof(ret_target->host));
    if (address_parse(&ret_target->literal, params->hostname, ret_target->port))
        ret_target->literal.n_bytes = 0;
}

bool target_identity(const struct request *request, uint16_t port, struct dial *dial,
                     struct fault *ret_fault)
{
    const struct proto_tcp_connect_params *params = &request->params.tcp_connect;
    const struct credentials_use use = {
        .host = params->hostname,
        .server_name = params->has_server_name ? params->server_name : NULL,
        .port = port,
        .verify = params->verify,
    };
    return !params->secure || !params->has_identity ||
           secure_identity(request, params->identity, &use, dial, ret_fault);
}

static bool prepare_tls(struct request *request, const struct target *target, struct dial *dial)
{
    const struct proto_tcp_connect_params *params = &request->params.tcp_connect;
    struct fault fault;

    snprintf(dial->server_name, sizeof(dial->server_name), "%s",
             params->has_server_name ? params->server_name : target->host);
    if (!secure_profile(request, params->has_profile, params->profile, dial) ||
        (params->has_alpn && !secure_alpn(request, &params->alpn, dial)))
        return false;
    if (target_identity(request, target->port, dial, &fault))
        return true;
    request_fail(request, &fault);
    return false;
}

static bool is_plain(struct request *request)
{
    const struct proto_tcp_connect_params *params = &request->params.tcp_connect;
    const struct secure_member members[] = {
        {"identity", params->has_identity},       {"profile", params->has_profile},
        {"server_name", params->has_server_name}, {"alpn", params->has_alpn},
        {"min_tls", params->has_min_tls},
    };
    return secure_unnamed(request, members, sizeof(members) / sizeof(members[0]));
}

bool target_prepare(struct request *request, const struct target *target, struct dial *dial)
{
    const struct proto_tcp_connect_params *params = &request->params.tcp_connect;
    const struct rpc_snapshot *snapshot = request->client->io->snapshot;

    dial->own_settings = true;
    dial->settings = snapshot->dial;
    dial->family = method_family(params->family);
    dial->secure = params->secure;
    dial->verify = params->verify;
    dial->hand_out = params->attach;
    dial->explain = params->explain;
    dial->min_tls13 = params->min_tls == 1;
    if (params->attach && !method_can_attach(request))
        return false;
    if (params->has_trace && !report_printable(params->trace)) {
        fail_param(request, "trace", "printable ASCII");
        return false;
    }
    if (params->has_local_address && address_parse(&dial->local, params->local_address, 0)) {
        fail_param(request, "local_address", "an IPv4 or IPv6 address of this host");
        return false;
    }
    if (target->literal.n_bytes && dial->family != AF_UNSPEC &&
        dial->family != address_family(&target->literal)) {
        struct fault fault;
        fault_set(&fault, WIRE_NO_DATA, "TCPConnect: %s is no %s address", target->host,
                  dial->family == AF_INET ? "IPv4" : "IPv6");
        request_fail(request, &fault);
        return false;
    }
    if (!params->secure)
        return is_plain(request);
    return prepare_tls(request, target, dial);
}

/* ---- the policy ---- */

static void ask(const struct request *request, struct target *target, struct police *police)
{
    const struct proto_tcp_connect_params *params = &request->params.tcp_connect;

    police_request(police, request);
    police_host(police, target->host);
    police->question.port = target->port;
    police->question.no_port_yet = target->port == 0;
    police->question.no_address_yet = true;
    police->question.secure = params->secure;
    police->question.verify = params->verify;
    police->question.identity = params->secure && params->has_identity ? params->identity : NULL;
}

bool target_may_pass(const struct request *request, struct target *target, const char *what,
                     struct fault *ret_fault)
{
    struct police police;

    ask(request, target, &police);
    return police_passes(&police, what, ret_fault);
}

bool target_passes(const struct request *request, struct dial *dial, const char *what,
                   struct fault *ret_fault)
{
    struct target target;
    struct police police;

    target_read(&request->params.tcp_connect, &target);
    ask(request, &target, &police);
    return police_addresses(&police, dial->addresses, &dial->n_addresses, what, ret_fault);
}

bool target_lets(const struct request *request, struct target *target,
                 const struct address *address)
{
    struct police police;

    if (!police_concerns(request->client->io->snapshot->policy, METHOD_TCP_CONNECT))
        return true;
    ask(request, target, &police);
    return police_lets(&police, address);
}
