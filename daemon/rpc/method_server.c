/*
 * method_server: TCPSocket, TCPBind, TCPListen.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "rpc/job.h"
#include "rpc/method.h"
#include "rpc/police.h"

/* r: SOCKET_E_* or -errno of what the socket was asked for. */
static void fail(struct request *request, int r)
{
    struct fault fault;

    if (r > 0) {
        fault_outcome(&fault, (enum socket_outcome)r, request->socket, request_name(request));
    } else {
        fault_errno(&fault, r == -ENOMEM || r == -EMFILE ? STAGE_BROKER : STAGE_CONNECT, -r,
                    request_name(request));
    }
    request_fail(request, &fault);
}

/* ---- TCPSocket
 * ------------------------------------------------------------------------------------------------
 */

int method_family(int64_t word)
{
    return word == 1 ? AF_INET : word == 2 ? AF_INET6 : AF_UNSPEC;
}

void method_tcp_socket(struct request *request)
{
    const struct rpc_settings *settings = &request->client->io->snapshot->settings;
    struct socket *socket;
    struct fault fault;

    int r = session_socket_new(request_session(request), SOCKET_UNBOUND, &request->thread, NULL,
                               &socket);
    if (r) {
        fault_full(&fault, r, settings, "TCPSocket");
        request_fail(request, &fault);
        return;
    }
    socket->family = method_family(request->params.tcp_socket.family);
    struct proto_tcp_socket_result result = {.socket = socket->number};
    request_answer(request, &result);
}

/* ---- TCPBind
 * --------------------------------------------------------------------------------------------------
 */

static void describe(const struct request *request, char *text, size_t n_text)
{
    const struct proto_tcp_bind_params *params = &request->params.tcp_bind;
    snprintf(text, n_text, "TCPBind to %s%sport %s", params->has_address ? params->address : "",
             params->has_address ? " " : "", params->port);
}

static void fail_bind(struct request *request, int r)
{
    struct fault fault;
    char what[192];

    if (r > 0) {
        fail(request, r);
        return;
    }
    describe(request, what, sizeof(what));
    fault_errno(&fault, STAGE_CONNECT, -r, what);
    if (r == -EACCES)
        fault_set(&fault, WIRE_EACCES,
                  "%s: the system keeps that port for privileged programs; take one from 1024 up, "
                  "or see net.ipv4.ip_unprivileged_port_start",
                  what);
    else if (r == -EADDRINUSE)
        fault_set(&fault, WIRE_EADDRINUSE,
                  "%s: something listens there already; take another port, or 0 for any free one",
                  what);
    else if (r == -EAFNOSUPPORT)
        fault_set(&fault, WIRE_EAFNOSUPPORT,
                  "%s: the address is not of the socket's family, or this host has no such "
                  "addresses",
                  what);
    fault.stage = STAGE_CONNECT;
    fault.sys_errno = -r;
    request_fail(request, &fault);
}

/* The policy's question about serving at that address. */
static void ask(const struct request *request, const struct address *address, uint16_t port,
                struct police *police)
{
    police_request(police, request);
    police->question.listen_address = address;
    police->question.listen_port = port;
    police->question.no_listen_port_yet = port == 0;
}

static bool may_bind(struct request *request, const struct address *address, uint16_t port)
{
    struct address all = *address;
    struct police police;
    struct fault fault;
    char what[192];

    if (!police_concerns(request->client->io->snapshot->policy, METHOD_TCP_BIND))
        return true;
    if (all.n_bytes == 0 && request->socket->family == AF_INET) {
        all = (struct address){.n_bytes = sizeof(all.v4)};
        all.v4.sin_family = AF_INET;
    } else if (all.n_bytes == 0) {
        all = (struct address){.n_bytes = sizeof(all.v6)};
        all.v6.sin6_family = AF_INET6;
    }
    ask(request, &all, port, &police);
    describe(request, what, sizeof(what));
    if (police_passes(&police, what, &fault))
        return true;
    request_fail(request, &fault);
    return false;
}

