#pragma once
/*
 * consult: a request that asks the control thread: a message goes there and comes home, where the
 * request waits. Embedded in what travels. A request that is withdrawn meanwhile is not answered;
 * the message comes home all the same, and the io thread is not drained before.
 *
 * Threads:   the request's io thread only (asserted); what travels is the caller's.
 * Ownership: the caller allocates what travels, and frees it when it is back.
 * Errors:    none.
 */
#include "rpc/request.h"

struct consult {
    struct io *home;
    struct request *request; /* NULL: nobody waits any more */
};

/* mail: what goes to the control thread; consult is part of the same. */
void consult_control(struct consult *consult, struct request *request, struct mail *mail);
/* It is back: who waits for the answer, or NULL. */
struct request *consult_back(struct consult *consult);
/* The answer is given, and what has travelled is freed; home: consult->home as it was. */
void consult_over(struct io *home);
