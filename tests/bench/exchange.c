#include "bench/exchange.h"

#include "bench/common.h"
#include "bench/peer.h"

enum { N_PAYLOAD = 64 };

const char exchange_payload[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

void exchange_direct(SSL_CTX *context, SSL_SESSION **session, const char *address, uint16_t port)
{
    char answer[N_PAYLOAD];
    struct peer peer;
    peer_open_resuming(&peer, context, session, address, port);
    peer_write(&peer, exchange_payload, N_PAYLOAD);
    peer_read(&peer, answer, N_PAYLOAD);
    peer_close(&peer);
}

void exchange_broker(struct broker *broker, const char *address, uint16_t port, bool tls)
{
    char lines[512];
    long socket = broker_connect(broker, address, port, tls);
    bench_write(broker->fd, lines,
                broker_echo_lines(lines, sizeof lines, socket, exchange_payload));
    broker_answer(broker);
    broker_answer(broker);
    broker_close(broker, socket);
}
