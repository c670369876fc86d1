#pragma once
/*
 * pools: the warm connections of a snapshot of the configuration: which TCPConnect may have one
 * ([pool "name"]), and giving it out. Filling them up is rpc/pool_keeper.h.
 *
 * A pool names the trust profile and the identity of its own snapshot, so a TCPConnect under
 * another one does not match, and a reload begins with empty shelves: what was verified before by
 * other certificates is never given out.
 *
 * Threads:   made by one thread, then immutable as the snapshot that it is in, but for the shelves,
 * which see to that themselves. pools_take() and pools_give_back(): io threads.
 * Ownership: pools_deinit() drops the references.
 * Errors:    none: a pool that has nothing to give is an ordinary connect.
 */
#include "broker/shelf.h"
#include "net/dial.h"
#include "net/hostname.h"

struct request;

struct pool {
    char *name;
    char host[HOSTNAME_WIRE_MAX]; /* "": address */
    struct address address;       /* with the port */
    uint16_t port;
    bool secure, verify;
    char server_name[HOSTNAME_WIRE_MAX]; /* secure: as the host unless given */
    unsigned char alpn[TRUST_ALPN_MAX];  /* wire form */
    size_t n_alpn;
    struct trust *trust;       /* secure: borrowed from the snapshot */
    struct identity *identity; /* or NULL; the same */
    struct shelf *shelf;       /* a reference */
};

struct pools {
    struct pool *pools;
    size_t n_pools;
};

void pools_deinit(struct pools *pools);

/* The shelf whose connections are as that dial would make one, or NULL. host: without brackets; the
 * dial is prepared but for its addresses. */
struct shelf *pools_match(const struct pools *pools, const char *host, uint16_t port,
                          const struct dial *dial);

/* A good one for the request's user, or NULL; who is missing one is told to the keeper. */
struct connection *pools_take(struct request *request, struct shelf *shelf,
                              struct shelf_tag *ret_tag);
/* Put one that was taken back as it was: the request may not have it after all. */
void pools_put_back(struct request *request, struct shelf *shelf, struct connection **connection,
                    const struct shelf_tag *tag);
/* Put the connection of the request's socket on its shelf. True: the socket has none any more;
 * *ret_reused: it rests there (else it was closed). False: there is no place, or it is not at rest.
 */
bool pools_give_back(struct request *request, bool *ret_reused);
