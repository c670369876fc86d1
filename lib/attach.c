/*
 * attach: a socket's stream as a descriptor.
 */
#include "lib/call.h"
#include "lib/error.h"

int tcpb_attach(struct tcpb *broker, int64_t socket, int *ret_fd, bool *ret_direct,
                struct tcpb_error *error)
{
    struct tcpb_tcp_attach_params params = {.socket = socket};
    const struct tcpb_tcp_attach_result *result;
    struct tcpb_reply *reply = NULL;

    if (!ret_fd)
        return error_local(error, TCPB_LOCAL_ARGUMENT, 0,
                           "there is no place for the descriptor (NULL)");
    int r = tcpb_tcp_attach(broker, &params, &reply, &result, error);
    if (r)
        return r;
    bool direct = result->direct;
    r = reply_take_fd(reply, ret_fd, error);
    if (r == 0 && ret_direct)
        *ret_direct = direct;
    tcpb_reply_free(reply);
    return r;
}

int tcpb_connect_attach(struct tcpb *broker, const struct tcpb_tcp_connect_params *params,
                        int *ret_fd, struct tcpb_reply **ret_reply,
                        const struct tcpb_tcp_connect_result **ret_result, struct tcpb_error *error)
{
    const struct tcpb_tcp_connect_result *result;
    struct tcpb_reply *reply = NULL;

    if (!ret_fd || !params || (ret_result && !ret_reply))
        return error_local(error, TCPB_LOCAL_ARGUMENT, 0,
                           "there must be parameters, a place for the descriptor, and with a "
                           "result, which lives in it, a place for the reply");
    struct tcpb_tcp_connect_params attached = *params;
    attached.has_attach = attached.attach = true;
    int r = tcpb_tcp_connect(broker, &attached, &reply, &result, error);
    if (r)
        return r;
    r = reply_take_fd(reply, ret_fd, error);
    if (r || !ret_reply) {
        tcpb_reply_free(reply);
        return r;
    }
    *ret_reply = reply;
    if (ret_result)
        *ret_result = result;
    return 0;
}
