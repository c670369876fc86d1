/*
 * bench_load broker=PATH ca=FILE: clients of the origin, one or many at once. Reads lines
 *
 *     connect|echo|send|receive SIDE plain|tls PORT CLIENTS COUNT
 *
 * and does for each COUNT of these things with CLIENTS threads; a thread takes the next when it is
 * done with one. connect: connect, echo, close. echo: 64 bytes there and back on a connection that
 * each thread has opened before the clock runs. send, receive: pieces of 64 KiB of one client.
 *
 * SIDE is the way to the origin: direct; resuming, which is direct with the session of the
 * connection before (it outlives the round); broker, through JSON; pooled, the same with
 * connections of a pool, which are given back to it; attach, a descriptor that the broker has
 * handed out; or the path of a Unix socket behind which a relay makes the connection. Each thread
 * has its session with the broker open before the clock runs. Answers each line with
 * {"us": time for all of them}.
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
                            "connect|echo|send|receive SIDE plain|tls PORT CLIENTS COUNT";

struct load {
    const char *broker_path;
    SSL_CTX *full;
    SSL_CTX *resuming;
    SSL_SESSION *sessions[CLIENTS_MAX]; /* of each thread */
};

struct round {
    struct load *load;
    const char *what;
    const char *side;
    bool tls;
    uint16_t port;
    long count;
    atomic_long left;
    atomic_int next_client;
    pthread_barrier_t start;
    _Atomic double started_us; /* when the first client has left the barrier */
};

struct client {
    struct round *round;
    struct broker broker; /* sides broker and attach */
    SSL_CTX *context;
    SSL_SESSION **session;
};

static bool is(const char *word, const char *other)
{
    return strcmp(word, other) == 0;
}

static bool take_one(struct round *round)
{
    return atomic_fetch_sub(&round->left, 1) > 0;
}

/* On one core the first client may be done before another thread can look at the clock. */
static void start_together(struct round *round)
{
    double none = 0;
    pthread_barrier_wait(&round->start);
    atomic_compare_exchange_strong(&round->started_us, &none, bench_now_us());
}

static void open_peer(struct client *client, struct peer *peer)
{
    const struct round *round = client->round;
    if (round->side[0] == '/')
        peer_wrap(peer, bench_dial_unix(round->side));
    else if (client->broker.data != NULL)
        peer_wrap(peer, broker_attach(&client->broker, address, round->port, round->tls));
    else
        peer_open_resuming(peer, client->context, client->session, address, round->port);
}

static void run_bulk(struct client *client, struct peer *peer)
{
    if (is(client->round->what, "send"))
        exchange_bulk_send(peer, client->round->count);
    else
        exchange_bulk_receive(peer, client->round->count);
}

/* Whoever has made the connection, it is a byte stream. */
static void run_stream(struct client *client)
{
    struct round *round = client->round;
    bool connect = is(round->what, "connect");
    struct peer peer;
    if (!connect) {
        open_peer(client, &peer);
        /* A relay takes the client before it has connected: not a matter of the clock here. */
        if (is(round->what, "echo"))
            exchange_echo_direct(&peer);
        else
            exchange_bulk_receive(&peer, 1);
    }
    start_together(round);
    if (is(round->what, "send") || is(round->what, "receive")) {
        run_bulk(client, &peer);
    } else {
        while (take_one(round)) {
            if (connect)
                open_peer(client, &peer);
            exchange_echo_direct(&peer);
            if (connect)
                peer_close(&peer);
        }
    }
    if (!connect)
        peer_close(&peer);
}

static void run_json(struct client *client)
{
    struct round *round = client->round;
    bool connect = is(round->what, "connect");
    long socket = 0;
    if (!connect)
        socket = broker_connect(&client->broker, address, round->port, round->tls);
    start_together(round);
    while (take_one(round)) {
        if (connect)
            exchange_broker(&client->broker, address, round->port, round->tls,
                            is(round->side, "pooled"));
        else
            exchange_echo_broker(&client->broker, socket);
    }
}

static void *run_client(void *data)
{
    struct round *round = data;
    struct load *load = round->load;
    struct client client = {.round = round};
    if (is(round->side, "resuming"))
        client.session = &load->sessions[atomic_fetch_add(&round->next_client, 1)];
    if (round->tls)
        client.context = client.session != NULL ? load->resuming : load->full;
    bool json = is(round->side, "broker") || is(round->side, "pooled");
    if (json || is(round->side, "attach"))
        broker_open(&client.broker, load->broker_path);
    if (json)
        run_json(&client);
    else
        run_stream(&client);
    if (client.broker.data != NULL)
        broker_shut(&client.broker);
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
    start_together(round);
    for (int i = 0; i < clients; i++)
        pthread_join(threads[i], NULL);
    double took = bench_now_us() - atomic_load(&round->started_us);
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
    char line[256], what[16], side[128], kind[16];
    unsigned port, clients;
    long count;
    while (fgets(line, sizeof line, stdin) != NULL) {
        if (sscanf(line, "%15s %127s %15s %u %u %ld", what, side, kind, &port, &clients, &count) !=
                6 ||
            clients < 1 || clients > CLIENTS_MAX || port > 65535)
            bench_die("%s", usage);
        struct round round = {.load = &load,
                              .what = what,
                              .side = side,
                              .tls = is(kind, "tls"),
                              .port = (uint16_t)port,
                              .count = count,
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
