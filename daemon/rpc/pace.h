#pragma once
/*
 * pace: how often a user may do something (account_pace()), for requests and passages.
 *
 * Threads:   the io thread only.
 * Errors:    a fault that names the limit and says when it may be tried again.
 */
#include "rpc/fault.h"

struct request;

/* One of these now? False, with *ret_fault: not yet. what: what was tried. */
NODISCARD bool pace_account(struct account *account, enum account_rate rate,
                            const struct account_limits *limits, const char *what,
                            struct fault *ret_fault);
/* The same for the request's user. False: it was answered. */
NODISCARD bool pace_request(struct request *request, enum account_rate rate);
