/*
 * bench_load broker=PATH ca=FILE: many clients at once. Reads lines
 *
 *     direct|resuming|broker plain|tls PORT CLIENTS COUNT
 *
 * and makes for each COUNT connections from CLIENTS threads: connect, echo, close. A thread takes
 * the next connection when it is done with one. resuming: direct, with the session of the
 * connection before, which outlives the round. Through the broker each thread has a session with
 * it, opened before the clock runs. Answers each line with {"us": time for all of them}.
 */
#include "bench/common.h"
#include "bench/exchange.h"
#include "bench/peer.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

enum { CLIENTS_MAX = 256 };

static const char address[] = "127.0.0.1";
static const char usage[] = "usage: bench_load broker=PATH ca=FILE; then, on standard input: "
                            "connect|echo direct|resuming|broker plain|tls PORT CLIENTS COUNT";

struct load {
    const char *broker_path;
    SSL_CTX *full;
    SSL_CTX *resuming;
    SSL_SESSION *sessions[CLIENTS_MAX]; /* of each thread */
};

struct round {
    struct load *load;
    bool echo;
    bool broker;
    bool resuming;
    bool tls;
    uint16_t port;
    atomic_long left;
    atomic_int next_client;
    pthread_barrier_t start;
};

static bool take_one(struct round *round)
{
    return atomic_fetch_sub(&round->left, 1) > 0;
}

static void run_direct(struct round *round)
{
    struct load *load = round->load;
    struct peer peer;
    SSL_CTX *context = !round->tls ? NULL : round->resuming ? load->resuming : load->full;
    SSL_SESSION **session =
        round->resuming ? &load->sessions[atomic_fetch_add(&round->next_client, 1)] : NULL;
    if (round->echo)
        peer_open(&peer, context, address, round->port);
    pthread_barrier_wait(&round->start);
    while (take_one(round)) {
        if (round->echo)
            exchange_echo_direct(&peer);
        else
            exchange_direct(context, session, address, round->port);
    }
    if (round->echo)
        peer_close(&peer);
}

static void run_broker(struct round *round)
{
    struct broker broker;
    long socket = 0;
    broker_open(&broker, round->load->broker_path);
    if (round->echo)
        socket = broker_connect(&broker, address, round->port, round->tls);
    pthread_barrier_wait(&round->start);
    while (take_one(round)) {
        if (round->echo)
            exchange_echo_broker(&broker, socket);
        else
            exchange_broker(&broker, address, round->port, round->tls);
    }
    broker_shut(&broker);
}

static void *run_client(void *data)
{
    struct round *round = data;
    if (round->broker)
        run_broker(round);
    else
        run_direct(round);
    return NULL;
}

/* microseconds from the start of all clients to the end of the last */
static double run_round(struct round *round, int clients)
{
    pthread_t threads[CLIENTS_MAX];
    if (pthread_barrier_init(&round->start, NULL, (unsigned)clients + 1) != 0)
        bench_die("no barrier");
    for (int i = 0; i < clients; i++)
        if (pthread_create(&threads[i], NULL, run_client, round) != 0)
            bench_die("cannot start thread %d", i);
    pthread_barrier_wait(&round->start);
    double start = bench_now_us();
    for (int i = 0; i < clients; i++)
        pthread_join(threads[i], NULL);
    double took = bench_now_us() - start;
    pthread_barrier_destroy(&round->start);
    return took;
}

int main(int argc, char **argv)
{
    if (argc != 3 || strncmp(argv[1], "broker=", 7) != 0 || strncmp(argv[2], "ca=", 3) != 0)
        bench_die("%s", usage);
    struct load load = {.broker_path = argv[1] + 7,
                        .full = peer_context(argv[2] + 3, 1),
                        .resuming = peer_context_resuming(argv[2] + 3, 1)};
    char line[128], what[16], side[16], kind[16];
    unsigned port, clients;
    long count;
    while (fgets(line, sizeof line, stdin) != NULL) {
        if (sscanf(line, "%15s %15s %15s %u %u %ld", what, side, kind, &port, &clients, &count) !=
                6 ||
            clients < 1 || clients > CLIENTS_MAX || port > 65535)
            bench_die("%s", usage);
        struct round round = {.load = &load,
                              .echo = strcmp(what, "echo") == 0,
                              .broker = strcmp(side, "broker") == 0,
                              .resuming = strcmp(side, "resuming") == 0,
                              .tls = strcmp(kind, "tls") == 0,
                              .port = (uint16_t)port,
                              .left = count};
        printf("{\"us\": %.1f}\n", run_round(&round, (int)clients));
        fflush(stdout);
    }
    for (int i = 0; i < CLIENTS_MAX; i++)
        SSL_SESSION_free(load.sessions[i]);
    SSL_CTX_free(load.full);
    SSL_CTX_free(load.resuming);
    return 0;
}
