#include "rpc/job.h"

#include <errno.h>
#include <stdlib.h>

#include "broker/stats.h"

static void free_when_idle(struct job *job)
{
    if (job->request || job->out_lookup || job->out_dial)
        return;
    dial_free(job->dial);
    free(job);
}

static void withdraw_job(struct request *request, struct fault *fault)
{
    struct job *job = request->op.job;

    if (job->out_lookup)
        lookup_abandon(job->out_lookup);
    if (job->out_dial)
        dial_cancel(job->out_dial);
    if (job->on_withdraw)
        job->on_withdraw(request, fault);
    job_done(request);
}

int job_new(struct request *request)
{
    struct job *job = calloc(1, sizeof(*job));
    if (!job)
        return -ENOMEM;
    job->request = request;
    job->loop = request->client->io->loop;
    job->shared = request->client->io->shared;
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

static void count_lookup(const struct lookup *lookup)
{
    (void)stats_sub(lookups_running, 1);
    if (lookup->source == LOOKUP_SHARED)
        stats_count(lookups_shared);
    if (lookup->source == LOOKUP_CACHED)
        stats_count(lookups_cached);
    if (lookup->source == LOOKUP_CACHED && lookup->gai)
        stats_count(lookups_cached_negative);
}

static void on_lookup_back(struct mail *mail)
{
    struct lookup *lookup = container_of(mail, struct lookup, done);
    struct job *job = lookup->context;

    ASSERT_OWNER(job->loop);
    job->out_lookup = NULL;
    count_lookup(lookup);
    if (job->request) {
        job->on_lookup(job->request, lookup);
        return;
    }
    lookup_free(lookup);
    free_when_idle(job);
}

int job_lookup(struct job *job, struct lookup **lookup)
{
    struct lookup *out = *lookup;

    ASSERT_OWNER(job->loop);
    out->done.deliver = on_lookup_back;
    out->context = job;
    out->reply_to = job->loop;
    if (resolver_post(job->shared->resolver, lookup))
        return JOB_E_LOOKUPS_FULL;
    job->out_lookup = out;
    stats_count(lookups);
    stats_count(lookups_running);
    return 0;
}

static void on_dial_back(struct mail *mail)
{
    struct dial *dial = container_of(mail, struct dial, done);
    struct job *job = dial->context;

    ASSERT_OWNER(job->loop);
    job->out_dial = NULL;
    if (job->request) {
        job->on_dial(job->request, dial);
        return;
    }
    dial_free(dial);
    free_when_idle(job);
}

void job_dial(struct job *job)
{
    ASSERT_OWNER(job->loop);
    struct dial *out = job->dial;
    out->done.deliver = on_dial_back;
    out->context = job;
    out->reply_to = job->loop;
    job->out_dial = out;
    dialer_post(job->shared->dialers, &job->dial);
}
