/* Which errors a method's caller should expect: each error belongs to groups, each method has some
 * of them. Groups that follow from methods.def (traits, a parameter) are not listed again. */
#include <string.h>

#include "proto/openrpc.h"

enum {
    OF_ANY = 1 << 0,
    OF_WAITING = 1 << 1, /* a request that can run for a while */
    OF_SOCKET = 1 << 2,  /* about a socket by its number */
    OF_ADMIN = 1 << 3,
    OF_LOOKUP = 1 << 4,
    OF_SERVICE = 1 << 5, /* a port by its service name */
    OF_DEADLINE = 1 << 6,
    OF_NETWORK = 1 << 7,
    OF_LOCAL = 1 << 8,      /* a local address or port is taken */
    OF_NEW = 1 << 9,        /* a socket more */
    OF_STATE = 1 << 10,     /* not at this point of a socket's or session's life */
    OF_EXCLUSIVE = 1 << 11, /* one at a time */
    OF_CONNECTED = 1 << 12,
    OF_STREAM = 1 << 13,
    OF_SENDING = 1 << 14,
    OF_UNBLOCKED = 1 << 15, /* asks what TCPBlock has set */
    OF_ENDING = 1 << 16,    /* a close meanwhile */
    OF_CLOSING = 1 << 17,
    OF_TLS = 1 << 18,
    OF_STARTING_TLS = 1 << 19,
    OF_TRUST = 1 << 20,
    OF_TOKEN = 1 << 21,
    OF_PING = 1 << 22,
};

static const unsigned error_groups[WIRE_N] = {
    [WIRE_INVALID_PARAMS] = OF_ANY,
    [WIRE_INTERNAL] = OF_ANY,
    [WIRE_ENOBUFS] = OF_ANY,
    [WIRE_LIMIT] = OF_ANY,
    [WIRE_EINTR] = OF_WAITING,
    [WIRE_SHUTTING_DOWN] = OF_WAITING,
    [WIRE_ENOTSOCK] = OF_SOCKET,
    [WIRE_NOT_OWNER] = OF_SOCKET,
    [WIRE_EACCES] = OF_ADMIN | OF_NETWORK | OF_LOCAL,
    [WIRE_HOST_NOT_FOUND] = OF_LOOKUP,
    [WIRE_TRY_AGAIN] = OF_LOOKUP,
    [WIRE_NO_RECOVERY] = OF_LOOKUP,
    [WIRE_NO_DATA] = OF_LOOKUP,
    [WIRE_UNKNOWN_SERVICE] = OF_SERVICE,
    [WIRE_ETIMEDOUT] = OF_DEADLINE,
    [WIRE_ECONNREFUSED] = OF_NETWORK,
    [WIRE_ENETDOWN] = OF_NETWORK | OF_STREAM,
    [WIRE_ENETUNREACH] = OF_NETWORK | OF_STREAM,
    [WIRE_EHOSTDOWN] = OF_NETWORK | OF_STREAM,
    [WIRE_EHOSTUNREACH] = OF_NETWORK | OF_STREAM,
    [WIRE_ECONNRESET] = OF_NETWORK | OF_STREAM,
    [WIRE_ECONNABORTED] = OF_ENDING | OF_STREAM,
    [WIRE_EAFNOSUPPORT] = OF_NETWORK | OF_LOCAL,
    [WIRE_EADDRINUSE] = OF_LOCAL,
    [WIRE_EADDRNOTAVAIL] = OF_LOCAL,
    [WIRE_EMFILE] = OF_NEW,
    [WIRE_EINVAL] = OF_STATE,
    [WIRE_BUSY] = OF_EXCLUSIVE,
    [WIRE_ENOTCONN] = OF_CONNECTED | OF_STREAM,
    [WIRE_ATTACHED] = OF_STREAM,
    [WIRE_TLS_IO] = OF_STREAM,
    [WIRE_ESHUTDOWN] = OF_SENDING,
    [WIRE_EWOULDBLOCK] = OF_UNBLOCKED,
    [WIRE_BAD_CLOSE_OPTION] = OF_CLOSING,
    [WIRE_TLS_NO_PARTIAL_CLOSE] = OF_CLOSING,
    [WIRE_TLS_HANDSHAKE] = OF_TLS,
    [WIRE_TLS_VERIFY] = OF_TLS,
    [WIRE_ALREADY_SECURE] = OF_STARTING_TLS,
    [WIRE_CA_FOLDER] = OF_TLS | OF_TRUST,
    [WIRE_CA_BUNDLE] = OF_TLS | OF_TRUST,
    [WIRE_CA_LIST] = OF_TLS | OF_TRUST,
    [WIRE_CA_EMPTY] = OF_TLS | OF_TRUST,
    [WIRE_CA_NEXT] = OF_TLS | OF_TRUST,
    [WIRE_CA_OPEN] = OF_TLS | OF_TRUST,
    [WIRE_BAD_TOKEN] = OF_TOKEN,
    [WIRE_PING_TIMEOUT] = OF_PING,
    [WIRE_PING_NEEDS_PRIV] = OF_PING,
};

