#pragma once
/*
 * socket_room: what all sockets of one io thread share.
 *
 * Threads:   its io thread only.
 * Ownership: the io thread's; what it points to too.
 */
#include <stddef.h>
#include <stdint.h>

#include "broker/table.h"
#include "loop/loop.h"

struct account_limits;
struct events;
struct keep;
struct session;
struct tcp_options;

struct socket_room {
    struct loop *loop;
    struct table *table;
    const struct tcp_options *tcp; /* of accepted connections */
    const struct account_limits *limits;
    size_t receive_buffer; /* bytes read ahead per socket */
    int64_t close_timeout_ms;
    char *scratch; /* what is read goes here first, so idle sockets have no buffer */
    size_t n_scratch;
    struct events *events; /* of the daemon; NULL: nobody can ask for any */
    struct keep *keep; /* where durable sessions' sockets are kept over a restart; NULL: nowhere */
    size_t index;      /* of its clock in the ledger */
    uint64_t clock;    /* the ledger's time, an iteration each */
    /* a lingering session has lost its last socket: it is to be freed */
    void (*on_lingered)(struct session *session);
};
