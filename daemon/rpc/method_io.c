/*
 * method_io: TCPSend, TCPReceive, TCPClose, TCPBlock. The operations themselves are the socket's;
 * here params become operations and outcomes become answers.
 */
#include <stdio.h>
#include <string.h>

#include "broker/socket_keep.h"
#include "rpc/method.h"

static void fail_outcome(struct request *request, enum socket_outcome outcome)
{
    struct fault fault;
    fault_outcome(&fault, outcome, request->socket, request_name(request));
    request_fail(request, &fault);
}

/* ---- TCPSend
 * --------------------------------------------------------------------------------------------------
 */

static void end_send(struct request *request, enum socket_outcome outcome)
{
    struct fault fault;

    if (outcome == SOCKET_OK) {
        struct proto_tcp_send_result result = {.sent = (int64_t)request->op.send.n_sent};
        request_answer(request, &result);
        return;
    }
    fault_outcome(&fault, outcome, request->socket, request_name(request));
    if (outcome != SOCKET_E_AGAIN)
        fault.sent = (int64_t)request->op.send.n_sent;
    request_fail(request, &fault);
}

static void on_sent(struct socket_send *send, enum socket_outcome outcome)
{
    end_send(container_of(send, struct request, op.send), outcome);
}

static void withdraw_send(struct request *request, struct fault *fault)
{
    socket_withdraw_send(request->socket, &request->op.send);
    if (fault)
        fault->sent = (int64_t)request->op.send.n_sent;
}

void method_tcp_send(struct request *request)
{
    const struct proto_tcp_send_params *params = &request->params.tcp_send;
    struct fault fault;

    if (params->has_data == params->has_data_base64) {
        fault_set(&fault, WIRE_INVALID_PARAMS,
                  "TCPSend: expected data (text) or data_base64 (bytes), one of them");
        snprintf(fault.param, sizeof(fault.param), "data");
        snprintf(fault.expected, sizeof(fault.expected), "data or data_base64, one of them");
        request_fail(request, &fault);
        return;
    }
    if (!request_socket(request, params->socket))
        return;
    const struct proto_bytes *bytes = params->has_data ? &params->data : &params->data_base64;
    request->op.send =
        (struct socket_send){.data = bytes->data, .n_data = bytes->n_bytes, .on_done = on_sent};
    enum socket_outcome outcome = socket_send(request->socket, &request->op.send);
    if (outcome != SOCKET_E_PARKED) {
        end_send(request, outcome);
        return;
    }
    request->withdraw = withdraw_send;
    /* when it fails the request was answered */
    (void)!request_deadline_if(request, params->has_timeout_ms, params->timeout_ms,
                               request_session(request)->deadlines.send);
}

/* ---- TCPReceive
 * -----------------------------------------------------------------------------------------------
 */

enum { ENCODING_UTF8 = 0, ENCODING_BASE64 = 1 };

static void end_receive(struct request *request, enum socket_outcome outcome)
{
    const struct socket_receive *receive = &request->op.receive;
    struct socket *socket = request->socket;
    struct proto_tcp_receive_result result = {.received = 0};

    if (outcome == SOCKET_E_END) {
        result.has_closed = true;
        result.closed = true;
        request_answer(request, &result);
        return;
    }
    if (outcome != SOCKET_OK) {
        fail_outcome(request, outcome);
        return;
    }
    struct proto_bytes bytes = {.data = receive->data, .n_bytes = receive->n_data};
    result.received = (int64_t)receive->n_data;
    if (request->params.tcp_receive.encoding == ENCODING_BASE64) {
        result.has_data_base64 = true;
        result.data_base64 = bytes;
    } else {
        result.has_data = true;
        result.data = bytes;
    }
    size_t n = receive->n_data;
    request_answer(request, &result);
    socket_consume(socket, n);
}

static void on_received(struct socket_receive *receive, enum socket_outcome outcome)
{
    end_receive(container_of(receive, struct request, op.receive), outcome);
}

static void withdraw_receive(struct request *request, struct fault *fault)
{
    (void)fault;
    socket_withdraw_receive(request->socket, &request->op.receive);
}

