#pragma once
/*
 * dial_race: the addresses of one dial against each other: sockets, options, connect(2), by the
 * decisions of dial_plan, until one is connected or all have failed.
 *
 * Threads:   the loop's.
 * Ownership: embedded in a dial's job; race_deinit() closes what still runs. The winner's fd moves
 * to on_end.
 * Errors:    to on_end, as an errno.
 */
#include "net/dial.h"
#include "net/dial_plan.h"
#include "net/watch.h"

struct race;

struct attempt {
    struct race *race;
    struct watch *watch;
    int fd; /* -1: not running */
    unsigned number;
    int64_t started_ms;
};

struct race {
    struct loop *loop;
    const struct dial_settings *settings;
    const struct dial *dial; /* addresses, local */
    struct net_error *error; /* attempts are recorded here, in the order of their start */
    struct dial_plan plan;
    struct timer stagger;
    struct attempt attempts[NET_ATTEMPTS_MAX];
    int worst; /* the errno that tells most, so far */
    bool ended;
    /* fd >= 0: connected, the receiver's; else sys_errno. Called once, may be within race_start();
     * may deinit the race */
    void (*on_end)(struct race *race, int fd, int sys_errno);
};

void race_start(struct race *race, struct loop *loop, const struct dial_settings *settings,
                const struct dial *dial, struct net_error *error,
                void (*on_end)(struct race *race, int fd, int sys_errno));
/* Fine at any time after race_start(), and twice. Pending attempts get their time recorded. */
void race_deinit(struct race *race);
