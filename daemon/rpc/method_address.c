/*
 * method_address: TCPGetMyAddr, TCPGetMyPort, TCPGetRemoteAddr, TCPName2Addr, TCPAddr2Name.
 */
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rpc/job.h"
#include "rpc/method.h"
#include "rpc/police.h"

/* ---- of a socket
 * ---------------------------------------------------------------------------------------------- */

/* Its own address, or its peer's, when it has one; otherwise the request was answered. */
static const struct address *address_of(struct request *request, int64_t number,
                                        const struct address *(*get)(const struct socket *socket))
{
    struct fault fault;
    if (!request_socket(request, number))
        return NULL;
    const struct address *address = get(request->socket);
    if (address)
        return address;
    enum socket_outcome outcome = request->socket->state == SOCKET_FAILED ? SOCKET_E_FAILED
                                  : get == socket_local                   ? SOCKET_E_STATE
                                                                          : SOCKET_E_NOT_CONNECTED;
    if (request->socket->state == SOCKET_CONNECTING)
        outcome = SOCKET_E_NOT_CONNECTED;
    fault_outcome(&fault, outcome, request->socket, request_name(request));
    request_fail(request, &fault);
    return NULL;
}

void method_tcp_get_my_port(struct request *request)
{
    const struct address *local =
        address_of(request, request->params.tcp_get_my_port.socket, socket_local);
    if (!local)
        return;
    struct proto_tcp_get_my_port_result result = {.port = address_port(local)};
    request_answer(request, &result);
}

void method_tcp_get_remote_addr(struct request *request)
{
    char text[ADDRESS_TEXT_MAX];
    const struct address *remote =
        address_of(request, request->params.tcp_get_remote_addr.socket, socket_remote);
    if (!remote)
        return;
    struct proto_tcp_get_remote_addr_result result = {
        .address = address_text(remote, text, sizeof(text)), .port = address_port(remote)};
    request_answer(request, &result);
}

/* ---- look-ups
 * -------------------------------------------------------------------------------------------------
 */

static void on_deadline(struct request *request)
{
    struct fault fault;

    fault_set(&fault, WIRE_ETIMEDOUT,
              "%s: the deadline passed after %lld ms while looking it up; is the name server up?",
              request_name(request), (long long)(loop_clock_us() - request->started_us) / 1000);
    fault.stage = STAGE_RESOLVE;
    request->withdraw(request, &fault);
    request_fail(request, &fault);
}

bool method_look_up(struct request *request, struct lookup *lookup, bool given, int64_t given_ms,
                    void (*on_lookup)(struct request *request, struct lookup *lookup))
{
    const struct rpc_settings *settings = &request->client->io->snapshot->settings;
    int64_t timeout_ms = request_choose_ms(
        given, given_ms, request_session(request)->deadlines.lookup, settings->lookup_timeout_ms);
    struct fault fault;

    if (!lookup || job_new(request)) {
        lookup_free(lookup);
        fault_set(&fault, WIRE_ENOBUFS, "%s: out of memory", request_name(request));
        request_fail(request, &fault);
        return false;
    }
    request->on_deadline = on_deadline;
    request->op.job->on_lookup = on_lookup;
    if (!request_deadline(request, timeout_ms)) {
        lookup_free(lookup);
        return false;
    }
    int r = job_lookup(request->op.job, &lookup);
    if (r == 0)
        return true;
    lookup_free(lookup);
    job_done(request);
    fault_lookups(&fault, r, settings, request_name(request));
    request_fail(request, &fault);
    return false;
}

static struct lookup *new_lookup(enum lookup_kind kind, bool ipv6)
{
    struct lookup *lookup = calloc(1, sizeof(*lookup));
    if (!lookup)
        return NULL;
    lookup->kind = kind;
    lookup->family = ipv6 ? AF_INET6 : AF_INET;
    return lookup;
}

/* A look-up failed: answer so. Returns false when it did not fail. */
static bool answer_failure(struct request *request, struct lookup *lookup, const char *subject)
{
    struct fault fault;

    if (!lookup->gai)
        return false;
    fault_gai(&fault, lookup->gai, lookup->sys_errno, request_name(request), subject,
              lookup->service);
    lookup_free(lookup);
    request_fail(request, &fault);
    return true;
}

