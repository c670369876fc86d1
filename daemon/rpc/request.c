#include "rpc/request.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "broker/stats.h"
#include "rpc/admin.h"
#include "rpc/batch.h"
#include "rpc/police.h"
#include "rpc/report.h"

/* ---- answers
 * --------------------------------------------------------------------------------------------------
 */

/* Where an answer of this request is written to. */
static struct writer *answer_begin(struct client *client, struct batch *batch,
                                   struct writer_mark *ret_mark)
{
    return batch ? batch_answer_begin(batch, ret_mark) : client_answer_begin(client, ret_mark);
}

/* Returns false when memory ran out. */
static bool answer_end(struct client *client, struct batch *batch, struct writer_mark mark,
                       const struct proto_id *id)
{
    return batch ? batch_answer_end(batch, mark) : client_answer_end(client, mark, id);
}

static void write_fault(struct client *client, struct batch *batch, const struct proto_id *id,
                        const struct fault *fault)
{
    struct writer_mark mark;

    stats_count(requests_failed);
    fault_count_limit(fault, client->session->share);
    if (fault->limit)
        report_limit(client, fault);
    meter_limit(&client->io->meter, fault->limit);
    if (id->kind == PROTO_ID_ABSENT)
        return;
    struct writer *writer = answer_begin(client, batch, &mark);
    fault_write(writer, id, fault);
    (void)answer_end(client, batch, mark, id);
}

/* The request is over, with that code of the meter's; its client may end only after this. */
static void finish(struct request *request, unsigned code)
{
    struct client *client = request->client;

    meter_request(&client->io->meter, request->call->method, code, request->started_us);
    timers_stop(&client->io->loop->timers, &request->deadline);
    list_remove(&request->link);
    session_unhold(client->session, request->n_held);
    (void)stats_sub(requests_running, 1);
    if (request->batch)
        batch_unref(request->batch, code != METER_GONE);
    message_unref(request->message);
    free(request);
    client_request_ended(client);
}

/* Without its line a descriptor must not be sent. */
static void place_fd(struct client *client, struct batch *batch, struct writer_mark mark,
                     bool written, int fd)
{
    if (!written)
        close(fd);
    else if (batch)
        batch->fd = fd;
    else
        client_answer_fd(client, mark, fd);
}

/* A result struct, or what write() writes; with a descriptor, or -1. */
static void answer(struct request *request, const void *result,
                   void (*write)(struct writer *writer), int fd)
{
    struct client *client = request->client;
    struct writer_mark mark;

    ASSERT_OWNER(client->io->loop);
    const struct proto_id *id = &request->call->id;
    if (id->kind != PROTO_ID_ABSENT) {
        struct writer *writer = answer_begin(client, request->batch, &mark);
        message_result_begin(writer, id);
        if (write)
            write(writer);
        else
            fields_write(method_infos[request->call->method].result, result, writer);
        message_result_end(writer);
        bool written = answer_end(client, request->batch, mark, id);
        if (fd >= 0)
            place_fd(client, request->batch, mark, written, fd);
    }
    finish(request, WIRE_NONE);
}

void request_answer(struct request *request, const void *result)
{
    answer(request, result, NULL, -1);
}

int request_reserve_fd(struct request *request)
{
    return fds_reserve(&request->client->fds);
}

void request_answer_fd(struct request *request, const void *result, int fd)
{
    ASSERT(request->call->id.kind != PROTO_ID_ABSENT && !request_in_company(request));
    answer(request, result, NULL, fd);
}

void request_answer_raw(struct request *request, void (*write)(struct writer *writer))
{
    answer(request, NULL, write, -1);
}

void request_fail(struct request *request, const struct fault *fault)
{
    ASSERT_OWNER(request->client->io->loop);
    report_denied(request, fault);
    write_fault(request->client, request->batch, &request->call->id, fault);
    finish(request, fault->error);
}

static void withdraw(struct request *request, struct fault *fault)
{
    if (request->withdraw)
        request->withdraw(request, fault);
    request->withdraw = NULL;
}

void request_drop(struct request *request)
{
    ASSERT_OWNER(request->client->io->loop);
    withdraw(request, NULL);
    finish(request, METER_GONE);
}

void request_abort(struct request *request, enum wire_error error, const char *why)
{
    struct fault fault;

    fault_set(&fault, error, "%s: %s", request_name(request), why);
    withdraw(request, &fault);
    request_fail(request, &fault);
}

/* ---- deadlines
 * ------------------------------------------------------------------------------------------------
 */

static void on_deadline(struct timer *timer)
{
    struct request *request = container_of(timer, struct request, deadline);
    struct fault fault;

    if (request->on_deadline) {
        request->on_deadline(request);
        return;
    }
    fault_set(&fault, WIRE_ETIMEDOUT, "%s: the deadline passed after %lld ms",
              request_name(request), (long long)(loop_clock_us() - request->started_us) / 1000);
    withdraw(request, &fault);
    request_fail(request, &fault);
}

