/*
 * method_admin: Broker.Close, Broker.Drain, Broker.Log: for administrators only (the trait ADMIN in
 * methods.def).
 */
#include <stdio.h>
#include <stdlib.h>

#include "rpc/admin.h"
#include "rpc/consult.h"
#include "rpc/errand.h"
#include "rpc/method.h"
#include "util/log.h"

static void fail_memory(struct request *request)
{
    struct fault fault;
    fault_set(&fault, WIRE_ENOBUFS, "%s: out of memory; nothing was done", request_name(request));
    request_fail(request, &fault);
}

/* ---- Broker.Close
 * -----------------------------------------------------------------------------------------------
 *
 * The table knows the session, and nobody which io thread that is on; so they are asked in turn. A
 * socket that is just being claimed may be behind: a few rounds find it.
 */

enum { ROUNDS_MAX = 8 };

struct closing {
    struct errand errand;
    uint32_t number;
    enum socket_close_option option;
    struct admin_actor actor;
    size_t n_visits_left;
    int r; /* as admin_close() */
    struct admin_owner owner;
};

static void answer_close(struct request *request, const struct closing *closing)
{
    struct fault fault;

    request->withdraw = NULL;
    if (closing->errand.stopping) {
        fault_set(&fault, WIRE_SHUTTING_DOWN, "Broker.Close: the broker is shutting down");
    } else if (closing->r == 0 || closing->r == ADMIN_CLOSING) {
        struct proto_broker_close_result result = {.status = 0,
                                                   .closing = closing->r == ADMIN_CLOSING,
                                                   .session = (int64_t)closing->owner.session,
                                                   .uid = closing->owner.uid,
                                                   .pid = closing->owner.pid};
        request_answer(request, &result);
        return;
    } else if (closing->r == ADMIN_E_NONE) {
        fault_set(&fault, WIRE_ENOTSOCK,
                  "Broker.Close: there is no socket %u (it never was, or it was closed)",
                  closing->number);
    } else {
        fault_set(&fault, WIRE_BUSY,
                  "Broker.Close: socket %u is on its way from one session to another; ask again",
                  closing->number);
    }
    request_fail(request, &fault);
}

static void close_there(struct errand *errand)
{
    struct closing *closing = container_of(errand, struct closing, errand);

    if (!errand->stopping)
        closing->r = admin_close(errand->there, closing->number, closing->option, &closing->actor,
                                 &closing->owner);
}

static void on_close_back(struct errand *errand)
{
    struct closing *closing = container_of(errand, struct closing, errand);
    const struct rpc_shared *shared = errand->home->shared;
    struct request *request = errand->request;

    if (closing->r == ADMIN_E_ELSEWHERE && request && !errand->stopping &&
        --closing->n_visits_left > 0) {
        errand->there = shared->ios[(errand->there->index + 1) % shared->n_ios];
        errand_again(errand, close_there, on_close_back);
        return;
    }
    errand_end(errand);
    if (request)
        answer_close(request, closing);
    free(closing);
}

static void withdraw_close(struct request *request, struct fault *fault)
{
    (void)fault;
    request->op.errand->request = NULL;
}

void method_broker_close(struct request *request)
{
    const struct proto_broker_close_params *params = &request->params.broker_close;
    struct io *io = request->client->io;
    struct fault fault;

    if (params->option != SOCKET_CLOSE_COMPLETE && params->option != SOCKET_CLOSE_ABORT) {
        fault_set(&fault, WIRE_BAD_CLOSE_OPTION,
                  "Broker.Close: option %lld is not 0 (complete) or 2 (abort)",
                  (long long)params->option);
        snprintf(fault.param, sizeof(fault.param), "option");
        snprintf(fault.expected, sizeof(fault.expected), "0 or 2");
        request_fail(request, &fault);
        return;
    }
    struct closing *closing = calloc(1, sizeof(*closing));
    if (!closing) {
        fail_memory(request);
        return;
    }
    closing->number = (uint32_t)params->socket;
    closing->option = (enum socket_close_option)params->option;
    closing->actor = admin_actor(request->client);
    closing->n_visits_left = io->shared->n_ios * ROUNDS_MAX;
    closing->errand.request = request;
    request->op.errand = &closing->errand;
    request->withdraw = withdraw_close;
    errand_start(&closing->errand, io, io, close_there, on_close_back);
}

/* ---- Broker.Drain: a message to the control thread and back ---- */

struct drain_call {
    struct rpc_drain drain;
    struct consult consult; /* nobody waits: it is done all the same */
};

static void answer_drain(struct request *request, const struct drain_call *call)
{
    struct proto_broker_drain_result result = {.draining = call->drain.draining,
                                               .sockets =
                                                   table_count(call->consult.home->shared->table)};
    struct fault fault;

    if (!call->drain.stopping) {
        request_answer(request, &result);
        return;
    }
    fault_set(&fault, WIRE_SHUTTING_DOWN, "Broker.Drain: the broker is shutting down already");
    request_fail(request, &fault);
}

static void on_drain_done(struct mail *mail)
{
    struct rpc_drain *drain = container_of(mail, struct rpc_drain, done);
    struct drain_call *call = container_of(drain, struct drain_call, drain);
    struct io *home = call->consult.home;
    struct request *request = consult_back(&call->consult);

    if (request)
        answer_drain(request, call);
    free(call);
    consult_over(home);
}

void method_broker_drain(struct request *request)
{
    const struct proto_broker_drain_params *params = &request->params.broker_drain;
    struct io *io = request->client->io;
    struct fault fault;

    if (params->has_timeout_ms && (params->off || !params->stop)) {
        fault_param(&fault, request_name(request), "timeout_ms",
                    "nothing, when the broker shall not stop: it is the time until then");
        request_fail(request, &fault);
        return;
    }
    struct drain_call *call = calloc(1, sizeof(*call));
    if (!call) {
        fail_memory(request);
        return;
    }
    call->drain = (struct rpc_drain){.mail = {.deliver = io->shared->drain},
                                     .done = {.deliver = on_drain_done},
                                     .reply_to = io->loop,
                                     .off = params->off,
                                     .stop = params->stop,
                                     .timeout_ms = params->has_timeout_ms ? params->timeout_ms : -1,
                                     .session = request->client->session->id,
                                     .uid = request->client->uid,
                                     .pid = request->client->pid};
    consult_control(&call->consult, request, &call->drain.mail);
}

/* ---- Broker.Log ---- */

/* Who turns the log down is still in it, and who turns it up, too. */
static void log_change(const struct client *client, enum log_level before, enum log_level now)
{
    log_set_level(before > now ? before : now);
    log_notice("log level %s instead of %s until the next reload: uid %u pid %d session %llu",
               log_level_name(now), log_level_name(before), (unsigned)client->uid, (int)client->pid,
               (unsigned long long)client->session->id);
    log_set_level(now);
}

void method_broker_log(struct request *request)
{
    const struct proto_broker_log_params *params = &request->params.broker_log;
    enum log_level before = log_level(), now = before;

    if (params->has_level) {
        now = (enum log_level)(LOG_ERROR_ + params->level); /* the words are in that order */
        log_change(request->client, before, now);
    }
    struct proto_broker_log_result result = {.level = log_level_name(now),
                                             .before = log_level_name(before)};
    request_answer(request, &result);
}
