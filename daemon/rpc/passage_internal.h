#pragma once
/*
 * passage_internal: what passage.c (arriving, SOCKS, the program's side) and passage_reach.c (the
 * destination's side, the end) need of each other.
 *
 * Threads: as passage.h.
 */
#include "broker/session.h"
#include "net/socks5.h"
#include "rpc/fault.h"
#include "rpc/flight.h"
#include "rpc/passage.h"

struct watch;

enum passage_state {
    PASSAGE_ASKING,   /* SOCKS: where to? */
    PASSAGE_REACHING, /* look-up, dial */
    PASSAGE_OVER,     /* handed on, or failed: only the flight is waited for */
};

struct passage {
    struct list link; /* io->passages, until it is OVER */
    struct io *io;
    enum passage_state state;
    struct route *route; /* entered; NULL: handed on */
    struct passage_peer peer;
    struct account_share *share; /* its user's, until it is OVER */
    struct account_charge charge;
    int fd; /* the program's; -1: handed on, or closed */
    struct watch *watch;
    struct timer deadline;
    struct socks5 socks;
    char host[256]; /* the destination */
    uint16_t port;
    struct session *session; /* REACHING */
    struct socket *socket;
    struct flight flight;
    struct dial *dial; /* prepared, not sent yet */
    int64_t started_us;
};

/* To passage->host and port. The passage may be gone after that. */
void passage_reach(struct passage *passage);

/* For passage->flight and passage->deadline. */
void passage_on_lookup(struct flight *flight, struct lookup *lookup);
void passage_on_dial(struct flight *flight, struct dial *dial);
void passage_on_deadline(struct timer *timer);

/* Told, and counted; symbol: of the error, or what failed. */
void passage_log_failed(const struct passage *passage, const char *message, const char *symbol);
/* The last that the program is sent. */
void passage_send_last(struct passage *passage, const uint8_t *data, size_t n);
/* The passage is gone after these. reset: the program shall not take it for an orderly end. */
void passage_fail(struct passage *passage, const struct fault *fault);
void passage_fail_memory(struct passage *passage);
void passage_end(struct passage *passage, bool reset);
