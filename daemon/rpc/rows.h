#pragma once
/*
 * rows: sockets as copies that may leave their thread, for the lists of answers.
 *
 * Threads:   whoever holds it; rows_add_*(): the io thread of what is added.
 * Ownership: rows_init()/rows_deinit(); rows_items() is free()d by its caller and points into the
 * rows.
 * Errors:    sticky: no_memory.
 */
#include "broker/session.h"
#include "proto/methods.h"

struct io;
struct row;

/* Which are wanted. */
struct rows_filter {
    bool by_uid;
    int64_t uid;    /* -1: who is unknown */
    char state[16]; /* "": any */
};

struct rows {
    struct row *rows;
    size_t n, capacity;
    bool no_memory;
    struct rows_filter filter;
};

#define ROWS_INIT ((struct rows){0})

void rows_deinit(struct rows *rows);
void rows_add_session(struct rows *rows, const struct session *session);
/* All sockets of that io thread, those on offer included. */
void rows_add_io(struct rows *rows, const struct io *io);
/* Sorted by number. Returns 0 or -ENOMEM, also when adding has failed for that. */
NODISCARD int rows_items(struct rows *rows, struct proto_socket_row **ret_items);
