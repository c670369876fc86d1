/*
 * method_secure: TCPStartTLS. The socket's connection goes to a dial thread for the handshake and
 * comes back secure.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "broker/stats.h"
#include "net/tls_engine.h"
#include "rpc/explain.h"
#include "rpc/job.h"
#include "rpc/method.h"
#include "rpc/police.h"
#include "rpc/secure.h"
#include "util/log.h"

/* As in TCPConnect: the dial thread keeps the deadline, this is for one that is too busy. */
enum { DEADLINE_BACKSTOP_MS = 2000 };

static void describe(const struct request *request, char *text, size_t n_text)
{
    const struct socket *socket = request->socket;
    snprintf(text, n_text, "TCPStartTLS on socket %u%s%s", socket->number,
             socket->hostname ? " to " : "", socket->hostname ? socket->hostname : "");
}

/* The handshake has begun and failed; the connection with it. */
static void fail_handshake(struct request *request, struct fault *fault)
{
    fault->retryable = false;
    stats_count(handshakes_failed);
    log_debug("start TLS failed: session %llu uid %u pid %d: %s [%s]",
              (unsigned long long)request_session(request)->id,
              (unsigned)request_session(request)->uid, (int)request_session(request)->pid,
              fault->message, error_infos[fault->error].symbol);
    job_done(request);
    request_fail(request, fault);
}

static void on_dial(struct request *request, struct dial *dial)
{
    struct socket *socket = request->socket;
    struct fault fault;
    char what[384];

    describe(request, what, sizeof(what));
    int r = dial->error.cause == NET_OK ? socket_secured(socket, &dial->connection) : 0;
    if (r) {
        dial->error =
            (struct net_error){.stage = NET_STAGE_TLS, .cause = NET_SYSTEM, .sys_errno = -r};
    }
    if (dial->error.cause != NET_OK) {
        socket_secure_failed(socket, &dial->error);
        fault_net(&fault, &dial->error, what);
        fault.explain = dial->explain ? dial : NULL;
        fail_handshake(request, &fault);
        dial_free(dial);
        return;
    }
    const struct tls_facts *tls = socket_tls(socket);
    struct proto_tcp_start_tls_result result = {.tls = secure_facts(tls)};
    struct explain *explain = dial->explain ? explain_new(dial) : NULL;
    if (explain)
        explain_tls(explain, &dial->error, &result.tls);
    secure_count(tls, dial->server);
    if (!tls->verified && !dial->server)
        log_warning("socket %u: the peer's certificate was not verified (verify: false)",
                    socket->number);
    log_debug("socket %u is secure: session %llu tls %s", socket->number,
              (unsigned long long)socket->session->id, tls->version);
    job_done(request);
    request_answer(request, &result);
    explain_free(explain);
    dial_free(dial);
}

/* Cancelled, or the client is gone: the two sides do not agree any more on what is being sent. */
static void on_withdraw(struct request *request, struct fault *fault)
{
    static const struct net_error given_up = {
        .stage = NET_STAGE_TLS, .cause = NET_SYSTEM, .sys_errno = ECONNABORTED};
    socket_secure_failed(request->socket, &given_up);
    if (fault)
        fault->retryable = false;
}

static void on_deadline(struct request *request)
{
    struct fault fault;
    char what[384];

    describe(request, what, sizeof(what));
    fault_set(&fault, WIRE_ETIMEDOUT,
              "%s: the deadline passed while the broker was too busy to say more", what);
    fault.stage = STAGE_TLS;
    request->withdraw(request, &fault);
    stats_count(handshakes_failed);
    request_fail(request, &fault);
}

/* A close has overtaken the handshake. */
static void on_closing(struct socket_secure *secure, enum socket_outcome outcome)
{
    struct request *request = container_of(secure, struct request, op.secure);
    struct job *job = request->op.job;
    struct fault fault;

    if (job->flight.dial)
        dial_cancel(job->flight.dial);
    fault_outcome(&fault, outcome, request->socket, request_name(request));
    fail_handshake(request, &fault);
}

static void fail_param(struct request *request, const char *param, const char *expected)
{
    struct fault fault;
    fault_param(&fault, request_name(request), param, expected);
    request_fail(request, &fault);
}

/* Whom to speak to; false: the request was answered. */
static bool read_name(struct request *request, struct dial *dial)
{
    const struct proto_tcp_start_tls_params *params = &request->params.tcp_start_tls;
    struct fault fault;

    if (params->has_server_name)
        snprintf(dial->server_name, sizeof(dial->server_name), "%s", params->server_name);
    else if (request->socket->hostname)
        method_strip_brackets(request->socket->hostname, dial->server_name,
                              sizeof(dial->server_name));
    const char *wrong = tls_server_name_fault(dial->server_name, dial->verify);
    if (!wrong)
        return true;
    if (!params->has_server_name && !request->socket->hostname)
        fault_param(&fault, "TCPStartTLS", "server_name",
                    "the name that the peer's certificate must have: an accepted socket has no "
                    "hostname (or verify false)");
    else
        fault_set(&fault, WIRE_EINVAL, "TCPStartTLS: %s", wrong);
    request_fail(request, &fault);
    return false;
}

