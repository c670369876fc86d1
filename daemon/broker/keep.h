#pragma once
/*
 * keep: where sockets of durable sessions are kept while the daemon is replaced: their descriptors
 * with the service manager, which the control thread tells, and what is known of them in the
 * ledger. An item is one socket's part of both; what it is told goes there by its own two mails.
 *
 * Threads:   keep_item_new/_free: any. An item's calls: the io thread of its socket (the ledger's
 * words by it, too). put, drop: the control thread.
 * Ownership: a struct keep is the app's, and outlives all io threads. keep_item_drop() takes the
 * item.
 * Errors:    -errno.
 * Limits:    max_stored descriptors with the service manager; one more is not stored.
 */
#include "broker/ledger.h"
#include "loop/loop.h"

struct keep {
    struct loop *control;
    struct ledger *ledger;
    void (*put)(void *context, const char *name, int fd); /* fd stays the caller's */
    void (*drop)(void *context, const char *name);
    void *context;
    _Atomic uint32_t n_stored;
    uint32_t max_stored;
};

enum { KEEP_NAME_SIZE = 16 };

struct keep_item {
    struct keep *keep;
    struct mail put, drop;
    int fd;      /* on its way to the store */
    bool stored; /* the store has it, or will have */
    size_t slot; /* of the ledger, or LEDGER_NONE */
    size_t clock;
    char name[KEEP_NAME_SIZE];
};

/* The name of a socket's descriptor in the store. */
const char *keep_name(char *name, uint32_t number);
/* The number in such a name; 0: it is none. */
uint32_t keep_number(const char *name);

/* stored: the store has it already. */
NODISCARD int keep_item_new(struct keep *keep, uint32_t number, bool stored,
                            struct keep_item **ret_item);
/* Give a second descriptor of the same socket to the store; what goes wrong is logged. */
void keep_item_store(struct keep_item *item, int fd);
/* What is known of the socket now, for the thread with that clock. */
void keep_item_write(struct keep_item *item, size_t clock, const struct kept_socket *socket);
/* The words that follow its bytes; NULL: there are none. */
struct ledger_live *keep_item_live(struct keep_item *item);
/* It is not kept any more: the store drops its descriptor, the ledger its slot. NULL is fine,
 * returns NULL. */
struct keep_item *keep_item_drop(struct keep_item *item);
/* The daemon stops and the store keeps it. Tells whether it has. NULL is fine. */
bool keep_item_leave(struct keep_item *item);

/* A durable session's slot: taken with the first writing. */
void keep_write_session(struct keep *keep, size_t *slot, size_t clock,
                        const struct kept_session *session);
void keep_drop_session(struct keep *keep, size_t *slot);
