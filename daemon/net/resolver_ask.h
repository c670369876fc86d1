#pragma once
/*
 * resolver_ask: one question to the system's resolver (hosts file, name servers, whatever
 * nsswitch.conf(5) says), and its answer, which is immutable and counted once it is given out.
 *
 * Threads:   resolver_ask() blocks, perhaps for minutes; on the resolver's threads only. An
 * answer's count may be changed by any thread. Ownership: lookup_answer_new() gives the first
 * reference; the last one frees. Errors:    in the answer: gai, sys_errno. lookup_answer_new():
 * NULL without memory. Limits:    LOOKUP_ADDRESSES_MAX addresses.
 */
#include <stdatomic.h>

#include "net/address.h"

enum { LOOKUP_ADDRESSES_MAX = 64 };

enum question_kind {
    QUESTION_ADDRESSES, /* name (as hostname_wire() has it) -> addresses of a family, or of all */
    QUESTION_NAME,      /* name is an address in text form -> its name */
    QUESTION_PORT,      /* name of a TCP service -> its port */
};

/* What two who ask must have in common to share an answer. */
struct question {
    enum question_kind kind;
    int family; /* ADDRESSES: AF_UNSPEC, AF_INET, AF_INET6; else AF_UNSPEC */
    const char *name;
};

struct lookup_answer {
    atomic_uint n_references;
    int gai; /* 0 or EAI_*; EAI_SYSTEM with sys_errno */
    int sys_errno;
    struct address *addresses; /* ADDRESSES: each once, in the resolver's order, without a port */
    size_t n_addresses;
    char *name;    /* NAME */
    uint16_t port; /* PORT */
};

struct lookup_answer *lookup_answer_new(void);
struct lookup_answer *lookup_answer_ref(struct lookup_answer *answer);
struct lookup_answer *lookup_answer_unref(struct lookup_answer *answer);
/* Does it say something about the name that will hold for a while? (Not: nobody answered.) */
bool lookup_answer_is_negative(const struct lookup_answer *answer);

void resolver_ask(const struct question *question, struct lookup_answer *answer);