static bool read_identity(struct request *request, struct dial *dial)
{
    const struct proto_tcp_start_tls_params *params = &request->params.tcp_start_tls;
    const struct socket *socket = request->socket;
    const struct address *remote = socket_remote(socket);
    struct fault fault;
    /* An accepted socket has no hostname. Who is at its other end, and from which port, the peer
     * has chosen, who may be the asking user himself: it is no destination. */
    const struct credentials_use use = {
        .host = socket->hostname,
        .server_name = params->has_server_name ? params->server_name : NULL,
        .port = remote ? address_port(remote) : 0,
        .verify = params->verify,
    };
    if (!params->has_identity || secure_identity(request, params->identity, &use, dial, &fault))
        return true;
    request_fail(request, &fault);
    return false;
}

static bool prepare_client(struct request *request, struct dial *dial)
{
    const struct proto_tcp_start_tls_params *params = &request->params.tcp_start_tls;

    dial->secure = true;
    dial->verify = params->verify;
    dial->explain = params->explain;
    dial->min_tls13 = params->min_tls == 1;
    if (params->client_certificate) {
        fail_param(request, "client_certificate", "none, but with server true");
        return false;
    }
    return read_name(request, dial) && read_identity(request, dial) &&
           secure_profile(request, params->has_profile, params->profile, dial) &&
           (!params->has_alpn || secure_alpn(request, &params->alpn, dial)) &&
           secure_trust_usable(request, dial);
}

static bool prepare_server(struct request *request, struct dial *dial)
{
    const struct proto_tcp_start_tls_params *params = &request->params.tcp_start_tls;
    const struct secure_server server = {
        .has_identity = params->has_identity,
        .identity = params->identity,
        .client_certificate = params->client_certificate,
        .has_profile = params->has_profile,
        .profile = params->profile,
        .alpn = params->has_alpn ? &params->alpn : NULL,
        .min_tls13 = params->min_tls == 1,
    };
    if (params->has_server_name) {
        fail_param(request, "server_name", "nothing with server true: clients have no such name");
        return false;
    }
    return secure_as_server(request, &server, dial);
}

static bool passes(struct request *request)
{
    const struct proto_tcp_start_tls_params *params = &request->params.tcp_start_tls;
    const struct socket *socket = request->socket;
    const struct address *remote = socket_remote(socket);
    struct police police;
    struct fault fault;
    char host[256], what[384];

    if (!police_concerns(request->client->io->snapshot->policy, METHOD_TCP_START_TLS))
        return true;
    police_request(&police, request);
    if (socket->hostname) {
        method_strip_brackets(socket->hostname, host, sizeof(host));
        police_host(&police, host);
        police.question.port = remote ? address_port(remote) : 0;
    } else { /* it came in: the port that it came from is no destination */
        police.question.listen_address = socket_local(socket);
        police.question.listen_port = socket_local(socket) ? address_port(socket_local(socket)) : 0;
    }
    police.question.address = remote;
    police.question.secure = true;
    police.question.verify = params->verify && !params->server;
    police.question.identity = params->has_identity ? params->identity : NULL;
    describe(request, what, sizeof(what));
    if (police_passes(&police, what, &fault))
        return true;
    request_fail(request, &fault);
    return false;
}

void method_tcp_start_tls(struct request *request)
{
    const struct proto_tcp_start_tls_params *params = &request->params.tcp_start_tls;
    const struct rpc_snapshot *snapshot = request->client->io->snapshot;
    struct fault fault;

    if (!request_socket(request, params->socket))
        return;
    if (request->socket->state <= SOCKET_CONNECTING) {
        fault_outcome(&fault, SOCKET_E_NOT_CONNECTED, request->socket, request_name(request));
        request_fail(request, &fault);
        return;
    }
    if (!passes(request))
        return;
    struct dial *dial = calloc(1, sizeof(*dial));
    if (dial && !(params->server ? prepare_server(request, dial) : prepare_client(request, dial))) {
        dial_free(dial);
        return;
    }
    if (!dial || job_new(request)) {
        dial_free(dial);
        fault_set(&fault, WIRE_ENOBUFS, "TCPStartTLS: out of memory; nothing was done");
        request_fail(request, &fault);
        return;
    }
    struct job *job = request->op.job;
    request->op.secure.on_done = on_closing;
    enum socket_outcome outcome =
        socket_secure(request->socket, params->server ? SOCKET_SECURE_SERVER : SOCKET_SECURE_CLIENT,
                      &request->op.secure, &dial->upgrade);
    if (outcome != SOCKET_OK) {
        dial_free(dial);
        job_done(request);
        fault_outcome(&fault, outcome, request->socket, request_name(request));
        request_fail(request, &fault);
        return;
    }
    int64_t timeout_ms = request_choose_ms(params->has_timeout_ms, params->timeout_ms,
                                           request_session(request)->deadlines.connect,
                                           snapshot->settings.connect_timeout_ms);
    dial->deadline_us = request->started_us + timeout_ms * 1000;
    job->dial = dial;
    job->on_dial = on_dial;
    job->on_withdraw = on_withdraw;
    request->on_deadline = on_deadline;
    if (request_deadline(request, timeout_ms + DEADLINE_BACKSTOP_MS))
        job_dial(job);
}
