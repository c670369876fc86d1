#include "net/dial.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "net/dial_race.h"
#include "net/tls_engine.h"
#include "net/watch.h"

struct dialer {
    struct dialers *dialers;
    struct loop *loop;
    atomic_uint n_jobs; /* a hint for dealing out */
    struct list jobs;   /* of struct job */
    struct mail stop;
    bool stopping;
};

struct dialers {
    struct dial_settings settings;
    struct backoff *backoff; /* all threads' */
    atomic_uint turn;
    size_t n;
    struct dialer dialers[];
};

/* Of dial->cancel_state. The cancel mail is part of the dial, so a dial that is done while that
 * mail is under way waits for it before it goes back. */
enum { CANCEL_IDLE, CANCEL_POSTED, CANCEL_DELIVERED, CANCEL_TOO_LATE };

/* A dial while it is worked on; dial->race points to it. */
struct job {
    struct list link;
    struct dial *dial;
    struct dialer *dialer;
    struct timer deadline;
    bool racing;
    struct race race;
    int64_t started_us, connected_us;
    struct connection *connection; /* during the handshake */
    struct watch *watch;
};

static void send_back(struct dial *dial)
{
    atomic_fetch_sub_explicit(&dial->dialer->n_jobs, 1, memory_order_relaxed);
    loop_post(dial->reply_to, &dial->done);
}

/* The dial is as it will go back; needs no memory. */
static void finish(struct dial *dial)
{
    struct job *job = dial->race;
    int state = CANCEL_IDLE;

    if (job) {
        if (job->racing)
            race_deinit(&job->race);
        timers_stop(&job->dialer->loop->timers, &job->deadline);
        watch_free(job->watch);
        connection_free(job->connection);
        list_remove(&job->link);
        free(job);
        dial->race = NULL;
    }
    if (atomic_compare_exchange_strong(&dial->cancel_state, &state, CANCEL_TOO_LATE) ||
        state == CANCEL_DELIVERED)
        send_back(dial);
    /* else on_cancel() does it */
}

static void fail(struct dial *dial, enum net_stage stage, enum net_cause cause, int sys_errno)
{
    dial->error.stage = stage;
    dial->error.cause = cause;
    dial->error.sys_errno = sys_errno;
    finish(dial);
}

static enum net_stage stage_of(const struct dial *dial)
{
    const struct job *job = dial->race;
    return dial->upgrade || (job && job->connection) ? NET_STAGE_TLS : NET_STAGE_CONNECT;
}

static void on_cancel(struct mail *mail)
{
    struct dial *dial = container_of(mail, struct dial, cancel);
    atomic_store(&dial->cancel_state, CANCEL_DELIVERED);
    if (dial->race)
        fail(dial, stage_of(dial), NET_CANCELLED, 0);
    else
        send_back(dial);
}

static int64_t ms_left(const struct dial *dial)
{
    int64_t left_us = dial->deadline_us - loop_clock_us();
    return left_us <= 0 ? 0 : left_us / 1000 + (left_us % 1000 != 0);
}

static void on_deadline(struct timer *timer)
{
    struct job *job = container_of(timer, struct job, deadline);
    struct dial *dial = job->dial;
    int64_t left = ms_left(dial);

    if (left == 0)
        fail(dial, stage_of(dial), NET_TIMED_OUT, 0);
    else if (timers_start(&job->dialer->loop->timers, &job->deadline, (uint64_t)left, on_deadline) <
             0) /* the loop's clock was behind */
        fail(dial, stage_of(dial), NET_SYSTEM, ENOMEM);
}

/* ---- TLS ---- */

static void succeed(struct job *job)
{
    struct dial *dial = job->dial;
    dial->connection = job->connection;
    job->connection = NULL;
    dial->error.cause = NET_OK;
    finish(dial);
}

static void on_handshake_event(void *context, unsigned events);

/* Often nothing has to be waited for: the peer is fast, or on this host. */
static int wait_for_peer(struct job *job, unsigned events)
{
    int r = job->watch ? 0
                       : watch_new(&job->watch, job->dialer->loop, job->connection->fd,
                                   on_handshake_event, job);
    return r ? r : watch_set(job->watch, events);
}

static void handshake(struct job *job)
{
    struct dial *dial = job->dial;
    int r = tls_engine_handshake(job->connection->tls, &dial->error);

    if (dial->explain && !dial->chain)
        dial->chain = tls_engine_take_chain(job->connection->tls);
    switch (r) {
    case 0:
        r = tls_facts_new(&job->connection->facts, job->connection->tls, dial->identity);
        break;
    case TLS_E_WANT_READ:
    case TLS_E_WANT_WRITE:
        r = wait_for_peer(job, r == TLS_E_WANT_READ ? WATCH_READABLE : WATCH_WRITABLE);
        if (r == 0)
            return;
        break;
    default: /* told by the engine */
        finish(dial);
        return;
    }
    if (r) {
        fail(dial, NET_STAGE_TLS, NET_SYSTEM, -r);
        return;
    }
    dial->handshake_us = loop_clock_us() - job->connected_us;
    succeed(job);
}

