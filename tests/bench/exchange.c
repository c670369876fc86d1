#include "bench/exchange.h"

#include "bench/common.h"

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

void exchange_direct(SSL_CTX *context, SSL_SESSION **session, const char *address, uint16_t port)
{
    struct peer peer;
    peer_open_resuming(&peer, context, session, address, port);
    exchange_echo_direct(&peer);
    peer_close(&peer);
}

void exchange_broker(struct broker *broker, const char *address, uint16_t port, bool tls)
{
    long socket = broker_connect(broker, address, port, tls);
    exchange_echo_broker(broker, socket);
    broker_close(broker, socket);
}
