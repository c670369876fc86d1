#pragma once
/*
 * turns: each user has his turn on an io thread. In one round of its loop (from one wait for events
 * to the next) the requests of one user are served for TURN_US or a little more; what he has beside
 * that waits in line, client by client, for the next round. So another's request waits for one turn
 * of each user at most, however many requests and connections somebody has.
 *
 * Time is not measured before something is counted: a client that sends a few short requests at a
 * time costs a plain addition for each.
 *
 * Threads:   the io thread only (asserted).
 * Ownership: a client in line is linked into its user's account_share, and that into the line of
 * the io thread.
 * Errors:    none.
 * Limits:    one request is never interrupted; between members of a batch it may be somebody
 * else's turn.
 */
#include <stdint.h>

#include "loop/loop.h"

struct client;
struct io;

enum {
    TURN_US = 1000,
    TURN_UNITS = 16,       /* the clock is read after so many of a user: a line, a call, or … */
    TURN_UNIT_BYTES = 8192 /* … so many bytes of either, or of answers */
};

/* Of an io thread; of a user there: struct account_turn. */
struct turns {
    uint64_t round;
    int64_t since_us; /* up to when time was charged to somebody; 0: not in this round yet */
    struct list line; /* users with clients that wait */
    struct mail next; /* goes on with them in the next round */
    bool posted;
    bool off; /* the daemon stops: all is served at once */
};

void turns_init(struct turns *turns);
/* The loop is about to wait for events. */
void turns_end_round(struct turns *turns);
/* Nothing waits from now on; what did is served. */
void turns_stop(struct io *io);

/* Is it this client's turn? False: it is in line, and client_take_turn() will be called. */
NODISCARD bool turns_may(struct client *client);
/* A line or a call of it was served; it had, or was answered with, so many bytes. */
void turns_count(const struct client *client, size_t n_bytes);
/* Is its turn over? If it has more, it must wait. */
bool turns_over(const struct client *client);
void turns_wait(struct client *client);
/* It has ended, or goes to another io thread. */
void turns_leave(struct client *client);