static void bind_to(struct request *request, uint16_t port)
{
    const struct proto_tcp_bind_params *params = &request->params.tcp_bind;
    struct address address = {.n_bytes = 0};
    char text[ADDRESS_TEXT_MAX];
    struct fault fault;

    if (params->has_address && address_parse(&address, params->address, 0)) {
        fault_param(&fault, "TCPBind", "address", "an IPv4 or IPv6 address of this host");
        request_fail(request, &fault);
        return;
    }
    if (!may_bind(request, &address, port))
        return;
    int r = socket_bind(request->socket, &address, port);
    if (r) {
        fail_bind(request, r);
        return;
    }
    const struct address *local = socket_local(request->socket);
    struct proto_tcp_bind_result result = {
        .status = 0,
        .address = address_text(local, text, sizeof(text)),
        .port = address_port(local),
    };
    request_answer(request, &result);
}

static void on_service(struct request *request, struct lookup *lookup)
{
    struct fault fault;
    uint16_t port = lookup->gai ? 0 : address_port(&lookup->addresses[0]);

    socket_unhold(request->socket, &request->op.hold);
    job_done(request);
    if (lookup->gai) {
        fault_gai(&fault, lookup->gai, lookup->sys_errno, "TCPBind", lookup->host, lookup->service);
        lookup_free(lookup);
        request_fail(request, &fault);
        return;
    }
    lookup_free(lookup);
    bind_to(request, port);
}

static void on_withdraw(struct request *request, struct fault *fault)
{
    (void)fault;
    if (request->socket)
        socket_unhold(request->socket, &request->op.hold);
}

/* The socket is closed while its port is being looked up. */
static void on_closing(struct socket_hold *hold, enum socket_outcome outcome)
{
    struct request *request = container_of(hold, struct request, op.hold);
    struct fault fault;

    fault_outcome(&fault, outcome, request->socket, request_name(request));
    request->socket = NULL;
    request->withdraw(request, &fault);
    request->withdraw = NULL;
    request_fail(request, &fault);
}

void method_tcp_bind(struct request *request)
{
    const struct proto_tcp_bind_params *params = &request->params.tcp_bind;
    char *end;

    if (!request_socket(request, params->socket))
        return;
    unsigned long port = strtoul(params->port, &end, 10); /* the field table knows the range */
    if (*end == '\0') {
        bind_to(request, (uint16_t)port);
        return;
    }
    if (request->socket->state != SOCKET_UNBOUND || socket_idle(request->socket) != SOCKET_OK) {
        fail(request, request->socket->state != SOCKET_UNBOUND ? SOCKET_E_STATE : SOCKET_E_BUSY);
        return;
    }
    struct lookup *lookup = calloc(1, sizeof(*lookup));
    if (lookup) {
        /* the port is what is asked for; any address will do for that */
        lookup->kind = LOOKUP_ADDRESSES;
        lookup->family = AF_INET;
        snprintf(lookup->host, sizeof(lookup->host), "127.0.0.1");
        snprintf(lookup->service, sizeof(lookup->service), "%s", params->port);
    }
    if (!method_look_up(request, lookup, params->has_timeout_ms, params->timeout_ms, on_service))
        return;
    request->op.hold.on_done = on_closing;
    request->op.job->on_withdraw = on_withdraw;
    socket_hold(request->socket, &request->op.hold);
}

/* ---- TCPListen
 * ------------------------------------------------------------------------------------------------
 */

/* The port that TCPBind with port 0 has got is judged here, by the rules for TCPBind too. */
static bool may_listen(struct request *request)
{
    const struct policy *policy = request->client->io->snapshot->policy;
    const struct address *local = socket_local(request->socket);
    struct police police;
    struct fault fault;

    if (!local ||
        (!police_concerns(policy, METHOD_TCP_LISTEN) && !police_concerns(policy, METHOD_TCP_BIND)))
        return true;
    ask(request, local, address_port(local), &police);
    bool passes = police_passes(&police, "TCPListen", &fault);
    if (passes && police_concerns(policy, METHOD_TCP_BIND)) {
        police.question.method = METHOD_TCP_BIND;
        passes = police_passes(&police, "TCPListen", &fault);
    }
    if (!passes)
        request_fail(request, &fault);
    return passes;
}

void method_tcp_listen(struct request *request)
{
    const struct proto_tcp_listen_params *params = &request->params.tcp_listen;

    if (!request_socket(request, params->socket))
        return;
    if (!may_listen(request))
        return;
    int r = socket_listen(request->socket, (int)params->backlog);
    if (r) {
        fail(request, r);
        return;
    }
    struct proto_tcp_listen_result result = {.status = 0};
    request_answer(request, &result);
}
