#pragma once
/*
 * table: which socket numbers exist, and whose they are. The only thing about sockets that all
 * threads share: copies in, copies out. The socket itself is known to its io thread alone.
 *
 * A number is reserved when a socket is asked for and released when it is gone. Numbers count up
 * from 1 and are used again only after all 2^31 - 1 have been given out, so a stale number is no
 * socket, never somebody else's.
 *
 * Threads:   any. One leaf lock per shard; no call holds two.
 * Ownership: the table owns copies of the facts.
 * Errors:    TABLE_E_*; -ENOMEM.
 * Limits:    max_sockets numbers at once.
 */
#include <stdbool.h>
#include <stdint.h>

#include "util/assert.h"

enum {
    TABLE_E_FULL = 1, /* max_sockets are in use */
    TABLE_E_NONE,     /* no such socket */
};

/* Whose a socket is while it is on offer (TCPOffer): no session has that number. */
#define TABLE_NOBODY UINT64_MAX

struct table;

NODISCARD int table_new(struct table **ret_table, uint32_t max_sockets);
/* The table must be empty. */
struct table *table_free(struct table *table);

/* Take the next free number for a session. */
NODISCARD int table_reserve(struct table *table, uint64_t session, uint32_t *ret_number);
/* That very number, which a restart has brought along. TABLE_E_FULL, -EEXIST, -ENOMEM. */
NODISCARD int table_reserve_number(struct table *table, uint32_t number, uint64_t session);
void table_release(struct table *table, uint32_t number);
/* The socket of that number, which must be there, belongs to another session (or nobody) now. */
void table_move(struct table *table, uint32_t number, uint64_t session);
/* Whose is it? Returns 0 or TABLE_E_NONE. */
NODISCARD int table_session(struct table *table, uint32_t number, uint64_t *ret_session);
uint32_t table_count(struct table *table);
/* The number to be given out next; set before any is, or in tests. */
uint32_t table_next(struct table *table);
void table_set_next(struct table *table, uint32_t number);
