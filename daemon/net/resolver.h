#pragma once
/*
 * resolver: a pool of threads that run one blocking getaddrinfo(3)/getnameinfo(3) each, with a
 * bounded queue. libuv's own pool runs only half its threads on look-ups and shares them with
 * files.
 *
 * A look-up is a message: resolver_post() moves it into the pool, its `done` mail brings it back to
 * reply_to, always exactly once, also when it was abandoned (then as soon as a thread gets to it; a
 * look-up that has not started is not started any more).
 *
 * Threads:   resolver_post(): any. lookup_abandon(): the thread that posted it. new/stop/free:
 * control thread. Ownership: the struct lookup belongs to the pool from post to delivery of its
 * mail; addresses inside belong to it. Errors:    in the lookup: gai, sys_errno; RESOLVER_E_FULL
 * from post (the lookup stays the caller's). Limits:    queue length; addresses per look-up
 * LOOKUP_ADDRESSES_MAX.
 */
#include <stdatomic.h>

#include "loop/loop.h"
#include "net/address.h"

enum { RESOLVER_E_FULL = 1, RESOLVER_E_STOPPED };
enum { LOOKUP_ADDRESSES_MAX = 64 };

struct resolver;

enum lookup_kind {
    LOOKUP_ADDRESSES, /* name (and service) -> addresses */
    LOOKUP_NAME,      /* address -> name */
    LOOKUP_SELF,      /* this host's own name -> addresses (gethostname(2), then as above) */
};

struct lookup {
    struct mail done; /* set done.deliver before posting */
    void *context;    /* the poster's */
    struct loop *reply_to;
    enum lookup_kind kind;
    int family;             /* AF_UNSPEC, AF_INET, AF_INET6 */
    char host[256];         /* ADDRESSES: name or literal without brackets */
    char service[66];       /* ADDRESSES: port number or service name; "": none */
    struct address address; /* NAME: asks for this */
    /* results */
    int gai; /* 0 or EAI_*; EAI_SYSTEM with sys_errno */
    int sys_errno;
    char name[1026]; /* NAME */
    struct address *addresses;
    size_t n_addresses;
    int64_t took_us;
    /* inside */
    struct list link;
    atomic_bool abandoned;
};

NODISCARD int resolver_new(struct resolver **ret_resolver, unsigned n_threads, size_t n_queue_max);
/* No look-up is started any more; waiting ones come back with EAI_AGAIN at once. */
void resolver_stop(struct resolver *resolver);
/* Wait at most wait_ms for the threads to end (one may hang inside the system's resolver, which
 * cannot be interrupted). Returns true when all have ended and the resolver is freed; false: it is
 * left behind, and the process should end soon. */
NODISCARD bool resolver_free(struct resolver **resolver, unsigned wait_ms);

NODISCARD int resolver_post(struct resolver *resolver, struct lookup **lookup);
/* Nobody waits for it any more: it will come back, but need not be worked on. */
void lookup_abandon(struct lookup *lookup);
struct lookup *lookup_free(struct lookup *lookup);
