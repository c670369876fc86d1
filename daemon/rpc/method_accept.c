/*
 * method_accept: TCPAccept. With `secure` the connection that was taken goes to a dial thread for
 * the handshake before the client hears of it; the listening socket is free for the next TCPAccept
 * meanwhile.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "broker/stats.h"
#include "rpc/job.h"
#include "rpc/method.h"
#include "rpc/police.h"
#include "rpc/report.h"
#include "rpc/secure.h"

/* As in TCPConnect: the dial thread keeps the deadline, this is for one that is too busy. */
enum { DEADLINE_BACKSTOP_MS = 2000 };

static void answer_accept(struct request *request, const struct socket *socket)
{
    char remote[ADDRESS_TEXT_MAX], local[ADDRESS_TEXT_MAX];
    const struct address *far = socket_remote(socket), *near = socket_local(socket);
    const struct tls_facts *tls = socket_tls(socket);
    struct proto_tcp_accept_result result = {
        .socket = socket->number,
        .remote_address = address_text(far, remote, sizeof(remote)),
        .remote_port = address_port(far),
        .local_address = address_text(near, local, sizeof(local)),
        .local_port = address_port(near),
        .has_tls = tls != NULL,
    };
    if (tls)
        result.tls = secure_facts(tls);
    record_open(socket, NULL);
    request_answer(request, &result);
}

/* ---- the handshake ---- */

static void describe(const struct request *request, char *text, size_t n_text)
{
    char remote[ADDRESS_TEXT_MAX];
    const struct address *far = socket_remote(request->socket);

    snprintf(text, n_text, "TCPAccept of %s port %u", address_text(far, remote, sizeof(remote)),
             (unsigned)address_port(far));
}

/* The connection is lost; there will be others. */
static void fail_handshake(struct request *request, struct fault *fault)
{
    fault->retryable = true;
    stats_count(handshakes_failed);
    report_failure(request, fault);
    job_done(request);
    request_fail(request, fault);
}

/* The socket that nobody has heard of yet goes. */
static void drop_socket(struct request *request)
{
    static const struct net_error given_up = {
        .stage = NET_STAGE_TLS, .cause = NET_SYSTEM, .sys_errno = ECONNABORTED};

    if (request->socket->state == SOCKET_SECURING)
        socket_secure_failed(request->socket, &given_up);
    session_socket_free(request_session(request), request->socket, false);
    request->socket = NULL;
}

static void on_dial(struct request *request, struct dial *dial)
{
    struct fault fault;
    char what[384];

    describe(request, what, sizeof(what));
    int r = dial->error.cause == NET_OK ? socket_secured(request->socket, &dial->connection) : 0;
    if (r)
        dial->error =
            (struct net_error){.stage = NET_STAGE_TLS, .cause = NET_SYSTEM, .sys_errno = -r};
    if (dial->error.cause != NET_OK) {
        fault_net(&fault, &dial->error, what);
        if (dial->error.cause == NET_TIMED_OUT) /* timeout_ms is for the waiting */
            snprintf(fault.message, sizeof(fault.message),
                     "%s: the TLS handshake took longer than connect.timeout of the broker's "
                     "configuration, or connect_timeout_ms of Session.Set, allows",
                     what);
        drop_socket(request);
        fail_handshake(request, &fault);
    } else {
        secure_count(socket_tls(request->socket), true);
        job_done(request);
        request->socket->notes.told = false;
        answer_accept(request, request->socket);
    }
    dial_free(dial);
}

static void withdraw_handshake(struct request *request, struct fault *fault)
{
    report_failure(request, fault);
    drop_socket(request);
}

static void on_handshake_deadline(struct request *request)
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

/* Somebody who guessed the number has closed it. */
static void on_closing(struct socket_secure *secure, enum socket_outcome outcome)
{
    struct request *request = container_of(secure, struct request, op.secure);
    struct job *job = request->op.job;
    struct fault fault;

    if (job->flight.dial)
        dial_cancel(job->flight.dial);
    fault_outcome(&fault, outcome, request->socket, request_name(request));
    request->socket = NULL;
    fail_handshake(request, &fault);
}

/* The handshake did not begin: it is as if it had, and told without a number that nobody knows. */
static void fault_gone(const struct request *request, enum socket_outcome outcome,
                       struct fault *ret_fault)
{
    static const struct net_error ended = {.stage = NET_STAGE_TLS,
                                           .cause = NET_TLS_HANDSHAKE,
                                           .library =
                                               "the peer ended the connection before it began one"};
    char what[384];

    describe(request, what, sizeof(what));
    if (outcome == SOCKET_E_PEER_ENDED)
        fault_net(ret_fault, &ended, what);
    else
        fault_outcome(ret_fault, outcome, request->socket, what);
    if (ret_fault->stage == STAGE_IO)
        ret_fault->stage = STAGE_TLS;
}

static void start_handshake(struct request *request, struct socket *socket)
{
    struct job *job = request->op.job;
    int64_t timeout_ms =
        request_choose_ms(false, 0, request_session(request)->deadlines.connect,
                          request->client->io->snapshot->settings.connect_timeout_ms);
    struct fault fault;

    request->socket = socket;
    socket->notes.told =
        true; /* until the handshake has worked there is nothing to tell but its failure */
    request->op.secure = (struct socket_secure){.on_done = on_closing};
    enum socket_outcome outcome =
        socket_secure(socket, SOCKET_SECURE_SERVER, &request->op.secure, &job->dial->upgrade);
    if (outcome != SOCKET_OK) {
        fault_gone(request, outcome, &fault);
        drop_socket(request);
        fail_handshake(request, &fault);
        return;
    }
    job->dial->deadline_us = loop_clock_us() + timeout_ms * 1000;
    job->on_withdraw = withdraw_handshake;
    request->on_deadline = on_handshake_deadline;
    if (request_deadline(request, timeout_ms + DEADLINE_BACKSTOP_MS))
        job_dial(job);
}

