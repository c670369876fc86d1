/*
 * dispatch: which handler serves which method (request.h).
 */
#include "rpc/method.h"

static const request_handler handlers[METHOD_N] = {
    [METHOD_TCP_CONNECT] = method_tcp_connect,
    [METHOD_TCP_SEND] = method_tcp_send,
    [METHOD_TCP_RECEIVE] = method_tcp_receive,
    [METHOD_TCP_CLOSE] = method_tcp_close,
    [METHOD_TCP_BLOCK] = method_tcp_block,
    [METHOD_TCP_GET_MY_ADDR] = method_tcp_get_my_addr,
    [METHOD_TCP_GET_MY_PORT] = method_tcp_get_my_port,
    [METHOD_TCP_GET_REMOTE_ADDR] = method_tcp_get_remote_addr,
    [METHOD_TCP_NAME2ADDR] = method_tcp_name2addr,
    [METHOD_TCP_ADDR2NAME] = method_tcp_addr2name,
    [METHOD_BROKER_HELLO] = method_broker_hello,
    [METHOD_BROKER_LIST] = method_broker_list,
    [METHOD_BROKER_STATS] = method_broker_stats,
    [METHOD_BROKER_CANCEL] = method_broker_cancel,
    [METHOD_BROKER_ERRORS] = method_broker_errors,
    [METHOD_RPC_DISCOVER] = method_rpc_discover,
};

request_handler request_handler_of(enum method method)
{
    ASSERT(method > METHOD_UNKNOWN && method < METHOD_N && handlers[method]);
    return handlers[method];
}
