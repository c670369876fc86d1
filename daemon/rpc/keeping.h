#pragma once
/*
 * keeping: the durable sessions of an io thread on their way out of the process that ends and into
 * the one that starts (broker/kept.h).
 *
 * Threads:   keeping_new/_free and the posting: the control thread; in between it is the io
 * thread's.
 * Ownership: the control thread's, but from the posting until `done` is delivered to it.
 * Errors:    -ENOMEM. What cannot go along is closed, with a line in the log.
 */
#include "broker/kept.h"
#include "rpc/io.h"

struct keeping {
    struct mail mail, done;
    struct io *io;
    struct kept kept;
    size_t n_sessions, n_sockets; /* that have come in */
    size_t n_lost;                /* sockets that could not */
};

NODISCARD int keeping_new(struct keeping **ret_keeping, struct io *io, void (*done)(struct mail *));
struct keeping *keeping_free(struct keeping *keeping);

/* All io threads are drained: its sessions go into keeping->kept. */
void keeping_post_leave(struct keeping *keeping);
/* Before any client comes: keeping->kept, grouped, becomes its sessions. */
void keeping_post_return(struct keeping *keeping);
