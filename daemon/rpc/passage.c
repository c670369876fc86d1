#include "rpc/passage.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/tcp_options.h"
#include "net/watch.h"
#include "rpc/passage_internal.h"
#include "rpc/shares.h"
#include "util/log.h"

/* ---- the program ---- */

/* The program's side is gone altogether. What it has sent is still there: then it is carried on, as
 * the relay would do it. */
static void on_hangup(struct passage *passage)
{
    char byte;

    if (recv(passage->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0) {
        int r = watch_set(passage->watch, 0);
        ASSERT(r == 0);
        return;
    }
    passage_log_failed(passage, "the program has gone meanwhile", "ECONNRESET");
    passage_end(passage, false);
}

static void start_reaching(struct passage *passage, const char *host, uint16_t port)
{
    snprintf(passage->host, sizeof(passage->host), "%s", host);
    passage->port = port;
    int r = watch_set(passage->watch, WATCH_HANGUP);
    ASSERT(r == 0); /* libuv only notes the wish here */
    passage_reach(passage);
}

/* An answer of SOCKS, a few bytes into an empty buffer. false: the passage has ended. */
static bool answer_socks(struct passage *passage, int r, const uint8_t *answer, size_t n)
{
    if (r) {
        passage_log_failed(passage, passage->socks.wrong, "SOCKS");
        if (n > 0)
            passage_send_last(passage, answer, n);
        passage_end(passage, n == 0);
        return false;
    }
    if (n > 0 && send(passage->fd, answer, n, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)n) {
        passage_log_failed(passage, "the program has gone meanwhile", "ECONNRESET");
        passage_end(passage, false);
        return false;
    }
    return true;
}

/* Not a byte more than SOCKS asks for: the rest is the stream's, and waits in the kernel. */
static void read_socks(struct passage *passage)
{
    uint8_t data[SOCKS5_MESSAGE_MAX], answer[SOCKS5_ANSWER_MAX];

    for (size_t wants; (wants = socks5_wants(&passage->socks)) > 0;) {
        size_t n_answer;
        ssize_t n = recv(passage->fd, data, wants, MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
            return;
        if (n <= 0) {
            passage_log_failed(passage, "the program has gone before it said where to",
                               "ECONNRESET");
            passage_end(passage, false);
            return;
        }
        int r = socks5_take(&passage->socks, data, (size_t)n, answer, &n_answer);
        if (!answer_socks(passage, r, answer, n_answer))
            return;
    }
    start_reaching(passage, passage->socks.host, passage->socks.port);
}

static void on_program(void *context, unsigned events)
{
    struct passage *passage = context;

    (void)events;
    ASSERT_OWNER(passage->io->loop);
    if (passage->state == PASSAGE_ASKING)
        read_socks(passage);
    else
        on_hangup(passage);
}

static void start_asking(struct passage *passage)
{
    passage->state = PASSAGE_ASKING;
    int r = watch_set(passage->watch, WATCH_READABLE);
    if (r == 0)
        r = timers_start(&passage->io->loop->timers, &passage->deadline,
                         (uint64_t)passage->route->handshake_ms, passage_on_deadline);
    if (r)
        passage_fail_memory(passage);
}

/* ---- arriving ---- */

/* On its way from the control thread. */
struct arrival {
    struct mail mail;
    struct io *io;
    struct route *route;
    int fd;
    struct passage_peer peer;
};

/* A program that is gone without a reset looks like one that has ended sending only: keep-alive
 * finds out. A Unix socket takes none of it, and needs none. */
static void keep_alive(const struct io *io, int fd)
{
    int domain = 0;
    socklen_t n = sizeof(domain);

    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &n) == 0 && domain != AF_UNIX &&
        tcp_options_set(fd, &io->snapshot->dial.tcp) != 0)
        log_debug("a program's connection goes without keep-alive");
}

