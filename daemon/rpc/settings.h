#pragma once
/*
 * settings: what the rpc layer needs to know of the configuration, and what all io threads share.
 *
 * Threads:   constant after the start, but for what its own lines say.
 * Ownership: the app owns it and all that it points to.
 */
#include <stdatomic.h>
#include <stdint.h>

#include "broker/account.h"
#include "broker/policy.h"
#include "broker/table.h"
#include "net/dial.h"
#include "net/resolver.h"
#include "rpc/credentials.h"
#include "rpc/pools.h"
#include "rpc/arrivals.h"

struct rpc_settings {
    size_t line, nesting, requests, unread_answers, held_bytes;
    uint32_t sockets, sockets_per_session;
    size_t receive_buffer;
    size_t lookups;
    int64_t durable_sessions;
    struct account_limits user; /* of each */
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
    struct pools pools;    /* they borrow from credentials */
    struct policy *policy; /* NULL: everything is allowed */
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

struct events;

/* A Broker.Drain: to the control thread, and back by `done` when it holds on every io thread. */
struct rpc_drain {
    struct mail mail, done;
    struct loop *reply_to;
    bool off, stop;
    int64_t timeout_ms; /* -1: none */
    uint64_t session;   /* who asks, for the log */
    uid_t uid;
    pid_t pid;
    /* the answer */
    bool draining;
    bool stopping; /* nothing was done: the daemon stops already */
};

/* A Broker.Doors: the same way. */
struct rpc_door {
    char name[81], listen[108], host[256];
    uint16_t port; /* 0: SOCKS, which leads anywhere */
    bool secure, verify;
    int64_t n_now, n_total, n_failed;
};
struct rpc_doors {
    struct mail mail, done;
    struct loop *reply_to;
    struct rpc_door *doors; /* free() */
    size_t n_doors;
    bool no_memory;
};

/* What became of reloads; the control thread's. */
struct rpc_reloads {
    int64_t success_s; /* when what is in force was read; seconds since the epoch */
    bool failed;       /* the last one */
};

struct io;
struct keep;
struct pool_keeper;

struct rpc_shared {
    struct rpc_snapshot *snapshot; /* that io threads start with; the control thread's */
    struct table *table;
    struct accounts *accounts;
    struct resolver *resolver;
    struct dialers *dialers;
    struct io **ios;
    size_t n_ios;
    int64_t started_us;
    int64_t started_s; /* the same, seconds since the epoch */
    struct rpc_reloads reloads;
    _Atomic uint64_t next_session; /* from 1 */
    struct events *events;         /* broker/events.h: a port for each io thread */
    struct loop *control;
    struct arrivals arrivals; /* from there */
    struct keep *keep;        /* what outlives the process; NULL: nothing does */
    struct pool_keeper *keeper;
    /* deliver an rpc_reload's mail, ... on the control thread */
    void (*reload)(struct mail *mail);
    void (*drain)(struct mail *mail);
    void (*doors)(struct mail *mail);
};