static void on_self(struct request *request, struct lookup *lookup)
{
    char text[ADDRESS_TEXT_MAX];

    job_done(request);
    if (lookup->gai) {
        struct fault fault;
        fault_gai(&fault, lookup->gai, lookup->sys_errno, request_name(request), "", "");
        snprintf(fault.message, sizeof(fault.message),
                 "TCPGetMyAddr: this host's own name has no %s address: %s; see hostname(1) and "
                 "/etc/hosts",
                 lookup->family == AF_INET6 ? "IPv6" : "IPv4", gai_strerror(lookup->gai));
        lookup_free(lookup);
        request_fail(request, &fault);
        return;
    }
    struct proto_tcp_get_my_addr_result result = {
        .address = address_text(&lookup->addresses[0], text, sizeof(text))};
    request_answer(request, &result);
    lookup_free(lookup);
}

void method_tcp_get_my_addr(struct request *request)
{
    const struct proto_tcp_get_my_addr_params *params = &request->params.tcp_get_my_addr;
    char text[ADDRESS_TEXT_MAX];

    if (params->socket == 0) {
        (void)method_look_up(request, new_lookup(LOOKUP_SELF, params->ipv6), params->has_timeout_ms,
                             params->timeout_ms, on_self);
        return;
    }
    const struct address *local = address_of(request, params->socket, socket_local);
    if (!local)
        return;
    struct proto_tcp_get_my_addr_result result = {.address =
                                                      address_text(local, text, sizeof(text))};
    request_answer(request, &result);
}

static void answer_addresses(struct request *request, const struct lookup *lookup)
{
    char texts[LOOKUP_ADDRESSES_MAX][ADDRESS_TEXT_MAX];
    const char *items[LOOKUP_ADDRESSES_MAX];

    for (size_t i = 0; i < lookup->n_addresses; i++)
        items[i] = address_text(&lookup->addresses[i], texts[i], sizeof(texts[i]));
    struct proto_tcp_name2addr_result result = {
        .address = items[0],
        .addresses = {.items = items, .n_items = lookup->n_addresses},
    };
    request_answer(request, &result);
}

static void on_addresses(struct request *request, struct lookup *lookup)
{
    job_done(request);
    if (answer_failure(request, lookup, request->params.tcp_name2addr.hostname))
        return;
    answer_addresses(request, lookup);
    lookup_free(lookup);
}

/* host or address: what the look-up is for. False: the policy has denied it, and the request was
 * answered. */
static bool passes(struct request *request, const char *host, const struct address *address)
{
    struct police police;
    struct fault fault;

    if (!police_concerns(request->client->io->snapshot->policy, request->call->method))
        return true;
    police_request(&police, request);
    if (host)
        police_host(&police, host);
    police.question.address = address;
    if (police_passes(&police, request_name(request), &fault))
        return true;
    request_fail(request, &fault);
    return false;
}

void method_tcp_name2addr(struct request *request)
{
    const struct proto_tcp_name2addr_params *params = &request->params.tcp_name2addr;
    char host[256];

    method_strip_brackets(params->hostname, host, sizeof(host));
    if (!passes(request, host, NULL))
        return;
    struct lookup *lookup = new_lookup(LOOKUP_ADDRESSES, params->ipv6);

    if (lookup)
        snprintf(lookup->host, sizeof(lookup->host), "%s", host);
    (void)method_look_up(request, lookup, params->has_timeout_ms, params->timeout_ms, on_addresses);
}

static void on_name(struct request *request, struct lookup *lookup)
{
    job_done(request);
    if (answer_failure(request, lookup, request->params.tcp_addr2name.address))
        return;
    struct proto_tcp_addr2name_result result = {.hostname = lookup->name};
    request_answer(request, &result);
    lookup_free(lookup);
}

void method_tcp_addr2name(struct request *request)
{
    struct address address;
    struct fault fault;

    if (address_parse(&address, request->params.tcp_addr2name.address, 0)) {
        fault_param(&fault, "TCPAddr2Name", "address", "an IPv4 or IPv6 address");
        request_fail(request, &fault);
        return;
    }
    if (!passes(request, NULL, &address))
        return;
    struct lookup *lookup = new_lookup(LOOKUP_NAME, false);
    if (lookup)
        lookup->address = address;
    (void)method_look_up(request, lookup, request->params.tcp_addr2name.has_timeout_ms,
                         request->params.tcp_addr2name.timeout_ms, on_name);
}
