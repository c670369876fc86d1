/*
 * method_connect: TCPConnect. Parameters and limits are checked here, then a look-up (when there is
 * a name) and a dial are sent out; what comes back becomes a socket of the session.
 */
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/socket_attach.h"
#include "broker/socket_rest.h"
#include "broker/stats.h"
#include "net/dial_here.h"
#include "rpc/explain.h"
#include "rpc/job.h"
#include "rpc/method.h"
#include "rpc/pace.h"
#include "rpc/report.h"
#include "rpc/secure.h"
#include "rpc/target.h"
#include "util/log.h"

static void describe(const struct request *request, char *text, size_t n_text)
{
    const struct proto_tcp_connect_params *params = &request->params.tcp_connect;
    snprintf(text, n_text, "TCPConnect to %s port %s", params->hostname, params->port);
}

static void fail_memory(struct request *request)
{
    struct fault fault;
    fault_set(&fault, WIRE_ENOBUFS, "TCPConnect: out of memory");
    request_fail(request, &fault);
}

/* ---- the way back
 * --------------------------------------------------------------------------------------------- */

/* The reserved number goes. */
static void release(struct request *request, struct fault *fault)
{
    (void)fault;
    if (request->socket)
        session_socket_free(request_session(request), request->socket, false);
    request->socket = NULL;
}

static void on_withdraw(struct request *request, struct fault *fault)
{
    report_failure(request, fault);
    release(request, fault);
}

/* One that a pool had ready never had a job. */
static void end_job(struct request *request)
{
    if (request->op.job)
        job_done(request);
}

static void count_failure(struct request *request, const struct fault *fault)
{
    report_count(fault);
    meter_failed(&request->client->io->meter, METER_REQUEST, fault->stage,
                 fault->error == WIRE_ETIMEDOUT);
}

/* The request ends with an error after it had its job and its number. */
static void fail_connect(struct request *request, const struct fault *fault)
{
    count_failure(request, fault);
    if (request->socket && request->socket->state != SOCKET_CONNECTING)
        record_ends(request->socket, RECORD_END_FAILED); /* it was told that it is open */
    else if (fault->stage != STAGE_POLICY)               /* request_fail() reports that */
        report_failure(request, fault);
    release(request, NULL);
    end_job(request);
    request_fail(request, fault);
}

static void log_open(const struct socket *socket, const struct proto_tcp_connect_result *result)
{
    const struct tls_facts *tls = socket_tls(socket);

    record_open(socket, &result->timing_us);
    if (tls && !tls->verified)
        log_warning("socket %u: the certificate of %s port %lld was not verified (verify: false)",
                    socket->number, socket->hostname, (long long)result->remote_port);
}

static void answer_attached(struct request *request, struct proto_tcp_connect_result *result)
{
    struct tls_facts *facts;
    struct fault fault;
    char what[384];
    int fd;

    int r = method_attach(request, request->socket, &fd, &result->direct, &facts);
    if (r) {
        describe(request, what, sizeof(what));
        if (r > 0)
            fault_outcome(&fault, (enum socket_outcome)r, request->socket, what);
        else
            fault_errno(&fault, STAGE_BROKER, -r, what);
        fail_connect(request, &fault);
        return;
    }
    result->has_fds = result->has_direct = true;
    result->fds = 1;
    result->has_socket = !result->direct;
    result->has_encrypted_by = result->has_tls;
    result->encrypted_by = result->direct ? "kernel" : "broker";
    end_job(request);
    request_answer_fd(request, result, fd);
    free(facts); /* the result points into them */
}

static void answer_connect(struct request *request, const struct dial *dial)
{
    struct socket *socket = request->socket;
    char remote[ADDRESS_TEXT_MAX], local[ADDRESS_TEXT_MAX];
    struct proto_tcp_connect_result result = {
        .has_socket = true,
        .socket = socket->number,
        .has_pooled = dial->pooled,
        .pooled = true,
        .remote_address = address_text(socket_remote(socket), remote, sizeof(remote)),
        .remote_port = address_port(socket_remote(socket)),
        .local_address = address_text(socket_local(socket), local, sizeof(local)),
        .local_port = address_port(socket_local(socket)),
        .timing_us = {.resolve = dial->resolve_us,
                      .connect = dial->connect_us,
                      .handshake = dial->handshake_us,
                      .total = loop_clock_us() - request->started_us},
    };
    const struct tls_facts *tls = socket_tls(socket);
    if (tls) {
        result.has_tls = true;
        result.tls = secure_facts(tls);
        if (!result.has_pooled)
            secure_count(tls, false);
        else if (!tls->verified)
            stats_count(tls_unverified);
    }
    struct explain *explain = dial->explain ? explain_new(dial) : NULL;
    if (explain)
        explain_result(explain, &dial->error, &result);
    stats_count(connects_ok);
    meter_connected(&request->client->io->meter, METER_REQUEST, dial, result.timing_us.total);
    log_open(socket, &result);
    if (request->params.tcp_connect.attach) {
        answer_attached(request, &result);
        return;
    }
    end_job(request);
    request_answer(request, &result);
    explain_free(explain);
}