static const unsigned method_groups[METHOD_N] = {
    [METHOD_TCP_CONNECT] =
        OF_LOOKUP | OF_SERVICE | OF_DEADLINE | OF_NETWORK | OF_LOCAL | OF_NEW | OF_ENDING | OF_TLS,
    [METHOD_TCP_SEND] = OF_STREAM | OF_SENDING | OF_UNBLOCKED | OF_DEADLINE,
    [METHOD_TCP_RECEIVE] = OF_STREAM | OF_STATE | OF_EXCLUSIVE | OF_UNBLOCKED | OF_DEADLINE,
    [METHOD_TCP_CLOSE] = OF_STREAM | OF_CLOSING | OF_EXCLUSIVE | OF_DEADLINE,
    [METHOD_TCP_SOCKET] = OF_NEW | OF_LOCAL,
    [METHOD_TCP_BIND] = OF_LOCAL | OF_SERVICE | OF_STATE | OF_DEADLINE,
    [METHOD_TCP_LISTEN] = OF_LOCAL | OF_STATE,
    [METHOD_TCP_ACCEPT] = OF_NEW | OF_STATE | OF_EXCLUSIVE | OF_UNBLOCKED | OF_ENDING | OF_DEADLINE,
    [METHOD_TCP_GET_MY_ADDR] = OF_CONNECTED | OF_LOOKUP | OF_DEADLINE,
    [METHOD_TCP_GET_MY_PORT] = OF_CONNECTED,
    [METHOD_TCP_GET_REMOTE_ADDR] = OF_CONNECTED,
    [METHOD_TCP_NAME2ADDR] = OF_LOOKUP | OF_DEADLINE,
    [METHOD_TCP_ADDR2NAME] = OF_LOOKUP | OF_DEADLINE,
    [METHOD_TCP_PING] = OF_LOOKUP | OF_NETWORK | OF_PING | OF_DEADLINE,
    [METHOD_TCP_ATTACH] = OF_STREAM | OF_STATE | OF_EXCLUSIVE | OF_NEW,
    [METHOD_TCP_START_TLS] =
        OF_STREAM | OF_TLS | OF_STARTING_TLS | OF_STATE | OF_EXCLUSIVE | OF_SENDING | OF_DEADLINE,
    [METHOD_TCP_TRANSFER] = OF_EXCLUSIVE,
    [METHOD_TCP_OFFER] = OF_STATE | OF_EXCLUSIVE,
    [METHOD_TCP_CLAIM] = OF_TOKEN | OF_NEW,
    [METHOD_BROKER_LIST] = OF_ADMIN,
    [METHOD_BROKER_RELOAD] = OF_TRUST,
    [METHOD_BROKER_EVENTS] = OF_ADMIN,
    [METHOD_BROKER_CLOSE] = OF_CLOSING | OF_EXCLUSIVE,
    [METHOD_SESSION_JOIN] = OF_TOKEN | OF_STATE | OF_EXCLUSIVE,
};

static unsigned groups_by_table(const struct method_info *info)
{
    unsigned groups = OF_ANY;

    if (!(info->traits & METHOD_IMMEDIATE))
        groups |= OF_WAITING;
    if (info->traits & METHOD_ADMIN)
        groups |= OF_ADMIN;
    for (size_t i = 0; i < info->params->n_fields; i++)
        if (strcmp(info->params->fields[i].name, "socket") == 0)
            groups |= OF_SOCKET;
    return groups;
}

bool openrpc_may_answer(enum method method, enum wire_error error)
{
    unsigned groups;

    if (method <= METHOD_UNKNOWN || method >= METHOD_N)
        return false;
    groups = groups_by_table(&method_infos[method]) | method_groups[method];
    return (groups & error_groups[error]) != 0;
}