/* ---- waiting for a connection ---- */

static void fail_accept(struct request *request, int r)
{
    struct fault fault;

    if (r == SOCKET_E_LIMIT)
        fault_full(&fault, request->op.accept.limit, &request->client->io->snapshot->settings,
                   "TCPAccept");
    else if (r > 0)
        fault_outcome(&fault, (enum socket_outcome)r, request->socket, request_name(request));
    else
        fault_errno(&fault, r == -ENOMEM || r == -EMFILE ? STAGE_BROKER : STAGE_CONNECT, -r,
                    request_name(request));
    if (request->op.job)
        job_done(request);
    request_fail(request, &fault);
}

static void end_accept(struct request *request, int r)
{
    struct socket *socket = request->op.accept.accepted;

    if (r)
        fail_accept(request, r);
    else if (request->op.job)
        start_handshake(request, socket);
    else
        answer_accept(request, socket);
}

/* ---- the policy ---- */

static void ask(const struct request *request, struct police *police)
{
    const struct proto_tcp_accept_params *params = &request->params.tcp_accept;
    const struct address *near = socket_local(request->socket);

    police_request(police, request);
    police->question.listen_address = near;
    police->question.listen_port = near ? address_port(near) : 0;
    police->question.secure = params->secure;
    police->question.identity = params->has_identity ? params->identity : NULL;
    police->question.no_address_yet = true;
}

/* As far as it is known before anybody comes; false: the request was answered. */
static bool may_pass(struct request *request)
{
    struct police police;
    struct fault fault;

    if (!police_concerns(request->client->io->snapshot->policy, METHOD_TCP_ACCEPT))
        return true;
    ask(request, &police);
    if (police_passes(&police, "TCPAccept", &fault))
        return true;
    request_fail(request, &fault);
    return false;
}

/* Who may not come is sent away, and the next one waited for. Returns r; SOCKET_E_PARKED then; or
 * SOCKET_E_AGAIN for a non-blocking socket. */
static int send_away(struct request *request, int r)
{
    struct socket_accept *accept = &request->op.accept;
    struct police police;
    struct fault fault;

    if (r || !police_concerns(request->client->io->snapshot->policy, METHOD_TCP_ACCEPT))
        return r;
    struct address far = *socket_remote(accept->accepted);
    size_t n = 1;
    ask(request, &police);
    if (police_addresses(&police, &far, &n, "TCPAccept", &fault))
        return 0;
    session_socket_free(request_session(request), accept->accepted, false);
    (void)stats_sub(accepts, 1); /* it was not given out */
    accept->accepted = NULL;
    if (request->socket->non_blocking)
        return SOCKET_E_AGAIN;
    socket_accept_later(request->socket, accept);
    return SOCKET_E_PARKED;
}

static void on_accepted(struct socket_accept *accept, int r)
{
    struct request *request = container_of(accept, struct request, op.accept);

    r = send_away(request, r);
    if (r != SOCKET_E_PARKED)
        end_accept(request, r);
}

static void withdraw_accept(struct request *request, struct fault *fault)
{
    (void)fault;
    socket_withdraw_accept(request->socket, &request->op.accept);
}

/* Everything that can be said before there is a connection. */
static bool prepare(struct request *request, struct dial *dial)
{
    const struct proto_tcp_accept_params *params = &request->params.tcp_accept;
    const struct secure_server server = {
        .has_identity = params->has_identity,
        .identity = params->identity,
        .client_certificate = params->client_certificate,
        .has_profile = params->has_profile,
        .profile = params->profile,
        .alpn = params->has_alpn ? &params->alpn : NULL,
        .min_tls13 = params->min_tls == 1,
    };
    return secure_as_server(request, &server, dial);
}

static bool make_job(struct request *request)
{
    struct dial *dial = calloc(1, sizeof(*dial));
    struct fault fault;

    if (dial && !prepare(request, dial)) {
        dial_free(dial);
        return false;
    }
    if (!dial || job_new(request)) {
        dial_free(dial);
        fault_set(&fault, WIRE_ENOBUFS, "TCPAccept: out of memory; nothing was done");
        request_fail(request, &fault);
        return false;
    }
    request->op.job->dial = dial;
    request->op.job->on_dial = on_dial;
    request->op.job->on_withdraw = withdraw_accept;
    return true;
}

static bool is_plain(struct request *request)
{
    const struct proto_tcp_accept_params *params = &request->params.tcp_accept;
    const struct secure_member members[] = {
        {"identity", params->has_identity},
        {"profile", params->has_profile},
        {"client_certificate", params->client_certificate > 0},
        {"alpn", params->has_alpn},
        {"min_tls", params->has_min_tls},
    };
    return secure_unnamed(request, members, sizeof(members) / sizeof(members[0]));
}

void method_tcp_accept(struct request *request)
{
    const struct proto_tcp_accept_params *params = &request->params.tcp_accept;

    if (!request_socket(request, params->socket) || !may_pass(request))
        return;
    request->op.job = NULL;
    if (params->secure ? !make_job(request) : !is_plain(request))
        return;
    request->op.accept = (struct socket_accept){.owner = request->thread, .on_done = on_accepted};
    int r = send_away(request, socket_accept(request->socket, &request->op.accept));
    if (r != SOCKET_E_PARKED) {
        end_accept(request, r);
        return;
    }
    if (!params->secure)
        request->withdraw = withdraw_accept;
    /* when it fails the request was answered */
    (void)!request_deadline_if(request, params->has_timeout_ms, params->timeout_ms,
                               request_session(request)->deadlines.accept);
}
