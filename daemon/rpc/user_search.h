#pragma once
/*
 * user_search: the number and the groups of a user by name or number, from the system's databases.
 * That may take its time (nsswitch.conf(5)), so a worker of libuv's does it.
 *
 * Threads:   the io thread that begins it; on_found is called there, once.
 * Ownership: the search is the caller's, and stays where it is until on_found.
 * Errors:    failed. The way back cannot fail. The io thread does not end before.
 * Limits:    256 groups; with more than that the first of them, and more_gids.
 */
#include <sys/types.h>

#include "rpc/io.h"

struct user_search {
    uv_work_t work;
    struct io *home;
    void (*on_found)(struct user_search *search);
    char name[256];
    bool is_number;
    /* what was found */
    uid_t uid;
    gid_t gids[256];
    int n_gids;
    bool more_gids;
    int failed; /* errno; -1: there is no such user. A number needs no name to be one. */
};

/* Is it a user's number? */
bool user_search_number(const char *text, uid_t *ret_uid);
void user_search_begin(struct user_search *search, struct io *io, const char *user);
