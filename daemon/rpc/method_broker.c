/*
 * method_broker: Broker.Hello, Broker.Stats, Broker.Cancel, Broker.Errors.
 */
#include <stdio.h>

#include "broker/stats.h"
#include "proto/text.h"
#include "rpc/method.h"
#include "util/log.h"

enum { PROTOCOL_VERSION = 1 };

void method_broker_hello(struct request *request)
{
    const struct proto_broker_hello_params *params = &request->params.broker_hello;
    const struct rpc_settings *settings = &request->client->io->snapshot->settings;
    const struct account_limits *user = &settings->user;
    const char *methods[METHOD_N];
    size_t n_methods = 0;
    struct fault fault;

    if (params->protocol != PROTOCOL_VERSION) {
        fault_set(&fault, WIRE_INVALID_PARAMS,
                  "Broker.Hello: this broker speaks version %d of the protocol, not %lld",
                  PROTOCOL_VERSION, (long long)params->protocol);
        snprintf(fault.param, sizeof(fault.param), "protocol");
        snprintf(fault.expected, sizeof(fault.expected), "%d", PROTOCOL_VERSION);
        request_fail(request, &fault);
        return;
    }
    if (params->has_client) {
        struct client *client = request->client;
        snprintf(client->name, sizeof(client->name), "%s", params->client);
        text_cut(client->session->client, sizeof(client->session->client), client->name);
        log_debug("session %llu is %s", (unsigned long long)client->session->id, client->name);
    }
    for (int method = METHOD_UNKNOWN + 1; method < METHOD_N; method++)
        methods[n_methods++] = method_infos[method].name;
    struct proto_broker_hello_result result = {
        .server = "tcpbroker",
        .version = TCPBROKER_VERSION,
        .protocol = PROTOCOL_VERSION,
        .session = (int64_t)request_session(request)->id,
        .uid = request_session(request)->uid,
        .limits = {.line = (int64_t)request->client->frame.max_line,
                   .nesting = (int64_t)settings->nesting,
                   .requests = (int64_t)settings->requests,
                   .unread_answers = (int64_t)settings->unread_answers,
                   .held_bytes = (int64_t)settings->held_bytes,
                   .sockets = settings->sockets,
                   .sockets_per_session = settings->sockets_per_session,
                   .durable_sessions = settings->durable_sessions,
                   .receive_buffer = (int64_t)settings->receive_buffer,
                   .lookups = (int64_t)settings->lookups,
                   .clients_per_user = user->quotas[ACCOUNT_CLIENTS],
                   .passages_per_user = user->quotas[ACCOUNT_PASSAGES],
                   .sockets_per_user = user->quotas[ACCOUNT_SOCKETS],
                   .requests_per_user = user->meters[ACCOUNT_REQUESTS],
                   .held_bytes_per_user = user->meters[ACCOUNT_BYTES],
                   .lookups_per_user = (int64_t)user->lookups,
                   .pings_per_user = user->quotas[ACCOUNT_PINGS],
                   .tokens_per_user = user->quotas[ACCOUNT_TOKENS],
                   .connects_per_second = user->rates[ACCOUNT_CONNECTS].per_second,
                   .connects_burst = user->rates[ACCOUNT_CONNECTS].burst,
                   .pings_per_second = user->rates[ACCOUNT_PINGING].per_second,
                   .pings_burst = user->rates[ACCOUNT_PINGING].burst},
        .methods = {.items = methods, .n_items = n_methods},
    };
    request_answer(request, &result);
}

void method_broker_stats(struct request *request)
{
    struct proto_broker_stats_result result;

    stats_read(&result);
    result.uptime_ms = (loop_clock_us() - request->client->io->shared->started_us) / 1000;
    request_answer(request, &result);
}

void method_broker_cancel(struct request *request)
{
    struct proto_broker_cancel_result result = {.cancelled = false};
    struct request *target = request_find(request->client, &request->params.broker_cancel.id);

    if (target && target != request) {
        stats_count(cancelled);
        result.cancelled = true;
        request_abort(target, WIRE_EINTR, "cancelled by Broker.Cancel");
    }
    request_answer(request, &result);
}

void method_broker_errors(struct request *request)
{
    struct proto_error_row rows[WIRE_N];
    size_t n = 0;

    for (int error = WIRE_NONE + 1; error < WIRE_N; error++) {
        const struct error_info *info = &error_infos[error];
        rows[n++] = (struct proto_error_row){.code = info->code,
                                             .symbol = info->symbol,
                                             .stage = error_stage_name(info->stage),
                                             .retryable = info->retryable,
                                             .text = info->text};
    }
    struct proto_broker_errors_result result = {.errors = {.items = rows, .n_items = n}};
    request_answer(request, &result);
}
