#pragma once
/*
 * dial_race: the addresses of one dial against each other: sockets, options, connect(2), by the
 * decisions of dial_plan, until one is connected or all have failed. Those that keep refusing
 * (net/backoff.h) are left out; with a local address of the caller's own backoff is not looked at
 * and learns nothing: what is refused one way need not be refused another.
 *
 * Threads:   the loop's.
 * Ownership: embedded in a dial's job; race_deinit() closes what still runs. The winner's fd moves
 * to on_end.
 * Errors:    to on_end, as an errno.
 */
#include "net/backoff.h"
#include "net/dial.h"
#include "net/dial_plan.h"
#include "net/watch.h"

struct race;

struct attempt {
    struct race *race;
    struct watch *watch;
    int fd; /* -1: not running */
    unsigned number;
    int64_t started_us;
};

struct race {
    struct loop *loop;
    const struct dial_settings *settings;
    struct backoff *backoff; /* NULL: not used */
    const struct dial *dial; /* addresses, local */
    /* attempts are recorded here: those that are left out, then the others as they start */
    struct net_error *error;
    struct dial_plan plan;
    struct timer stagger;
    struct attempt attempts[NET_ATTEMPTS_MAX];
    int worst; /* the errno that tells most, so far */
    struct address left_out[NET_ATTEMPTS_MAX];
    unsigned n_left_out;
    struct backoff_pause pause; /* the shortest of theirs */
    bool ended;
    struct address from, to; /* of the winner */
    int nowhere;             /* -errno: they cannot be told */
    /* fd >= 0: connected, the receiver's; else sys_errno. Called once, may be within race_start();
     * may deinit the race */
    void (*on_end)(struct race *race, int fd, int sys_errno);
};

void race_start(struct race *race, struct loop *loop, const struct dial_settings *settings,
                struct backoff *backoff, const struct dial *dial, struct net_error *error,
                void (*on_end)(struct race *race, int fd, int sys_errno));
/* Fine at any time after race_start(), and twice. Pending attempts get their time recorded. */
void race_deinit(struct race *race);