void method_tcp_receive(struct request *request)
{
    const struct proto_tcp_receive_params *params = &request->params.tcp_receive;
    struct fault fault;

    if (params->has_exact && params->has_until) {
        fault_set(&fault, WIRE_INVALID_PARAMS, "TCPReceive: expected exact or until, not both");
        snprintf(fault.param, sizeof(fault.param), "until");
        snprintf(fault.expected, sizeof(fault.expected), "exact or until, not both");
        request_fail(request, &fault);
        return;
    }
    if (!request_socket(request, params->socket))
        return;
    request->op.receive = (struct socket_receive){
        .wish = {.max_bytes = (size_t)params->max_bytes,
                 .exact = params->has_exact ? (size_t)params->exact : 0,
                 .until = params->has_until ? params->until.data : NULL,
                 .n_until = params->has_until ? params->until.n_bytes : 0,
                 .utf8 = params->encoding == ENCODING_UTF8},
        .held_up = &request->client->paused,
        .on_done = on_received,
    };
    enum socket_outcome outcome = socket_receive(request->socket, &request->op.receive);
    if (outcome != SOCKET_E_PARKED) {
        end_receive(request, outcome);
        return;
    }
    request->withdraw = withdraw_receive;
    /* when it fails the request was answered */
    (void)!request_deadline_if(request, params->has_timeout_ms, params->timeout_ms,
                               request_session(request)->deadlines.receive);
}

/* ---- TCPClose
 * -------------------------------------------------------------------------------------------------
 */

static void end_close(struct request *request, enum socket_outcome outcome)
{
    struct session *session = request_session(request);
    struct proto_tcp_close_result result = {.status = 0,
                                            .discarded = (int64_t)request->op.close.n_discarded,
                                            .has_reused = request->params.tcp_close.reuse};

    if (outcome != SOCKET_OK) {
        fail_outcome(request, outcome);
        return;
    }
    /* the number is gone when the reply is sent */
    if (request->op.close.option != SOCKET_CLOSE_PARTIAL)
        session_socket_free(session, request->socket, true);
    request_answer(request, &result);
}

static void on_closed(struct socket_close *close, enum socket_outcome outcome)
{
    end_close(container_of(close, struct request, op.close), outcome);
}

/* A close that has begun cannot be taken back: given up, it becomes an abort. */
static void withdraw_close(struct request *request, struct fault *fault)
{
    bool gone = request->op.close.option == SOCKET_CLOSE_COMPLETE;

    socket_withdraw_close(request->socket, &request->op.close);
    if (gone)
        session_socket_free(request_session(request), request->socket, true);
    if (gone && fault) {
        size_t n = strlen(fault->message);
        snprintf(fault->message + n, sizeof(fault->message) - n,
                 "; the socket was aborted and its number is gone");
        fault->retryable = false;
    }
}

/* True: the connection rests in its pool or is gone, and the request was answered. */
static bool give_back(struct request *request)
{
    struct proto_tcp_close_result result = {.has_reused = true};

    if (!pools_give_back(request, &result.reused))
        return false;
    session_socket_free(request_session(request), request->socket, true);
    request_answer(request, &result);
    return true;
}

void method_tcp_close(struct request *request)
{
    const struct proto_tcp_close_params *params = &request->params.tcp_close;
    struct fault fault;

    if (!request_socket(request, params->socket))
        return;
    if (params->option < SOCKET_CLOSE_COMPLETE || params->option > SOCKET_CLOSE_ABORT) {
        fault_set(&fault, WIRE_BAD_CLOSE_OPTION,
                  "TCPClose: option %lld is not 0 (complete), 1 (partial) or 2 (abort)",
                  (long long)params->option);
        snprintf(fault.param, sizeof(fault.param), "option");
        snprintf(fault.expected, sizeof(fault.expected), "0, 1 or 2");
        request_fail(request, &fault);
        return;
    }
    if (params->reuse && params->option != SOCKET_CLOSE_COMPLETE) {
        fault_param(&fault, request_name(request), "reuse", "option 0 (complete) with it");
        request_fail(request, &fault);
        return;
    }
    if (params->reuse && give_back(request))
        return;
    request->op.close = (struct socket_close){.option = (enum socket_close_option)params->option,
                                              .on_done = on_closed};
    enum socket_outcome outcome = socket_close(request->socket, &request->op.close);
    if (outcome != SOCKET_E_PARKED) {
        end_close(request, outcome);
        return;
    }
    request->withdraw = withdraw_close;
    /* when it fails the request was answered */
    (void)!request_deadline_if(request, params->has_timeout_ms, params->timeout_ms,
                               request_session(request)->deadlines.close);
}

/* ---- TCPBlock
 * -------------------------------------------------------------------------------------------------
 */

void method_tcp_block(struct request *request)
{
    struct proto_tcp_block_result result = {.status = 0};

    if (!request_socket(request, request->params.tcp_block.socket))
        return;
    request->socket->non_blocking = request->params.tcp_block.option != 0;
    socket_keep_change(request->socket);
    request_answer(request, &result);
}
