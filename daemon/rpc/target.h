#pragma once
/*
 * target: what a TCPConnect asks for: its parameters read into a target and a dial, and whether the
 * policy lets it.
 *
 * Threads:   the request's io thread only.
 * Ownership: nothing is kept.
 * Errors:    false: with *ret_fault, or the request was answered.
 */
#include "net/dial.h"
#include "rpc/police.h"
#include "rpc/request.h"

struct target {
    char host[256];         /* without brackets */
    struct address literal; /* n_bytes 0: a name */
    uint16_t port;          /* 0: a service name */
};

void target_read(const struct proto_tcp_connect_params *params, struct target *ret_target);
/* All that does not depend on the look-up. False: the request was answered. */
NODISCARD bool target_prepare(struct request *request, const struct target *target,
                              struct dial *dial);
/* The identity; port 0: not known yet. */
NODISCARD bool target_identity(const struct request *request, uint16_t port, struct dial *dial,
                               struct fault *ret_fault);

/* For the policy, when it concerns TCPConnect: may it pass, as far as is known before the look-up;
 * does it, now that there are addresses (those that are denied are left out); and may there be a
 * connection to just this one? The last without a word or count; also when there is no policy. */
NODISCARD bool target_may_pass(const struct request *request, struct target *target,
                               const char *what, struct fault *ret_fault);
NODISCARD bool target_passes(const struct request *request, struct dial *dial, const char *what,
                             struct fault *ret_fault);
NODISCARD bool target_lets(const struct request *request, struct target *target,
                           const struct address *address);
