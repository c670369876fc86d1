#pragma once
/*
 * policy: who may reach what. Rules in order, the first that fits decides; what none decides the
 * preset decides. Judged is first what is known before a look-up, then each address that it gave.
 *
 * - A condition about something that a question does not have (a name, for an address literal; a
 *   port, for a look-up) is not met. One about something not known yet leaves it open.
 * - A rule without methods is about those of policy_is_about(); others are met by their names only.
 * - Each form of an address is judged (net/address_scope.h): denied in one, it is denied.
 * - A rule that lets pass without a condition on addresses leaves the preset in force: who may
 *   choose what a name leads to does not open this host's network by that.
 * - Listening on all addresses is judged as on each: a rule that denies one of them fits, one that
 *   allows must allow the unspecified address.
 *
 * Threads:   made by one thread, then immutable as the snapshot that it is in; counters are relaxed
 * atomics, policy_judge() any thread. It asks nothing but own().
 * Ownership: policy_free(); a question borrows all that it points to.
 * Errors:    -errno of own(); the verdict is DENY then.
 */
#include <netinet/in.h>
#include <stdatomic.h>
#include <sys/types.h>

#include "net/address_scope.h"
#include "proto/methods.h"
#include "util/seldom.h"

enum policy_preset { POLICY_OPEN, POLICY_INTERNET, POLICY_INTRANET };
const char *policy_preset_name(enum policy_preset preset);

enum policy_verdict {
    POLICY_ALLOW,
    POLICY_DENY,
    POLICY_REPORT, /* lets pass, with a line in the log */
    POLICY_UNSURE, /* the address must be known; no rule has this */
};
const char *policy_verdict_name(enum policy_verdict verdict);

/* Addresses: ranges, of which both ends belong to them, and whole scopes. */
struct policy_range {
    bool v6;
    struct in6_addr first, last; /* of IPv4 the last four bytes */
};
struct policy_addresses {
    struct policy_range *ranges;
    size_t n_ranges;
    unsigned scopes; /* 1 << SCOPE_*; SCOPE_PUBLIC without those of this host */
    bool own;        /* those of this host */
    bool any;        /* there is no condition */
};
struct policy_ports {
    struct policy_port_range {
        uint16_t first, last;
    } * ranges;
    size_t n_ranges;
};
struct policy_host {
    char *name; /* in small letters, A-labels, no dot at the end */
    bool below; /* the names below it, not itself */
};

enum policy_condition { POLICY_ANY, POLICY_YES, POLICY_NO };

struct policy_rule {
    char *name;
    char *conditions; /* as they were written, for people */
    size_t line;      /* of the file; 0: it has none */
    enum policy_verdict verdict;
    bool for_some; /* uids and gids are a condition */
    uid_t *uids;
    gid_t *gids;
    size_t n_uids, n_gids;
    bool methods_given;
    bool methods[METHOD_N];
    struct policy_host *hosts;
    size_t n_hosts;
    struct policy_addresses addresses, listen_addresses;
    struct policy_ports ports, listen_ports;
    enum policy_condition secure, verify;
    char **identities;
    size_t n_identities;
    /* how often it has decided, and what the log was told of that (rpc/police.c) */
    _Atomic uint64_t hits;
    struct seldom tellings;
};

struct policy {
    enum policy_preset preset;
    char *file; /* "--set": without one */
    struct policy_rule *rules;
    size_t n_rules;
    bool needs_groups;       /* of who asks */
    bool concerns[METHOD_N]; /* false: nothing is forbidden of it, no need to ask */
    int (*own)(const struct address *address);
    /* of the preset, as of a rule */
    _Atomic uint64_t preset_hits;
    struct seldom preset_tellings;
};

/* Is a rule without methods about it? */
bool policy_is_about(enum method method);
/* Fills concerns and needs_groups, when all rules are there. */
void policy_finish(struct policy *policy);
struct policy *policy_free(struct policy *policy); /* NULL is fine, returns NULL */

enum policy_who {
    POLICY_USER,     /* user is known */
    POLICY_STRANGER, /* it may be anybody: rules for some deny him, and allow him nothing */
    POLICY_ANYONE,   /* it is done for whoever may: the other way round */
};

struct policy_question {
    enum method method;
    enum policy_who who;
    uid_t uid;
    const gid_t *gids;
    size_t n_gids;
    bool more_gids;   /* he has more groups than these */
    const char *host; /* as in struct policy_host; NULL: an address, or there is none */
    const struct address *address; /* the other side's; NULL: none, or not known yet */
    uint16_t port;                 /* the other side's; 0: none, or not known yet */
    bool no_address_yet, no_port_yet, no_listen_port_yet;
    bool secure, verify;
    const char *identity;                 /* NULL: none */
    const struct address *listen_address; /* NULL: none */
    uint16_t listen_port;
};

struct policy_answer {
    enum policy_verdict verdict;
    struct policy_rule
        *rule;           /* that has decided; NULL: the preset, or nothing had anything to say */
    struct address form; /* what was denied is in the address as this; n_bytes 0: no address */
    enum address_scope scope;   /* of that */
    bool own;                   /* the preset has denied it as one of this host */
    struct policy_rule *passed; /* the preset has denied what this rule would let pass */
};

int policy_judge(const struct policy *policy, const struct policy_question *question,
                 struct policy_answer *ret_answer);