static void on_dial(struct request *request, struct dial *dial)
{
    struct fault fault;
    char what[384];

    if (dial->error.cause != NET_OK) {
        describe(request, what, sizeof(what));
        fault_net(&fault, &dial->error, what);
        if (fault.error == WIRE_EADDRNOTAVAIL && !request->params.tcp_connect.has_local_address)
            fault.retryable = true; /* all ports to there are taken: some will be free again */
        fault.explain = dial->explain ? dial : NULL;
        fail_connect(request, &fault);
        dial_free(dial);
        return;
    }
    int r = request->params.tcp_connect.attach
                ? socket_connect_attached(request->socket, &dial->connection)
                : socket_connect(request->socket, &dial->connection);
    if (r) {
        describe(request, what, sizeof(what));
        fault_errno(&fault, STAGE_BROKER, -r, what);
        fail_connect(request, &fault);
    } else {
        answer_connect(request, dial);
    }
    dial_free(dial);
}

/* A pool may have the connection ready; it needs no job then. True: answered. */
static bool take_warm(struct request *request, struct target *target, struct dial *dial)
{
    const struct pools *pools = &request->client->io->snapshot->pools;
    struct shelf *shelf = pools_match(pools, target->host, target->port, dial);
    struct shelf_tag tag = {.made_ms = shelf_now().up_ms};

    if (!shelf)
        return false;
    dial->connection = pools_take(request, shelf, &tag);
    socket_set_shelf(request->socket, shelf, tag.made_ms);
    if (!dial->connection)
        return false;
    if (!target_lets(request, target, &dial->connection->remote)) {
        pools_put_back(request, shelf, &dial->connection, &tag);
        return false;
    }
    dial->pooled = request->socket->notes.pooled = true;
    on_dial(request, dial);
    return true;
}

/* ---- deadlines
 * ------------------------------------------------------------------------------------------------
 */

static void on_deadline(struct request *request)
{
    struct fault fault;
    char what[384];
    bool lookup = request->op.job->flight.lookup;

    describe(request, what, sizeof(what));
    fault_set(&fault, WIRE_ETIMEDOUT, "%s: the deadline passed %s", what,
              lookup
                  ? "while looking up the name; is the name server up, is timeout_ms long enough?"
                  : "while the broker was too busy to say more");
    fault.stage = lookup ? STAGE_RESOLVE : STAGE_CONNECT;
    request->op.job->on_withdraw = release; /* told below */
    request->withdraw(request, &fault);     /* what is under way goes on without the request */
    fail_connect(request, &fault);
}

/* ---- the way there
 * -------------------------------------------------------------------------------------------- */

static void start_dial(struct request *request)
{
    struct job *job = request->op.job;
    int64_t remain_ms = (job->dial->deadline_us - loop_clock_us()) / 1000;
    struct fault fault;
    char what[384];

    if (police_concerns(request->client->io->snapshot->policy, METHOD_TCP_CONNECT)) {
        describe(request, what, sizeof(what));
        if (!target_passes(request, job->dial, what, &fault)) {
            fail_connect(request, &fault);
            return;
        }
    }
    if (dial_here(job->dial, dialers_backoff(request->client->io->shared->dialers))) {
        struct dial *dial = job->dial;
        job->dial = NULL;
        on_dial(request, dial);
        return;
    }
    if (!request_deadline(request, (remain_ms > 0 ? remain_ms : 0) + FLIGHT_BACKSTOP_MS))
        return;
    job_dial(job);
}

/* A look-up takes its time: whom is trusted may have changed meanwhile, and what was reloaded holds
 * for every connection made afterwards. Returns true, or false with *ret_fault. */
static bool renew_trust(const struct request *request, struct dial *dial, struct fault *ret_fault)
{
    const struct proto_tcp_connect_params *params = &request->params.tcp_connect;

    if (!params->secure)
        return true;
    struct trust *trust = secure_trust(request, params->has_profile, params->profile, ret_fault);
    if (!trust)
        return false;
    trust_unref(dial->trust);
    dial->trust = trust_ref(trust);
    return true;
}