bool request_deadline(struct request *request, int64_t delay_ms)
{
    struct fault fault;
    struct loop *loop = request->client->io->loop;

    if (timers_start(&loop->timers, &request->deadline, (uint64_t)delay_ms, on_deadline) == 0)
        return true;
    fault_set(&fault, WIRE_ENOBUFS, "%s: out of memory", request_name(request));
    withdraw(request, &fault);
    request_fail(request, &fault);
    return false;
}

bool request_deadline_if(struct request *request, bool given, int64_t delay_ms, int64_t session_ms)
{
    if (!given && session_ms < 0)
        return true;
    return request_deadline(request, given ? delay_ms : session_ms);
}

/* ---- finding
 * --------------------------------------------------------------------------------------------------
 */

struct request *request_find(struct client *client, const struct proto_id *id)
{
    list_for_each (link, &client->requests) {
        struct request *request = container_of(link, struct request, link);
        if (request->call->id.kind != PROTO_ID_ABSENT && proto_id_equal(&request->call->id, id))
            return request;
    }
    return NULL;
}

bool request_in_company(const struct request *request)
{
    return request->batch && request->batch->n_calls > 1;
}

bool request_is_answered(struct request *request)
{
    struct fault fault;

    if (request->call->id.kind != PROTO_ID_ABSENT)
        return true;
    fault_set(&fault, WIRE_INVALID_REQUEST,
              "%s: a notification would not be given what its answer has", request_name(request));
    request_fail(request, &fault);
    return false;
}

void request_poke(struct request *request)
{
    if (request->call->method == METHOD_TCP_RECEIVE && request->withdraw)
        socket_poke(request->socket);
}

bool request_socket(struct request *request, int64_t number)
{
    struct socket *socket;
    struct fault fault;

    switch (session_socket(request_session(request), (uint32_t)number, &request->thread, &socket)) {
    case 0:
        request->socket = socket;
        return true;
    case SESSION_E_NOT_OWNER:
        stats_count(not_owner);
        fault_set(
            &fault, WIRE_NOT_OWNER,
            "%s: socket %lld belongs to another thread of this session; only its owner may use it",
            request_name(request), (long long)number);
        fault.owner = socket->owner;
        fault.has_owner = true;
        break;
    case SESSION_E_FOREIGN:
        stats_count(not_owner);
        fault_set(&fault, WIRE_NOT_OWNER,
                  "%s: socket %lld belongs to another session, or is on offer",
                  request_name(request), (long long)number);
        break;
    default:
        fault_set(&fault, WIRE_ENOTSOCK,
                  "%s: there is no socket %lld (it never was, or it was closed)",
                  request_name(request), (long long)number);
        break;
    }
    request_fail(request, &fault);
    return false;
}

/* ---- starting
 * -------------------------------------------------------------------------------------------------
 */

/* The thread member stands in every socket method's params, in another place of each struct. */
static struct label thread_of(const struct request *request)
{
    const struct field_table *table = method_infos[request->call->method].params;

    for (size_t i = 0; i < table->n_fields; i++) {
        const struct field *field = &table->fields[i];
        if (field->type == FIELD_THREAD && strcmp(field->name, "thread") == 0) {
            const char *params = (const char *)&request->params;
            return label_from(*(const bool *)(params + field->has_offset),
                              (const void *)(params + field->offset));
        }
    }
    return label_from(false, NULL);
}

/* What administers is not kept out by what its user has running: it may be what ends that. */
static bool may_wait(const struct client *client, enum method method)
{
    return !(method_infos[method].traits & (METHOD_IMMEDIATE | METHOD_ADMIN)) &&
           !(method == METHOD_BROKER_LIST && client_is_admin(client));
}

/* May it be run? Returns false when it was answered with why not. */
static bool admit(struct client *client, struct batch *batch, const struct call *call,
                  size_t n_held)
{
    const struct rpc_settings *settings = &client->io->snapshot->settings;
    bool immediate = method_infos[call->method].traits & METHOD_IMMEDIATE;
    struct fault fault;
    int r;

    if (call->wrong.error != WIRE_NONE)
        fault_wrong(&fault, &call->wrong);
    else if (call->id.kind != PROTO_ID_ABSENT && request_find(client, &call->id))
        fault_set(&fault, WIRE_INVALID_REQUEST,
                  "a request with this id is still running on this connection");
    else if ((method_infos[call->method].traits & (METHOD_ADMIN | METHOD_NEW) &&
              admin_refuses(client, call->method, &fault)) ||
             (batch && batch_is_full(batch, &fault)))
        ; /* told */
    else if (client->io->state != IO_RUNNING && !immediate && call->method != METHOD_TCP_CLOSE)
        fault_set(&fault, WIRE_SHUTTING_DOWN,
                  "%s: the broker is shutting down: what runs is finished, nothing new is begun",
                  method_infos[call->method].name);
    else if (!immediate && client->n_requests >= settings->requests)
        fault_limit(
            &fault, WIRE_LIMIT, "limits.requests", (int64_t)settings->requests,
            "%zu requests are running on this connection, which is the limit; wait for answers",
            client->n_requests);
    else if ((r = session_hold(client->session, n_held, may_wait(client, call->method))))
        fault_held(&fault, r, client->session, n_held);
    else
        return true;
    meter_refused(&client->io->meter, call->method, fault.error);
    write_fault(client, batch, &call->id, &fault);
    return false;
}