static void on_handshake_event(void *context, unsigned events)
{
    (void)events; /* there is only one that it waits for */
    handshake(context);
}

static void start_handshake(struct job *job)
{
    struct dial *dial = job->dial;
    const struct tls_request request = {
        .server = dial->server,
        .verify = dial->verify,
        .anonymous = dial->anonymous,
        .min_tls13 = dial->min_tls13,
        .explain = dial->explain,
        .hand_out = dial->hand_out,
        .server_name = dial->server_name,
        .alpn = dial->alpn,
        .n_alpn = dial->n_alpn,
        .identity = dial->identity,
    };
    int r = tls_engine_new(job->connection, dial->trust, &request);
    if (r == TLS_E_IDENTITY) {
        snprintf(dial->error.library, sizeof(dial->error.library),
                 "the security level of the trust profile does not allow the identity %s: its key "
                 "or a signature in its chain is too weak",
                 identity_name(dial->identity));
        r = -EINVAL;
    }
    if (r)
        fail(dial, NET_STAGE_TLS, NET_SYSTEM, -r);
    else
        handshake(job);
}

/* ---- connect ---- */

static void on_race_end(struct race *race, int fd, int sys_errno)
{
    struct job *job = container_of(race, struct job, race);
    struct dial *dial = job->dial;

    job->racing = false;
    job->connected_us = loop_clock_us();
    dial->connect_us = job->connected_us - job->started_us;
    if (fd < 0) {
        fail(dial, NET_STAGE_CONNECT, NET_SYSTEM, sys_errno);
        return;
    }
    job->connection = calloc(1, sizeof(*job->connection));
    if (!job->connection) {
        close(fd);
        fail(dial, NET_STAGE_CONNECT, NET_SYSTEM, ENOMEM);
        return;
    }
    job->connection->fd = fd;
    job->connection->local = race->from;
    job->connection->remote = race->to;
    int r = race->nowhere;
    if (r) /* reset by the peer already: ENOTCONN would not say that */
        fail(dial, NET_STAGE_CONNECT, NET_SYSTEM, r == -ENOTCONN ? ECONNRESET : -r);
    else if (dial->secure)
        start_handshake(job);
    else
        succeed(job);
}

/* Reasons to refuse a job before anything is sent. Returns true when it has been finished. */
static bool refuse(struct dial *dial)
{
    const char *words = NULL;

    if (dial->dialer->stopping) {
        fail(dial, stage_of(dial), NET_CANCELLED, 0);
        return true;
    }
    if (ms_left(dial) == 0) {
        fail(dial, stage_of(dial), NET_TIMED_OUT, 0);
        return true;
    }
    if (!dial->secure)
        return false;
    ASSERT(dial->trust);
    if (dial->verify && trust_state(dial->trust, &words) != NET_TRUST_OK) {
        dial->error.trust = trust_state(dial->trust, NULL);
        snprintf(dial->error.library, sizeof(dial->error.library), "%s", words);
        fail(dial, NET_STAGE_TLS, NET_TRUST_UNUSABLE, 0);
        return true;
    }
    words = dial->server ? NULL : tls_server_name_fault(dial->server_name, dial->verify);
    if (words) {
        snprintf(dial->error.library, sizeof(dial->error.library), "%s", words);
        fail(dial, NET_STAGE_TLS, NET_SYSTEM, EINVAL);
        return true;
    }
    return false;
}

static void on_work(struct mail *mail)
{
    struct dial *dial = container_of(mail, struct dial, work);
    struct dialer *dialer = dial->dialer;

    if (refuse(dial))
        return;
    struct job *job = calloc(1, sizeof(*job));
    if (!job) {
        fail(dial, NET_STAGE_CONNECT, NET_SYSTEM, ENOMEM);
        return;
    }
    job->dial = dial;
    job->dialer = dialer;
    job->started_us = loop_clock_us();
    dial->queue_us = job->started_us - dial->posted_us;
    dial->race = job;
    list_append(&dialer->jobs, &job->link);
    if (timers_start(&dialer->loop->timers, &job->deadline, (uint64_t)ms_left(dial), on_deadline) <
        0) {
        fail(dial, NET_STAGE_CONNECT, NET_SYSTEM, ENOMEM);
        return;
    }
    if (dial->upgrade) {
        job->connected_us = job->started_us;
        job->connection = dial->upgrade;
        dial->upgrade = NULL;
        start_handshake(job);
        return;
    }
    job->racing = true;
    const struct dial_settings *settings =
        dial->own_settings ? &dial->settings : &dialer->dialers->settings;
    race_start(&job->race, dialer->loop, settings, dialer->dialers->backoff, dial, &dial->error,
               on_race_end);
}

