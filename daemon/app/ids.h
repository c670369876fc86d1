#pragma once
/*
 * ids: the numbers of users and groups by their names, from the system's databases.
 *
 * Threads: any; it may read files and ask servers (nsswitch.conf(5)), so not one that must not
 * wait. Errors:  -ENOMEM. Whom the system does not know, or cannot ask for, is not known.
 */
#include <stdbool.h>
#include <stdint.h>

#include "util/assert.h"

NODISCARD int ids_find_user(const char *name, uint32_t *ret_id, bool *ret_known);
NODISCARD int ids_find_group(const char *name, uint32_t *ret_id, bool *ret_known);
