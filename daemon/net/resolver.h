#pragma once
/*
 * resolver: look-ups of names, addresses and services by the system's resolver (hosts file, name
 * servers, nsswitch.conf(5)), on threads of its own: libuv's pool runs only half its threads on
 * look-ups and shares them with files.
 *
 * A look-up is a message: resolver_post() moves it into the resolver, its `done` mail brings it
 * back to reply_to, always exactly once and never inside resolver_post().
 *
 * Sharing: who asks what is being asked already waits for that answer; who asks what was answered
 * lately gets the answer at once. Two names are the same when hostname_wire() makes them the same;
 * the family belongs to the question, the service does not.
 *
 * Waiting: an abandoned look-up comes back at once. A running getaddrinfo(3) cannot be stopped and
 * is not: it goes on without anybody who waits, and what it finds is kept for the next who asks.
 *
 * Threads that hang are replaced (resolver_policy.h), so that names that do not answer delay names
 * that do by a fraction of a second at most, as long as n_threads_max allows.
 *
 * Threads:   resolver_post(): any. lookup_abandon(): the thread that posted it, before it is back.
 * new/stop/free: control thread.
 * Ownership: the struct lookup belongs to the resolver from post to delivery of its mail; addresses
 * inside belong to it.
 * Errors:    in the lookup: gai, sys_errno; RESOLVER_E_* from post (the lookup stays the caller's).
 * Limits:    n_queue_max questions that wait for a thread; each payer's (resolver_payer.h): who
 * joins a question that is there, or is given what is known, does not count; n_cache_max answers
 * that are kept.
 */
#include "loop/loop.h"
#include "net/hostname.h"
#include "net/resolver_ask.h"
#include "net/resolver_payer.h"

enum {
    RESOLVER_E_FULL = 1,
    RESOLVER_E_STOPPED,
    RESOLVER_E_PAYER, /* as many of the payer's wait or run as may */
};

struct resolver;
struct table_entry;

struct resolver_settings {
    unsigned n_threads;     /* for look-ups that answer */
    unsigned n_threads_max; /* in all; less than n_threads: as many as these */
    size_t n_queue_max;
    size_t n_cache_max;                  /* 0: nothing is kept */
    int64_t cache_ms, negative_cache_ms; /* 0: such answers are not kept */
    int64_t slow_ms;                     /* 0: RESOLVER_SLOW_MS */
    /* For tests: asks instead of resolver_ask(). */
    void (*ask)(const struct question *question, struct lookup_answer *answer);
};

/* Many names that answer do so in less, and taking one that does not for slow costs a thread or
 * two, for a while. */
enum { RESOLVER_SLOW_MS = 25 };

enum lookup_kind {
    LOOKUP_ADDRESSES, /* name (and service) -> addresses */
    LOOKUP_NAME,      /* address -> name */
    LOOKUP_SELF,      /* this host's own name -> addresses (gethostname(2), then as above) */
};

enum lookup_source {
    LOOKUP_GIVEN,  /* needed nobody: an address, or nothing that could be asked for */
    LOOKUP_ASKED,  /* the system's resolver was asked */
    LOOKUP_SHARED, /* it had been asked already, for somebody else */
    LOOKUP_CACHED, /* it had answered lately */
};

struct lookup {
    struct mail done; /* set done.deliver before posting */
    void *context;    /* the poster's */
    struct loop *reply_to;
    enum lookup_kind kind;
    int family;                 /* AF_UNSPEC, AF_INET, AF_INET6 */
    char host[256];             /* ADDRESSES: name or literal without brackets */
    char service[66];           /* ADDRESSES: port number or service name; "": none */
    struct address address;     /* NAME: asks for this */
    struct lookup_payer *payer; /* for whom; NULL: it is not counted */
    size_t n_payer_max;         /* questions of his that may wait or run, this one included */
    /* results */
    int gai; /* 0 or EAI_*; EAI_SYSTEM with sys_errno */
    int sys_errno;
    char name[1026]; /* NAME; SELF: the host's own */
    struct address *addresses;
    size_t n_addresses;
    int64_t took_us; /* from post to the answer */
    enum lookup_source source;
    /* inside */
    struct list link; /* among an entry's askers, or ready to be delivered */
    struct resolver *resolver;
    struct table_entry *entry; /* under the resolver's mutex; NULL: on its way back */
    struct lookup_answer *answer;
    struct question question; /* its next one; the name is wire or service */
    char wire[HOSTNAME_WIRE_MAX];
    uint16_t port;
};

NODISCARD int resolver_new(struct resolver **ret_resolver,
                           const struct resolver_settings *settings);
/* No look-up is taken any more; all that are there come back with EAI_AGAIN at once. */
void resolver_stop(struct resolver *resolver);
/* Wait at most wait_ms for the threads to end (one may hang inside the system's resolver, which
 * cannot be interrupted). Returns true when all have ended and the resolver is freed; false: it is
 * left behind, and the process should end soon. */
NODISCARD bool resolver_free(struct resolver **resolver, unsigned wait_ms);

NODISCARD int resolver_post(struct resolver *resolver, struct lookup **lookup);
/* Nobody waits for it any more: it comes back at once, with EAI_AGAIN unless the answer was on its
 * way already. */
void lookup_abandon(struct lookup *lookup);
/* Any thread. The mail is delivered on the thread that watches over the others, soon; after
 * resolver_stop() at once, by the caller. One at a time. A sign that this thread is alive. */
void resolver_visit(struct resolver *resolver, struct mail *mail);
struct lookup *lookup_free(struct lookup *lookup);

/* How many questions wait for a thread, are being asked, and how many of the latter have been for
 * longer than slow_ms; and how many threads there are. Any thread. */
struct resolver_load {
    size_t n_waiting, n_running, n_slow, n_threads;
};
void resolver_load(struct resolver *resolver, struct resolver_load *ret_load);