/* ---- for any thread ---- */

void dialer_post(struct dialers *dialers, struct dial **moved)
{
    struct dial *dial = *moved;
    *moved = NULL;
    /* the least busy; where the search begins goes round, so that ties do too */
    unsigned turn = atomic_fetch_add_explicit(&dialers->turn, 1, memory_order_relaxed);
    struct dialer *best = &dialers->dialers[turn % dialers->n];
    unsigned best_jobs = atomic_load_explicit(&best->n_jobs, memory_order_relaxed);
    for (size_t i = 1; i < dialers->n; i++) {
        struct dialer *each = &dialers->dialers[(turn + i) % dialers->n];
        unsigned jobs = atomic_load_explicit(&each->n_jobs, memory_order_relaxed);
        if (jobs < best_jobs) {
            best = each;
            best_jobs = jobs;
        }
    }
    atomic_fetch_add_explicit(&best->n_jobs, 1, memory_order_relaxed);
    atomic_store(&dial->cancel_state, CANCEL_IDLE);
    dial->race = NULL;
    dial->connection = NULL;
    dial->chain = NULL;
    dial->error = (struct net_error){0};
    dial->connect_us = dial->handshake_us = 0;
    dial->posted_us = loop_clock_us();
    dial->queue_us = 0;
    dial->dialer = best;
    dial->work.deliver = on_work;
    loop_post(best->loop, &dial->work);
}

void dial_cancel(struct dial *dial)
{
    int state = CANCEL_IDLE;
    if (!atomic_compare_exchange_strong(&dial->cancel_state, &state, CANCEL_POSTED))
        return; /* cancelled already, or on its way back */
    dial->cancel.deliver = on_cancel;
    loop_post(dial->dialer->loop, &dial->cancel);
}

struct dial *dial_free(struct dial *dial)
{
    if (!dial)
        return NULL;
    connection_free(dial->connection);
    connection_free(dial->upgrade);
    free(dial->addresses);
    free(dial->chain);
    trust_unref(dial->trust);
    identity_unref(dial->identity);
    free(dial);
    return NULL;
}

/* ---- the threads ---- */

static void on_stop(struct mail *mail)
{
    struct dialer *dialer = container_of(mail, struct dialer, stop);
    dialer->stopping = true;
    for (struct list *link; (link = list_first(&dialer->jobs));) {
        struct dial *dial = container_of(link, struct job, link)->dial;
        fail(dial, stage_of(dial), NET_CANCELLED, 0);
    }
    loop_stop(dialer->loop);
}

int dialers_new(struct dialers **ret_dialers, unsigned n_threads,
                const struct dial_settings *settings)
{
    ASSERT(n_threads > 0);
    struct dialers *dialers = calloc(1, sizeof(*dialers) + n_threads * sizeof(struct dialer));
    if (!dialers)
        return -ENOMEM;
    if (backoff_new(&dialers->backoff) < 0) {
        free(dialers);
        return -ENOMEM;
    }
    dialers->settings = *settings;
    for (unsigned i = 0; i < n_threads; i++) {
        struct dialer *dialer = &dialers->dialers[i];
        char name[16];
        snprintf(name, sizeof(name), "dial-%u", i);
        dialer->dialers = dialers;
        list_init(&dialer->jobs);
        dialer->stop.deliver = on_stop;
        int r = loop_new(&dialer->loop, name, settings->nice);
        if (r == 0) {
            r = loop_start(dialer->loop);
            if (r)
                dialer->loop = loop_free(dialer->loop);
            else
                dialers->n++;
        }
        if (r) {
            dialers_stop(dialers);
            dialers_free(dialers);
            return r;
        }
    }
    *ret_dialers = dialers;
    return 0;
}

size_t dialers_count(const struct dialers *dialers)
{
    return dialers->n;
}

struct backoff *dialers_backoff(const struct dialers *dialers)
{
    return dialers->backoff;
}

struct loop *dialers_loop(const struct dialers *dialers, size_t index)
{
    ASSERT(index < dialers->n);
    return dialers->dialers[index].loop;
}

void dialers_stop(struct dialers *dialers)
{
    for (size_t i = 0; i < dialers->n; i++)
        loop_post(dialers->dialers[i].loop, &dialers->dialers[i].stop);
    for (size_t i = 0; i < dialers->n; i++)
        loop_join(dialers->dialers[i].loop);
}

struct dialers *dialers_free(struct dialers *dialers)
{
    if (!dialers)
        return NULL;
    /* mail that came after the end is delivered here, and goes back cancelled */
    for (size_t i = 0; i < dialers->n; i++)
        loop_free(dialers->dialers[i].loop);
    backoff_free(dialers->backoff);
    free(dialers);
    return NULL;
}
