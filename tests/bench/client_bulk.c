#include "bench/broker.h"
#include "bench/client.h"
#include "bench/common.h"
#include "bench/peer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Requests in flight: enough to keep the broker busy while the answers travel, below its limit. */
enum { PIECE = 64 * 1024, WINDOW = 16 };

static double direct_round(struct peer *peer, const char *piece, long count)
{
    double start = bench_now_us();
    for (long i = 0; i < count; i++)
        peer_write(peer, piece, PIECE);
    return (double)count * PIECE / (bench_now_us() - start);
}

static size_t send_line(char *line, size_t size, long id, long socket, const char *piece)
{
    int n = snprintf(line, size,
                     "{\"jsonrpc\":\"2.0\",\"id\":%ld,\"method\":\"TCPSend\",\"params\":[%ld,"
                     "\"%s\"]}\n",
                     id, socket, piece);
    return (size_t)n;
}

static double broker_round(struct broker *broker, char *const *lines, const size_t *n, long count)
{
    double start = bench_now_us();
    long answered = 0;
    for (long i = 0; i < count; i++) {
        if (i - answered == WINDOW) {
            broker_answer(broker);
            answered++;
        }
        /* Sends of one socket complete in order, so the line of i - WINDOW is answered. */
        bench_write(broker->fd, lines[i % WINDOW], n[i % WINDOW]);
    }
    for (; answered < count; answered++)
        broker_answer(broker);
    return (double)count * PIECE / (bench_now_us() - start);
}

void client_bulk(const struct client *client, struct figures *figures)
{
    struct peer peer;
    struct broker broker;
    char *piece = malloc(PIECE + 1);
    char *lines[WINDOW];
    size_t n[WINDOW];
    if (piece == NULL)
        bench_die("out of memory");
    memset(piece, 'x', PIECE);
    piece[PIECE] = '\0';
    peer_open(&peer, client->context, client->address, client->port);
    broker_open(&broker, client->broker_path);
    long socket = broker_connect(&broker, client->address, client->port, client->tls);
    figures->connections = 2;
    for (int i = 0; i < WINDOW; i++) {
        lines[i] = malloc(PIECE + 256);
        if (lines[i] == NULL)
            bench_die("out of memory");
        n[i] = send_line(lines[i], PIECE + 256, i + 1, socket, piece);
    }
    for (int i = 0; i < client->rounds; i++) {
        figures->direct[i] = direct_round(&peer, piece, client->count);
        figures->broker[i] = broker_round(&broker, lines, n, client->count);
    }
    for (int i = 0; i < WINDOW; i++)
        free(lines[i]);
    free(piece);
    peer_close(&peer);
    broker_shut(&broker);
}