/* Has its user a place for one more? Returns 0, ACCOUNT_E_* (told) or -ENOMEM. */
static int charge(struct passage *passage)
{
    struct io *io = passage->io;
    int r = shares_get(io, passage->peer.uid, &passage->share);

    if (r == 0)
        r = account_charge(passage->share->account, ACCOUNT_PASSAGES, io->room.limits,
                           &passage->charge);
    if (r > 0)
        shares_turn_away(passage->share, ACCOUNT_PASSAGES, io->room.limits, passage->route->name,
                         passage->peer.uid, passage->peer.pid);
    if (r)
        passage->share = shares_put(io, passage->share);
    return r;
}

static int begin(const struct arrival *arrival, struct passage **ret_passage)
{
    struct io *io = arrival->io;
    struct passage *passage = calloc(1, sizeof(*passage));

    if (!passage)
        return -ENOMEM;
    passage->io = io;
    passage->route = arrival->route;
    passage->peer = arrival->peer;
    passage->fd = arrival->fd;
    passage->socks = SOCKS5_INIT;
    int r = charge(passage);
    if (r) {
        free(passage);
        return r;
    }
    keep_alive(io, arrival->fd);
    passage->started_us = loop_clock_us();
    passage->flight = (struct flight){.loop = io->loop,
                                      .shared = io->shared,
                                      .account = passage->share->account,
                                      .n_lookups_max = io->room.limits->lookups,
                                      .on_lookup = passage_on_lookup,
                                      .on_dial = passage_on_dial};
    r = watch_new(&passage->watch, io->loop, arrival->fd, on_program, passage);
    if (r) {
        account_discharge(&passage->charge);
        shares_put(io, passage->share);
        free(passage);
        return r;
    }
    list_append(&io->passages, &passage->link);
    *ret_passage = passage;
    return 0;
}

static void on_arrival(struct mail *mail)
{
    struct arrival *arrival = container_of(mail, struct arrival, mail);
    struct route *route = arrival->route;
    struct passage *passage;
    bool begins = arrival->io->state == IO_RUNNING && !arrival->io->no_new;

    arrivals_end(&arrival->io->shared->arrivals);
    int r = begins ? begin(arrival, &passage) : -ECANCELED;

    if (r) {
        if (r < 0)
            log_warning("%s: program of uid %d pid %d turned away: %s", route->name,
                        (int)arrival->peer.uid, (int)arrival->peer.pid,
                        r == -ECANCELED ? "the broker is stopping" : strerror(-r));
        close(arrival->fd);
        route_leave(route);
    } else if (route->socks) {
        start_asking(passage);
    } else {
        start_reaching(passage, route->host, route->port);
    }
    free(arrival);
}

int passage_post(struct io *io, struct route *route, int fd, const struct passage_peer *peer)
{
    struct arrival *arrival = malloc(sizeof(*arrival));
    if (!arrival)
        return -ENOMEM;
    *arrival = (struct arrival){
        .mail = {.deliver = on_arrival}, .io = io, .route = route, .fd = fd, .peer = *peer};
    arrivals_begin(&io->shared->arrivals);
    loop_post(io->loop, &arrival->mail);
    return 0;
}

/* ---- stopping ---- */

void passages_drain(struct io *io)
{
    list_for_each_safe (link, &io->passages) {
        struct passage *passage = container_of(link, struct passage, link);
        if (passage->state == PASSAGE_ASKING) {
            passage_log_failed(passage, "the broker is stopping", "SHUTTING_DOWN");
            passage_end(passage, true);
        }
    }
}

bool passages_end(struct io *io, const struct socket *socket, const struct fault *fault)
{
    ASSERT_OWNER(io->loop);
    list_for_each (link, &io->passages) {
        struct passage *passage = container_of(link, struct passage, link);
        if (passage->socket != socket)
            continue;
        passage_fail(passage, fault);
        return true;
    }
    return false;
}

void passages_cut(struct io *io)
{
    list_for_each_safe (link, &io->passages) {
        struct passage *passage = container_of(link, struct passage, link);
        passage_log_failed(passage, "the broker is stopping", "SHUTTING_DOWN");
        passage_end(passage, true);
    }
}
