#include "bench/broker.h"
#include "bench/client.h"
#include "bench/common.h"
#include "bench/exchange.h"
#include "bench/peer.h"

static double direct_round(struct peer *peer, long count)
{
    double start = bench_now_us();
    for (long i = 0; i < count; i++)
        exchange_echo_direct(peer);
    return (bench_now_us() - start) / (double)count;
}

static double broker_round(struct broker *broker, const char *lines, size_t n, long count)
{
    double start = bench_now_us();
    for (long i = 0; i < count; i++) {
        bench_write(broker->fd, lines, n);
        broker_answer(broker);
        broker_answer(broker);
    }
    return (bench_now_us() - start) / (double)count;
}

void client_rtt(const struct client *client, struct figures *figures)
{
    struct peer peer;
    struct broker broker;
    char lines[512];
    peer_open(&peer, client->context, client->address, client->port);
    broker_open(&broker, client->broker_path);
    long socket = broker_connect(&broker, client->address, client->port, client->tls);
    size_t n = broker_echo_lines(lines, sizeof lines, socket, exchange_payload);
    figures->connections = 2;
    direct_round(&peer, client->count / 10 + 1);
    broker_round(&broker, lines, n, client->count / 10 + 1);
    for (int i = 0; i < client->rounds; i++) {
        figures->direct[i] = direct_round(&peer, client->count);
        figures->broker[i] = broker_round(&broker, lines, n, client->count);
    }
    peer_close(&peer);
    broker_shut(&broker);
}
