#pragma once
/*
 * connection: the socket to the daemon, its requests in flight, and who reads it.
 *
 * All reading and writing is done with the lock held and never waits; only the leader waits, in
 * poll(), without the lock. The leader is one of the threads that wait for an answer: it reads and
 * hands out the others' answers, and when it has its own, wakes another to lead. Reading goes on
 * while writing cannot, so client and daemon never wait for each other.
 *
 * Threads:   functions are called with broker->lock held, but for _open and _free.
 * Ownership: a pending belongs to who made it: on the stack of a blocking call; on the heap and the
 * connection's when submitted. Errors:    as for the functions of <tcpbroker.h>. A connection fails
 * once and for all; then every pending is done. Limits:    LINE_MAX_BYTES an answer; the queue of
 * bytes to send holds what was asked and not yet taken.
 */
#include <pthread.h>
#include <stdatomic.h>

#include "lib/arrivals.h"
#include "lib/events.h"
#include "lib/reply.h"
#include "lib/tcpbroker.h"
#include "proto/frame.h"
#include "proto/writer.h"

enum { CONNECTION_LINE_MAX = 64 * 1024 * 1024, CONNECTION_BUCKETS = 256 };

/* One request in flight. */
struct pending {
    struct pending *next_in_bucket;
    struct tcpb_reply
        *reply;    /* made with the request: an answer must not need memory to be handed out */
    size_t n_line; /* of the request */
    bool answered; /* reply is filled */
    bool done;     /* answered, or the connection failed */

    /* a blocking call */
    pthread_cond_t *wakeup; /* NULL: submitted */
    struct pending *next_waiter, *previous_waiter;

    /* submitted */
    tcpb_callback callback;
    void *userdata;
    struct pending *next_ready;
};

struct tcpb {
    pthread_mutex_t lock;
    uint64_t generation; /* label_generation() of the process it belongs to */
    int fd;
    int wake_fd;       /* eventfd: the leader shall look again */
    int poll_fd;       /* epoll of fd and ready_fd for tcpb_get_fd(); -1 until asked for */
    int ready_fd;      /* eventfd: callbacks are to be called; -1 until asked for */
    bool polls_output; /* poll_fd looks at fd for output too */
    atomic_int_fast64_t last_id;

    struct frame input;
    struct arrivals arrivals;
    struct event_queue events;
    struct writer output; /* what the socket did not take yet */
    struct pending *buckets[CONNECTION_BUCKETS];
    struct pending *waiters;                  /* blocking calls */
    struct pending *leader;                   /* of them; polls without the lock */
    struct pending *first_ready, *last_ready; /* done, callback to be called */

    bool failed;
    struct tcpb_error failure;
};

int connection_new(struct tcpb **ret_broker, const char *path, struct tcpb_error *error);
/* Nothing may be in flight, unless this is a forked child. */
struct tcpb *connection_free(struct tcpb *broker);

/* Register and send (as much as the socket takes). Fails only when the connection has failed. */
int connection_send(struct tcpb *broker, struct pending *pending, const struct writer *line,
                    struct tcpb_error *error);
/* Write and read what can be, hand out answers. */
void connection_process(struct tcpb *broker);
/* Wait until a blocking call's pending is done. */
void connection_wait(struct tcpb *broker, struct pending *pending);
/* The end: nothing is sent or read any more, every pending is done. */
void connection_fail(struct tcpb *broker, const struct tcpb_error *why);
/* The next submitted request that is done, or NULL. It is the caller's now. */
struct pending *connection_take_ready(struct tcpb *broker);
/* Make poll_fd. Returns 0 or -errno. */
int connection_make_poll_fd(struct tcpb *broker);