static void on_lookup(struct request *request, struct lookup *lookup)
{
    struct dial *dial = request->op.job->dial;
    struct fault fault;
    char what[384];

    if (lookup->gai) {
        describe(request, what, sizeof(what));
        fault_gai(&fault, lookup->gai, lookup->sys_errno, what, lookup->host, lookup->service);
        fail_connect(request, &fault);
        lookup_free(lookup);
        return;
    }
    dial->addresses = lookup->addresses;
    dial->n_addresses = lookup->n_addresses;
    dial->resolve_us = lookup->took_us;
    lookup->addresses = NULL;
    lookup_free(lookup);
    /* the port of a service is known only now */
    if (!renew_trust(request, dial, &fault) ||
        !target_identity(request, address_port(&dial->addresses[0]), dial, &fault))
        fail_connect(request, &fault);
    else
        start_dial(request);
}

static void start_lookup(struct request *request, const struct target *target)
{
    const struct proto_tcp_connect_params *params = &request->params.tcp_connect;
    struct job *job = request->op.job;
    struct lookup *lookup = calloc(1, sizeof(*lookup));
    struct fault fault;

    if (!lookup) {
        fault_set(&fault, WIRE_ENOBUFS, "TCPConnect: out of memory");
        fail_connect(request, &fault);
        return;
    }
    lookup->kind = LOOKUP_ADDRESSES;
    lookup->family = job->dial->family;
    snprintf(lookup->host, sizeof(lookup->host), "%s", target->host);
    snprintf(lookup->service, sizeof(lookup->service), "%s", params->port);
    int64_t remain_ms = (job->dial->deadline_us - loop_clock_us() + 999) / 1000;
    if (!request_deadline(request, remain_ms > 0 ? remain_ms : 0)) {
        lookup_free(lookup);
        return;
    }
    int r = job_lookup(job, &lookup);
    if (r) {
        lookup_free(lookup);
        fault_lookups(&fault, r, &request->client->io->snapshot->settings, "TCPConnect");
        fail_connect(request, &fault);
    }
}

/* What is denied whatever the name leads to is not even looked up. */
static bool pass_by_name(struct request *request, struct target *target)
{
    struct fault fault;
    char what[384];

    describe(request, what, sizeof(what));
    if (target_may_pass(request, target, what, &fault))
        return true;
    fail_connect(request, &fault);
    return false;
}

void method_tcp_connect(struct request *request)
{
    const struct proto_tcp_connect_params *params = &request->params.tcp_connect;
    const struct rpc_snapshot *snapshot = request->client->io->snapshot;
    struct target target;
    struct fault fault;

    if (request->client->io->state != IO_RUNNING) {
        fault_set(&fault, WIRE_SHUTTING_DOWN,
                  "TCPConnect: the broker is shutting down and makes no new connections");
        request_fail(request, &fault);
        return;
    }
    /* before anything is judged: what is denied has a line in the log */
    if (!pace_request(request, ACCOUNT_CONNECTS))
        return;
    target_read(params, &target);
    struct dial *dial = calloc(1, sizeof(*dial));
    if (!dial) {
        fail_memory(request);
        return;
    }
    if (!target_prepare(request, &target, dial)) {
        dial_free(dial);
        return;
    }
    if (police_concerns(snapshot->policy, METHOD_TCP_CONNECT) && !pass_by_name(request, &target)) {
        dial_free(dial);
        return;
    }
    int64_t timeout_ms = request_choose_ms(params->has_timeout_ms, params->timeout_ms,
                                           request_session(request)->deadlines.connect,
                                           snapshot->settings.connect_timeout_ms);
    dial->deadline_us = request->started_us + timeout_ms * 1000;
    int r = session_socket_new(request_session(request), SOCKET_CONNECTING, &request->thread,
                               params->hostname, &request->socket);
    if (r) {
        dial_free(dial);
        request->socket = NULL;
        fault_full(&fault, r, &snapshot->settings, "TCPConnect");
        count_failure(request, &fault);
        request_fail(request, &fault);
        return;
    }
    if (params->has_trace)
        snprintf(request->socket->notes.trace, sizeof(request->socket->notes.trace), "%s",
                 params->trace);
    if (take_warm(request, &target, dial))
        return;
    bool ready = target.literal.n_bytes && target.port;
    if (ready) {
        dial->addresses = malloc(sizeof(*dial->addresses));
        if (dial->addresses) {
            dial->addresses[0] = target.literal;
            dial->n_addresses = 1;
        }
    }
    if ((ready && !dial->addresses) || job_new(request)) {
        dial_free(dial);
        session_socket_free(request_session(request), request->socket, false);
        request->socket = NULL;
        fail_memory(request);
        return;
    }
    request->on_deadline = on_deadline;
    request->op.job->dial = dial;
    request->op.job->on_lookup = on_lookup;
    request->op.job->on_dial = on_dial;
    request->op.job->on_withdraw = on_withdraw;
    if (ready)
        start_dial(request);
    else
        start_lookup(request, &target);
}
