#include "bench/broker.h"
#include "bench/client.h"
#include "bench/common.h"
#include "bench/peer.h"

static const char payload[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

static double direct_round(const struct client *client, long count)
{
    char answer[sizeof payload - 1];
    double start = bench_now_us();
    for (long i = 0; i < count; i++) {
        struct peer peer;
        peer_open(&peer, client->context, client->address, client->port);
        peer_write(&peer, payload, sizeof payload - 1);
        peer_read(&peer, answer, sizeof answer);
        peer_close(&peer);
    }
    return (bench_now_us() - start) / (double)count;
}

static double broker_round(const struct client *client, struct broker *broker, long count)
{
    char lines[512];
    double start = bench_now_us();
    for (long i = 0; i < count; i++) {
        long socket = broker_connect(broker, client->address, client->port, client->tls);
        bench_write(broker->fd, lines, broker_echo_lines(lines, sizeof lines, socket, payload));
        broker_answer(broker);
        broker_answer(broker);
        broker_close(broker, socket);
    }
    return (bench_now_us() - start) / (double)count;
}

void client_connect(const struct client *client, struct figures *figures)
{
    struct broker broker;
    broker_open(&broker, client->broker_path);
    long warm_up = client->count / 10 + 1;
    direct_round(client, warm_up);
    broker_round(client, &broker, warm_up);
    for (int i = 0; i < client->rounds; i++) {
        figures->direct[i] = direct_round(client, client->count);
        figures->broker[i] = broker_round(client, &broker, client->count);
    }
    figures->connections = 2 * (warm_up + client->rounds * client->count);
    broker_shut(&broker);
}
