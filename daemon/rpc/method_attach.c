/*
 * method_attach: TCPAttach, and what TCPConnect with `attach` does when it is connected.
 */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "broker/socket_attach.h"
#include "broker/stats.h"
#include "rpc/method.h"
#include "util/log.h"

bool method_can_attach(struct request *request)
{
    struct fault fault;

    if (!request_is_answered(request))
        return false;
    if (request_in_company(request)) {
        fault_set(
            &fault, WIRE_INVALID_REQUEST,
            "%s: a descriptor goes with the line of its answer, so it stands alone in a batch",
            request_name(request));
        request_fail(request, &fault);
        return false;
    }
    return true;
}

int method_attach(struct request *request, struct socket *socket, int *ret_fd, bool *ret_direct,
                  struct tls_facts **ret_facts)
{
    uint32_t number = socket->number;
    int r = request_reserve_fd(request);
    if (r == 0)
        r = socket_attach(socket, ret_fd, ret_direct, ret_facts);

    if (r == 0) {
        stats_count(attached);
        log_debug("socket %u attached: session %llu %s", number,
                  (unsigned long long)request_session(request)->id,
                  *ret_facts    ? "handed out, the kernel encrypts"
                  : *ret_direct ? "handed out"
                                : "relayed");
    }
    return r;
}

void method_tcp_attach(struct request *request)
{
    const struct proto_tcp_attach_params *params = &request->params.tcp_attach;
    struct proto_tcp_attach_result result = {.fds = 1};
    struct tls_facts *facts;
    struct fault fault;
    int fd;

    if (!method_can_attach(request) || !request_socket(request, params->socket))
        return;
    int r = method_attach(request, request->socket, &fd, &result.direct, &facts);
    if (r == 0) {
        free(facts);
        request_answer_fd(request, &result, fd);
        return;
    }
    if (r > 0)
        fault_outcome(&fault, (enum socket_outcome)r, request->socket, request_name(request));
    else
        fault_errno(&fault, STAGE_BROKER, -r, request_name(request));
    request_fail(request, &fault);
}
