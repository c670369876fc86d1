#pragma once
/*
 * settings: what the rpc layer needs to know of the configuration, and what all io threads share.
 *
 * Threads:   constant after the start, but for what its own lines say.
 * Ownership: the app owns it and all that it points to.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "broker/table.h"
#include "net/dial.h"
#include "net/resolver.h"
#include "net/trust.h"

struct rpc_settings {
    size_t line, nesting, requests, unread_answers, held_bytes;
    uint32_t sockets, sockets_per_session;
    size_t receive_buffer;
    size_t lookups;
    int64_t durable_sessions;
    struct tcp_options tcp; /* of accepted connections */
    int64_t connect_timeout_ms, lookup_timeout_ms, close_timeout_ms;
};

struct io;

struct rpc_shared {
    struct rpc_settings settings;
    struct table *table;
    struct resolver *resolver;
    struct dialers *dialers;
    struct io **ios;
    size_t n_ios;
    int64_t started_us;
    _Atomic uint64_t next_session; /* from 1 */
    pthread_mutex_t trust_mutex;   /* leaf */
    struct trust *trust;           /* under trust_mutex; rpc_trust() gives a reference */
};

static inline struct trust *rpc_trust(struct rpc_shared *shared)
{
    pthread_mutex_lock(&shared->trust_mutex);
    struct trust *trust = trust_ref(shared->trust);
    pthread_mutex_unlock(&shared->trust_mutex);
    return trust;
}
