#pragma once
/*
 * store: the service manager's file descriptor store (systemd.service(5), FileDescriptorStoreMax=;
 * sd_notify(3), FDSTORE=1): what was put there comes back with the next start of the daemon, also
 * after its death. While the store holds a descriptor a peer does not see that it was closed here,
 * so what is not wanted any more is dropped there, too.
 *
 * Names: s-NUMBER (broker/keep.h) a socket; d-... a door; tcpbroker-... what is known of them.
 *
 * Threads:   the control thread only.
 * Ownership: a descriptor that was taken is the caller's; store_deinit() closes and drops the
 * others.
 * Errors:    none: what the service manager does not want is lost with the process, as ever.
 * Limits:    those of the service manager.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct stored {
    int fd; /* -1: taken */
    char name[64];
};

struct store {
    struct stored *items;
    size_t n;
};

#define STORE_STATE  "tcpbroker-state"
#define STORE_LEDGER "tcpbroker-ledger"

/* Is that a name of ours? Others are sockets to listen on. */
bool store_is_ours(const char *name);
/* How many descriptors the store of this service takes (FDSTORE, or TCPBROKER_FDSTORE for the
 * systemd that does not say so); 0: there is none, or nobody knows. *ret_manager: there is a
 * service manager at all. */
uint32_t store_size(bool *ret_manager);

/* What has come back, before systemd_listen_fd(). Returns 0 or -errno. */
int store_init(struct store *store);
void store_deinit(struct store *store);
/* The first of that name; -1: there is none. */
int store_take(struct store *store, const char *name);

/* The fd stays the caller's. */
void store_put(const char *name, int fd);
void store_drop(const char *name);
/* Wait until the service manager has all of it. */
void store_settle(void);
