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
    [METHOD_TCP_SOCKET] = method_tcp_socket,
    [METHOD_TCP_BIND] = method_tcp_bind,
    [METHOD_TCP_LISTEN] = method_tcp_listen,
    [METHOD_TCP_ACCEPT] = method_tcp_accept,
    [METHOD_TCP_PING] = method_tcp_ping,
    [METHOD_TCP_ATTACH] = method_tcp_attach,
    [METHOD_TCP_START_TLS] = method_tcp_start_tls,
    [METHOD_TCP_TRANSFER] = method_tcp_transfer,
    [METHOD_TCP_OFFER] = method_tcp_offer,
    [METHOD_TCP_CLAIM] = method_tcp_claim,
    [METHOD_SESSION_OPEN] = method_session_open,
    [METHOD_SESSION_JOIN] = method_session_join,
    [METHOD_SESSION_CLOSE] = method_session_close,
    [METHOD_SESSION_SET] = method_session_set,
    [METHOD_BROKER_HELLO] = method_broker_hello,
    [METHOD_BROKER_LIST] = method_broker_list,
    [METHOD_BROKER_STATS] = method_broker_stats,
    [METHOD_BROKER_USERS] = method_broker_users,
    [METHOD_BROKER_METRICS] = method_broker_metrics,
    [METHOD_BROKER_CANCEL] = method_broker_cancel,
    [METHOD_BROKER_RELOAD] = method_broker_reload,
    [METHOD_BROKER_EVENTS] = method_broker_events,
    [METHOD_BROKER_CLOSE] = method_broker_close,
    [METHOD_BROKER_DRAIN] = method_broker_drain,
    [METHOD_BROKER_LOG] = method_broker_log,
    [METHOD_BROKER_DOORS] = method_broker_doors,
    [METHOD_BROKER_POOLS] = method_broker_pools,
    [METHOD_BROKER_ERRORS] = method_broker_errors,
    [METHOD_POLICY_TEST] = method_policy_test,
    [METHOD_POLICY_SHOW] = method_policy_show,
    [METHOD_RPC_DISCOVER] = method_rpc_discover,
};

request_handler request_handler_of(enum method method)
{
    ASSERT(method > METHOD_UNKNOWN && method < METHOD_N && handlers[method]);
    return handlers[method];
}
