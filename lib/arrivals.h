#pragma once
/*
 * arrivals: descriptors that have come with the daemon's bytes and belong to answers that are not
 * read yet. Each answer with `fds: n` owns the next n. One that could not be received leaves a gap,
 * so that the others keep their places.
 *
 * Threads:   with the connection's lock held.
 * Ownership: they are owned here until they are given to a reply.
 * Errors:    arrivals_receive() as recv(2), with errno; arrivals_give() -ENOMEM.
 * Limits:    ARRIVALS_MAX at a time; as a descriptor comes with the first byte of its line, more
 * than one is not to be expected. EPROTO beyond.
 */
#include "lib/reply.h"
#include "proto/fds.h"

enum { ARRIVALS_MAX = 2 * FDS_MAX };

struct arrivals {
    int fds[ARRIVALS_MAX]; /* the oldest first; -1: it was lost */
    size_t n;
};

/* Receive without waiting, descriptors included. */
ssize_t arrivals_receive(struct arrivals *arrivals, int sock, void *data, size_t n);
/* Give the reply, whose line is there, what is its own. Returns 0 or -ENOMEM. */
int arrivals_give(struct arrivals *arrivals, struct tcpb_reply *reply);
void arrivals_deinit(struct arrivals *arrivals);
