#pragma once
/*
 * resolver_table: every question that waits, is being asked or has been answered lately, each once.
 * Who asks what is in it already joins the entry: that is the sharing; an entry that is kept for a
 * while after its answer is the cache.
 *
 *     waiting ──► running ──► slow (after slow_us)
 *       │ ▲         ▲ └────────┴──► known, or dropped when the answer is nothing to keep
 *       ▼ │         │
 *      behind ──────┘
 *
 * A question whose name hangs already for another family waits behind all others, and gets a thread
 * only while less than n_busy_max look-ups run: a bad name cannot take three times its share,
 * and yet somebody who asks for IPv4 only, because the name server is silent about IPv6, gets his
 * answer.
 *
 * And only while its payer has a thread left for another name. A question whose payer has his share
 * of the threads is held until he, or somebody else, has fewer (resolver_payer.h).
 *
 * Threads:   none of its own; the resolver calls it under its mutex. resolver_ask() works on a
 * running entry's answer without it: nothing here touches that until table_done().
 * Ownership: entries are the table's; their askers' links are those who joined.
 * Errors:    TABLE_E_FULL; TABLE_E_PAYER: he has as many as he may; -ENOMEM.
 * Limits:    n_waiting_max entries that wait; n_known_max that are known: the oldest makes room.
 */
#include <stdint.h>

#include "net/resolver_ask.h"
#include "net/resolver_payer.h"
#include "util/list.h"

enum { TABLE_E_FULL = 1, TABLE_E_PAYER };

enum table_state {
    TABLE_WAITING,
    TABLE_BEHIND,
    TABLE_HELD,
    TABLE_RUNNING,
    TABLE_SLOW,
    TABLE_KNOWN
};
enum { TABLE_N_STATES = TABLE_KNOWN + 1 };

struct table_settings {
    size_t n_waiting_max;
    size_t n_known_max;            /* 0: nothing is kept */
    int64_t known_us, negative_us; /* for how long; 0: not at all */
    int64_t slow_us;               /* a look-up that runs longer is slow */
    size_t n_busy_max;             /* see above */
    size_t n_threads_max;          /* that payers share */
};

struct table_entry {
    struct table_entry *next; /* in its bucket */
    struct list link;         /* among those of the same state, oldest first */
    enum table_state state;
    int64_t since_us; /* running: from; known: until */
    struct list askers;
    struct lookup_payer *payer;   /* waiting, running; NULL: nobody pays */
    struct lookup_answer *answer; /* a reference */
    struct question question;     /* its name is the one below */
    char name[];
};

struct resolver_table {
    struct table_settings settings;
    struct table_entry **buckets;
    size_t n_buckets; /* a power of two */
    uint64_t seed;
    struct list lists[TABLE_N_STATES]; /* by state; of struct table_entry */
    size_t n[TABLE_N_STATES];
};

NODISCARD int table_init(struct resolver_table *table, const struct table_settings *settings);
/* Nothing may wait or run any more. */
void table_deinit(struct resolver_table *table);

/* The entry, or NULL. What is known too long is forgotten. */
struct table_entry *table_find(struct resolver_table *table, const struct question *question,
                               int64_t now_us);
/* A new entry that waits; there must be none. payer: NULL, or who has less than n_payer_max yet. */
NODISCARD int table_ask(struct resolver_table *table, const struct question *question,
                        struct lookup_payer *payer, size_t n_payer_max,
                        struct table_entry **ret_entry);
/* Somebody else pays for an entry that waits or runs, whatever he has already; NULL: nobody. */
void table_pay(struct table_entry *entry, struct lookup_payer *payer);
/* The next to be asked, now running; NULL: there is none, or none that may be asked now. */
struct table_entry *table_take(struct resolver_table *table, int64_t now_us);
/* Its answer is there: keep it or not. Its askers must have left. */
void table_done(struct resolver_table *table, struct table_entry *entry, int64_t now_us);
/* An entry that does not run; nobody waits for it any more. */
void table_forget(struct resolver_table *table, struct table_entry *entry);

/* Find out which look-ups are slow by now. */
void table_age(struct resolver_table *table, int64_t now_us);
/* How many table_take() would give, as far as is known. */
size_t table_n_ready(const struct resolver_table *table);
/* When the next one becomes slow; INT64_MAX: none runs that is not. */
int64_t table_next_slow_us(const struct resolver_table *table);
