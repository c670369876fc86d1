#pragma once
/*
 * route: where the connections through one door lead: a tunnel's destination and how to reach it,
 * or, for SOCKS, wherever they ask for.
 *
 * Threads:   any; immutable once made, with counted references. What began by one ends by it, also
 * when a reload has put another in its place.
 * Ownership: the profile and the identity are references of its own.
 */
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "net/identity.h"
#include "net/trust.h"

/* How much a door was used; goes on when a reload gives it another route. */
struct route_counts {
    atomic_uint references;
    atomic_llong now, total, failed; /* relaxed */
};

struct route {
    atomic_uint references;
    struct route_counts *counts; /* a reference */
    char *name;   /* "tunnel database", "socks": as the log and Broker.List have it */
    bool metrics; /* it leads nowhere: the metrics are given there (app/scrapes.h); nothing else
                     counts */
    bool socks;   /* then nothing but the two times and max_clients counts */
    char host[256];
    uint16_t port;
    bool secure, verify;
    char server_name[256];
    unsigned char alpn[TRUST_ALPN_MAX]; /* wire form */
    size_t n_alpn;
    struct trust *trust;       /* secure only */
    struct identity *identity; /* or NULL. Whoever may come in may present it. */
    int64_t timeout_ms;        /* 0: connect.timeout */
    int64_t handshake_ms;
    int64_t max_clients; /* over all doors of SOCKS */
};

/* One reference. NULL: out of memory. */
struct route *route_new(const char *name);
struct route *route_ref(struct route *route);
/* NULL is fine, returns NULL. */
struct route *route_unref(struct route *route);

/* It is about to follow another one, before anybody else knows it: goes on with its counts. */
void route_follow(struct route *route, const struct route *before);

/* A connection has reached nobody. */
void route_failed(const struct route *route);
/* A connection begins, or ends: a reference, and counted. */
struct route *route_enter(struct route *route);
struct route *route_leave(struct route *route);
