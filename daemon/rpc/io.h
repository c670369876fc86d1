#pragma once
/*
 * io: one io thread: its loop, its clients, and the way the control thread speaks to it.
 *
 * Threads:   io_new/io_start/io_join/io_free, io_post_client: the control thread. io_post_drain,
 * io_post_cut: any thread. The rest: the io thread.
 * Ownership: owns its loop and its clients; clients own the rest.
 * Errors:    -errno.
 */
#include <sys/types.h>

#include "broker/socket.h"
#include "rpc/meter.h"
#include "rpc/settings.h"
#include "rpc/turns.h"
#include "util/map.h"

enum io_state {
    IO_RUNNING,
    IO_DRAINING, /* running requests are finished, no new connects */
    IO_CLOSING,  /* everything ends now */
    IO_DRAINED,  /* no client and no passage left; `drained` was posted */
};

struct io {
    struct rpc_shared *shared;
    struct rpc_snapshot *snapshot; /* a reference */
    struct loop *loop;
    struct socket_room room;
    size_t index;
    enum io_state state;
    bool no_new; /* Broker.Drain: no new sockets and durable sessions */
    struct list clients;
    struct list passages;      /* rpc/passage.h */
    size_t n_behind;           /* clients with answers that the kernel has not taken, and batches */
    _Atomic uint64_t *out;     /* the ledger's: up to when all has gone out; NULL: there is none */
    struct list dirty;         /* clients with answers to flush at the end of this iteration */
    struct list subscriptions; /* rpc/subscriptions.h */
    struct map sessions;       /* by id: rpc/sessions.h */
    struct map offers;         /* by id: rpc/offers.h */
    struct map shares;         /* by user: rpc/shares.h */
    uint64_t n_offers_made;
    size_t n_lingering; /* sessions that have ended but for attached sockets */
    size_t n_away; /* messages of ours that visit other io threads: nobody stops before they are
                      back */
    struct timer drain_timer;
    struct mail drain, cut;
    int64_t drain_ms;
    struct mail *drained; /* the control thread's, posted when the last client is gone */
    struct loop *drained_to;
    struct meter meter;
    struct turns turns;
};

NODISCARD int io_new(struct io **ret_io, struct rpc_shared *shared, size_t index);
NODISCARD int io_start(struct io *io);
void io_stop(struct io *io);
void io_join(struct io *io);
struct io *io_free(struct io *io);

/* Control thread. Takes the fd (closed on failure). Returns 0 or -ENOMEM. */
NODISCARD int io_post_client(struct io *io, int fd, uid_t uid, gid_t gid, pid_t pid);
/* io thread: go on with another snapshot; takes the reference. */
void io_change(struct io *io, struct rpc_snapshot **snapshot);
/* io thread: Broker.Drain, or its end. Who waits for new connections is sent away. */
void io_refuse_new(struct io *io, bool refuse);
/* Any thread, once: finish what runs within drain_ms, then close everything and post *drained to
 * drained_to. */
void io_post_drain(struct io *io, int64_t drain_ms, struct loop *drained_to, struct mail *drained);
/* Any thread, once: do not wait any longer. */
void io_post_cut(struct io *io);

/* io thread: the last client may be gone: see whether the drain is done. */
void io_check_drained(struct io *io);
