#pragma once
/*
 * door_plan: from a configuration to the doors that there shall be: where each listens, who may
 * come in, where it leads. Nothing is opened yet.
 *
 * Threads:   any; it asks the system for groups and services, so a reload does it on a worker.
 * Ownership: the plan is the caller's; door_plan_free().
 * Errors:    an exit status, 1 (failure) or 2 (wrong configuration), with the reason in words.
 * Limits:    DOORS_MAX.
 */
#include <sys/types.h>

#include "app/app.h"
#include "config/value.h"
#include "rpc/credentials.h"
#include "rpc/route.h"

enum { DOORS_MAX = CONFIG_MAX_NAMED + 4 };

struct door_wish {
    char listen[CONFIG_MAX_SOCKET + 1]; /* a path, or 127.0.0.1:PORT or [::1]:PORT */
    struct config_door where;
    mode_t mode;
    gid_t group; /* (gid_t)-1: the daemon's own */
    struct route *route;
};

struct door_plan {
    size_t n;
    struct door_wish wishes[DOORS_MAX];
};

/* Returns 0, or the status with *ret_plan untouched. */
NODISCARD int door_plan_new(struct door_plan **ret_plan, const struct config *config,
                            const struct credentials *credentials,
                            const struct app_options *options, char *reason, size_t n_reason);
struct door_plan *door_plan_free(struct door_plan *plan);
