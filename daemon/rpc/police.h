#pragma once
/*
 * police: the policy's questions and answers for io threads: who asks is found out, a refusal
 * becomes a fault, what was decided is counted, and told to the log once a second for each rule at
 * most.
 *
 *     struct police police;
 *     if (police_request(&police, request)) {
 *         police.question.… = …;
 *         if (!police_name(&police, host, "TCPConnect to …", &fault)) …
 *
 * What passes before a look-up is to be asked about again when there are addresses.
 *
 * Threads:   the thread that it is used on; it lives on the stack, as long as its snapshot.
 * Ownership: everything is borrowed.
 * Errors:    false with a fault, in stage policy, whose rule is borrowed from the snapshot.
 */
#include "broker/policy.h"
#include "net/hostname.h"
#include "rpc/fault.h"

struct request;

struct police {
    const struct policy *policy;
    struct policy_question question;
    long long uid; /* for the log; -1: unknown */
    pid_t pid;
    const char *host; /* as it was asked for; for the log; NULL: none */
    bool is_literal;  /* that is an address */
    struct credentials_user user;
    char wire[HOSTNAME_WIRE_MAX];
};

/* May anything be forbidden of it? The rest is for then only. */
static inline bool police_concerns(const struct policy *policy, enum method method)
{
    return policy && policy->concerns[method];
}

/* Who asks: a client, by its request; whoever is at the other end of fd (-1: nobody knows); or
 * anyone, when it is done for later. */
void police_request(struct police *police, const struct request *request);
void police_peer(struct police *police, const struct policy *policy, enum method method, int fd);
void police_anyone(struct police *police, const struct policy *policy, enum method method);
/* What is asked for: a name, or an address literal (then question.host stays NULL). Without
 * brackets. */
void police_host(struct police *police, const char *host);

/* Judge what is known: true unless it is denied for sure. what: as for faults. */
NODISCARD bool police_passes(struct police *police, const char *what, struct fault *ret_fault);
/* The same for one address, without counting and telling. */
NODISCARD bool police_lets(struct police *police, const struct address *address);
/* Judge each address, with its port, and leave out those that are denied; false: all are. */
NODISCARD bool police_addresses(struct police *police, struct address *addresses, size_t *n,
                                const char *what, struct fault *ret_fault);
/* An answer as a fault; for who judges himself. */
void police_fault(const struct police *police, const struct policy_answer *answer, const char *what,
                  struct fault *ret_fault);
/* A method that is no more than a name to the policy. Returns false when it was answered. */
NODISCARD bool police_passes_call(struct request *request);
