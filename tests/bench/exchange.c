#include "bench/exchange.h"

#include "bench/common.h"
#include "bench/origin.h"

#include <stdio.h>
#include <string.h>

enum { N_PAYLOAD = 64 };

const char exchange_payload[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

void exchange_echo_direct(struct peer *peer)
{
    char answer[N_PAYLOAD];
    peer_write(peer, exchange_payload, N_PAYLOAD);
    peer_read(peer, answer, N_PAYLOAD);
}

void exchange_echo_broker(struct broker *broker, long socket)
{
    char lines[512];
    bench_write(broker->fd, lines,
                broker_echo_lines(lines, sizeof lines, socket, exchange_payload));
    broker_answer(broker);
    broker_answer(broker);
}

void exchange_broker(struct broker *broker, const char *address, uint16_t port, bool tls,
                     bool reuse)
{
    long socket = broker_connect(broker, address, port, tls);
    exchange_echo_broker(broker, socket);
    if (reuse)
        broker_give_back(broker, socket);
    else
        broker_close(broker, socket);
}

/* What is wanted: see origin.h. */
static void ask(struct peer *peer, char what, long count)
{
    char line[ORIGIN_REQUEST + 1];
    snprintf(line, sizeof line, "%c%*ld", what, ORIGIN_REQUEST - 1, count * EXCHANGE_PIECE);
    peer_write(peer, line, ORIGIN_REQUEST);
}

void exchange_bulk_send(struct peer *peer, long count)
{
    char piece[EXCHANGE_PIECE], done;
    memset(piece, 'x', sizeof piece);
    ask(peer, 'S', count);
    for (long i = 0; i < count; i++)
        peer_write(peer, piece, sizeof piece);
    peer_read(peer, &done, 1);
}

void exchange_bulk_receive(struct peer *peer, long count)
{
    char piece[EXCHANGE_PIECE];
    ask(peer, 'R', count);
    for (long i = 0; i < count; i++)
        peer_read(peer, piece, sizeof piece);
}
