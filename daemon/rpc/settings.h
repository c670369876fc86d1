#pragma once
/*
 * settings: what the rpc layer needs to know of the configuration, and what all io threads share.
 *
 * Threads:   constant after the start, but for what its own lines say.
 * Ownership: the app owns it and all that it points to.
 */
#include <stdatomic.h>
#include <stdint.h>

#include "broker/table.h"
#include "net/dial.h"
#include "net/resolver.h"
#include "rpc/credentials.h"
#include "rpc/pools.h"

struct rpc_settings {
    size_t line, nesting, requests, unread_answers, held_bytes;
    uint32_t sockets, sockets_per_session;
    size_t receive_buffer;
    size_t lookups;
    int64_t durable_sessions;
    int64_t connect_timeout_ms, lookup_timeout_ms, close_timeout_ms;
};

/*
 * Everything that a reload may change, as one immutable snapshot. Each io thread holds a reference
 * to the present one and changes over in one go; what began under an older one ends under it.
 */
struct rpc_snapshot {
    atomic_uint references;
    uint64_t generation; /* from 1 */
    struct rpc_settings settings;
    struct dial_settings dial;
    struct credentials credentials;
    struct pools pools; /* they borrow from credentials */
};

struct rpc_snapshot *rpc_snapshot_ref(struct rpc_snapshot *snapshot);
/* NULL is fine, returns NULL. */
struct rpc_snapshot *rpc_snapshot_unref(struct rpc_snapshot *snapshot);

/* A Broker.Reload: to the control thread, and back by `done`. */
struct rpc_reload {
    struct mail mail, done;
    struct loop *reply_to;
    uint64_t generation; /* 0: it failed, nothing has changed, error tells why */
    bool restart;        /* something was changed that needs a restart */
    bool no_memory;      /* it failed for that */
    char error[768];
};

struct io;
struct pool_keeper;

struct rpc_shared {
    struct rpc_snapshot *snapshot; /* that io threads start with; the control thread's */
    struct table *table;
    struct resolver *resolver;
    struct dialers *dialers;
    struct io **ios;
    size_t n_ios;
    int64_t started_us;
    _Atomic uint64_t next_session; /* from 1 */
    struct loop *control;
    struct pool_keeper *keeper;
    void (*reload)(struct mail *mail); /* delivers an rpc_reload's mail on the control thread */
};
