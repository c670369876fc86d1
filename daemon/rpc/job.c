#include "rpc/job.h"

#include <errno.h>
#include <stdlib.h>

static void free_when_idle(struct job *job)
{
    if (job->request || flight_is_out(&job->flight))
        return;
    dial_free(job->dial);
    free(job);
}

static void withdraw_job(struct request *request, struct fault *fault)
{
    struct job *job = request->op.job;

    flight_recall(&job->flight);
    if (job->on_withdraw)
        job->on_withdraw(request, fault);
    job_done(request);
}

static void on_lookup(struct flight *flight, struct lookup *lookup)
{
    struct job *job = container_of(flight, struct job, flight);

    if (job->request) {
        job->on_lookup(job->request, lookup);
        return;
    }
    lookup_free(lookup);
    free_when_idle(job);
}

static void on_dial(struct flight *flight, struct dial *dial)
{
    struct job *job = container_of(flight, struct job, flight);

    if (job->request) {
        job->on_dial(job->request, dial);
        return;
    }
    dial_free(dial);
    free_when_idle(job);
}

int job_new(struct request *request)
{
    struct job *job = calloc(1, sizeof(*job));
    if (!job)
        return -ENOMEM;
    job->request = request;
    job->flight = (struct flight){.loop = request->client->io->loop,
                                  .shared = request->client->io->shared,
                                  .account = request_session(request)->share->account,
                                  .n_lookups_max = request_session(request)->room->limits->lookups,
                                  .on_lookup = on_lookup,
                                  .on_dial = on_dial};
    request->op.job = job;
    request->withdraw = withdraw_job;
    return 0;
}

void job_done(struct request *request)
{
    struct job *job = request->op.job;
    request->op.job = NULL;
    request->withdraw = NULL;
    job->request = NULL;
    free_when_idle(job);
}

int job_lookup(struct job *job, struct lookup **lookup)
{
    return flight_lookup(&job->flight, lookup);
}

void job_dial(struct job *job)
{
    flight_dial(&job->flight, &job->dial);
}
