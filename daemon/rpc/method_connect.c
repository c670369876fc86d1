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
#include "rpc/secure.h"
#include "util/log.h"

struct target {
    char host[256];         /* without brackets */
    struct address literal; /* n_bytes 0: a name */
    uint16_t port;          /* 0: a service name */
};

static void describe(const struct request *request, char *text, size_t n_text)
{
    const struct proto_tcp_connect_params *params = &request->params.tcp_connect;
    snprintf(text, n_text, "TCPConnect to %s port %s", params->hostname, params->port);
}

static void fail_param(struct request *request, const char *param, const char *expected)
{
    struct fault fault;

    fault_param(&fault, request_name(request), param, expected);
    request_fail(request, &fault);
}

static void fail_memory(struct request *request)
{
    struct fault fault;
    fault_set(&fault, WIRE_ENOBUFS, "TCPConnect: out of memory");
    request_fail(request, &fault);
}

/* ---- parameters
 * -----------------------------------------------------------------------------------------------
 */

void method_strip_brackets(const char *hostname, char *host, size_t n_host)
{
    struct address address;
    size_t n = strlen(hostname);
    /* RFC 3986 section 3.2.2: brackets belong to IPv6 addresses only */
    bool bracketed = hostname[0] == '[' && address_parse(&address, hostname, 0) == 0;

    snprintf(host, n_host, "%.*s", (int)(bracketed ? n - 2 : n), hostname + (bracketed ? 1 : 0));
}

static void read_target(const struct proto_tcp_connect_params *params, struct target *ret_target)
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

/* port 0: not known yet. Returns true, or false with *ret_fault. */
static bool read_identity(const struct request *request, uint16_t port, struct dial *dial,
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
    if (read_identity(request, target->port, dial, &fault))
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

/* All that does not depend on the look-up. Returns false when the request was answered. */
static bool prepare(struct request *request, const struct target *target, struct dial *dial)
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

/* ---- the way back
 * --------------------------------------------------------------------------------------------- */

static void count_failure(struct request *request, const struct fault *fault)
{
    meter_failed(&request->client->io->meter, METER_REQUEST, fault->stage,
                 fault->error == WIRE_ETIMEDOUT);
    stats_count(connects_failed);
    if (fault->error == WIRE_ETIMEDOUT)
        stats_count(connects_timed_out);
    if (fault->stage == STAGE_TLS)
        stats_count(handshakes_failed);
    if (fault->net && fault->net->backed_off)
        stats_count(connects_backed_off);
}

/* The reserved number goes. */
static void on_withdraw(struct request *request, struct fault *fault)
{
    (void)fault;
    if (request->socket)
        session_socket_free(request_session(request), request->socket, false);
    request->socket = NULL;
}

/* One that a pool had ready never had a job. */
static void end_job(struct request *request)
{
    if (request->op.job)
        job_done(request);
}

/* The request ends with an error after it had its job and its number. */
static void fail_connect(struct request *request, const struct fault *fault)
{
    count_failure(request, fault);
    log_info("connect failed: session %llu uid %u pid %d: %s [%s]",
             (unsigned long long)request_session(request)->id,
             (unsigned)request_session(request)->uid, (int)request_session(request)->pid,
             fault->message, error_infos[fault->error].symbol);
    on_withdraw(request, NULL);
    end_job(request);
    request_fail(request, fault);
}

static void log_open(const struct socket *socket, const struct proto_tcp_connect_result *result)
{
    const struct tls_facts *tls = socket_tls(socket);

    log_info("socket %u opened: session %llu uid %u pid %d host %s address %s port %lld tls %s%s%s "
             "ms %lld",
             socket->number, (unsigned long long)socket->session->id,
             (unsigned)socket->session->uid, (int)socket->session->pid, socket->hostname,
             result->remote_address, (long long)result->remote_port, tls ? tls->version : "no",
             tls && !tls->verified ? " UNVERIFIED" : "", result->has_pooled ? " pooled" : "",
             (long long)result->timing_us.total / 1000);
    if (tls && !tls->verified)
        log_warning("socket %u: the certificate of %s was not verified (verify: false)",
                    socket->number, socket->hostname);
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
static bool take_warm(struct request *request, const struct target *target, struct dial *dial)
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
    dial->pooled = true;
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
    request->withdraw(request, &fault); /* what is under way goes on without the request */
    fail_connect(request, &fault);
}

/* ---- the way there
 * -------------------------------------------------------------------------------------------- */

static void start_dial(struct request *request)
{
    struct job *job = request->op.job;
    int64_t remain_ms = (job->dial->deadline_us - loop_clock_us()) / 1000;

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
        !read_identity(request, address_port(&dial->addresses[0]), dial, &fault))
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
    if (job_lookup(job, &lookup)) {
        int64_t limit = (int64_t)request->client->io->snapshot->settings.lookups;
        lookup_free(lookup);
        fault_limit(&fault, WIRE_TRY_AGAIN, "limits.lookups", limit,
                    "TCPConnect: %lld look-ups are waiting; try again later", (long long)limit);
        fail_connect(request, &fault);
    }
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
    read_target(params, &target);
    struct dial *dial = calloc(1, sizeof(*dial));
    if (!dial) {
        fail_memory(request);
        return;
    }
    if (!prepare(request, &target, dial)) {
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