static void refuse_params(struct request *request, int r, const struct field_fault *found)
{
    struct fault fault;

    if (r < 0) {
        fault_set(&fault, WIRE_ENOBUFS, "%s: out of memory", request_name(request));
    } else {
        /* what is said of a stranger or a twin is a sentence already, the rest is a type */
        bool sentence = strncmp(found->expected, "no such", 7) == 0 ||
                        strncmp(found->expected, "given twice", 11) == 0;
        fault_set(&fault, WIRE_INVALID_PARAMS, "%s: %s: %s%s", request_name(request),
                  found->param[0] ? found->param : "params", sentence ? "" : "expected ",
                  found->expected);
        memcpy(fault.param, found->param, sizeof(fault.param));
        memcpy(fault.expected, found->expected, sizeof(fault.expected));
    }
    request_fail(request, &fault);
}

static void run_call(struct client *client, struct message *message, const struct call *call,
                     struct batch *batch)
{
    struct field_fault found;
    struct fault fault;
    size_t n_held = message_size(message) / message_calls(message);

    stats_count(requests_total);
    if (client_reserve(client)) {
        client_end(client, "out of memory");
        return;
    }
    if (!admit(client, batch, call, n_held))
        return;
    struct request *request = calloc(1, sizeof(*request));
    if (!request) {
        session_unhold(client->session, n_held);
        fault_set(&fault, WIRE_ENOBUFS, "out of memory; nothing was done");
        meter_refused(&client->io->meter, call->method, fault.error);
        write_fault(client, batch, &call->id, &fault);
        return;
    }
    request->client = client;
    request->message = message_ref(message);
    request->call = call;
    request->batch = batch ? batch_ref(batch) : NULL;
    request->n_held = n_held;
    request->started_us = loop_clock_us();
    list_append(&client->requests, &request->link);
    client->n_requests++;
    stats_count(requests_running);
    int r = message_params(message, call, &request->params, &found);
    if (r) {
        refuse_params(request, r, &found);
        return;
    }
    request->thread = thread_of(request);
    if (police_concerns(client->io->snapshot->policy, call->method) &&
        !policy_is_about(call->method) && !police_passes_call(request))
        return;
    request_handler_of(call->method)(request);
}

static void refuse_line(struct client *client, const struct message_wrong *wrong)
{
    static const struct proto_id none = {.kind = PROTO_ID_NULL};
    struct fault fault;

    stats_count(lines_refused);
    if (client_reserve(client)) {
        client_end(client, "out of memory");
        return;
    }
    fault_wrong(&fault, wrong);
    if (wrong->too_deep) {
        fault.limit = "limits.nesting";
        fault.limit_value = (int64_t)client->io->snapshot->settings.nesting;
    }
    write_fault(client, NULL, &none, &fault);
}

/* From that one on; takes the message, and the reference to the batch. Between two of them it may
 * be somebody else's turn. */
static void run_calls(struct client *client, struct message *message, struct batch *batch,
                      size_t first)
{
    for (size_t i = first; i < message_calls(message) && !client->doomed; i++) {
        uint64_t before = client_answered(client);
        if (i > first && turns_over(client)) {
            client->rest.message = message;
            client->rest.batch = batch;
            client->rest.next = i;
            return;
        }
        run_call(client, message, message_call(message, i), batch);
        if (batch)
            turns_count(client, (size_t)(client_answered(client) - before));
    }
    if (batch) /* not sent before all members were begun */
        batch_unref(batch, !client->doomed);
    message_unref(message);
}

void request_line(struct client *client, const char *line, size_t n)
{
    struct message *message;
    struct batch *batch = NULL;
    const struct message_wrong no_memory = {
        .error = WIRE_ENOBUFS,
        .text = "out of memory while reading the line; nothing was done",
        .position = -1};

    ASSERT_OWNER(client->io->loop);
    if (message_parse(&message, line, n, client->io->snapshot->settings.nesting)) {
        refuse_line(client, &no_memory);
        return;
    }
    if (message_wrong(message)) {
        refuse_line(client, message_wrong(message));
        message_unref(message);
        return;
    }
    if (message_is_batch(message)) {
        batch = batch_new(client, message_calls(message));
        if (!batch) {
            refuse_line(client, &no_memory);
            message_unref(message);
            return;
        }
    }
    run_calls(client, message, batch, 0);
}

void request_rest(struct client *client)
{
    struct message *message = client->rest.message;

    ASSERT_OWNER(client->io->loop);
    client->rest.message = NULL;
    run_calls(client, message, client->rest.batch, client->rest.next);
}

void request_drop_rest(struct client *client)
{
    ASSERT_OWNER(client->io->loop);
    batch_unref(client->rest.batch, false);
    client->rest.message = message_unref(client->rest.message);
}
