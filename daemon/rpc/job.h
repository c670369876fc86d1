#pragma once
/*
 * job: what a request has under way on other threads: a look-up, then perhaps a dial. The job
 * outlives its request: when nobody waits for it any more, what comes back is thrown away here.
 *
 * Threads:   the request's io thread only. What travels is the struct lookup or struct dial, never
 * the job. Ownership: a job frees itself when the last thing it has sent out has come back and
 * nobody waits for it. Errors:    -ENOMEM from job_new(); FLIGHT_E_*.
 */
#include "rpc/flight.h"
#include "rpc/request.h"

struct job {
    struct request *request; /* NULL: nobody waits any more */
    struct flight flight;
    struct dial *dial; /* prepared, not sent yet */
    /* The request was not withdrawn meanwhile. They own what they get and must answer or go on. */
    void (*on_lookup)(struct request *request, struct lookup *lookup);
    void (*on_dial)(struct request *request, struct dial *dial);
    /* The request is being withdrawn: undo what was prepared for it; fault as in request->withdraw.
     * NULL: nothing. */
    void (*on_withdraw)(struct request *request, struct fault *fault);
};

/* Makes the request's job; request->withdraw then takes care of it. */
NODISCARD int job_new(struct request *request);
/* Send it out. Takes *lookup. */
NODISCARD int job_lookup(struct job *job, struct lookup **lookup);
/* Send the prepared dial out. */
void job_dial(struct job *job);
/* The request is about to be answered: it has no job any more. */
void job_done(struct request *request);
