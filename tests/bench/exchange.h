#pragma once
/*
 * exchange: what a client does with the origin: 64 bytes there and back, many bytes one way; and
 * one connection through JSON from beginning to end, as a client that has one question makes it.
 *
 * Threads:   one at a time for each broker and each peer.
 * Ownership: all is borrowed.
 * Errors:    end the process.
 */
#include "bench/broker.h"
#include "bench/peer.h"

#include <stdbool.h>
#include <stdint.h>

enum { EXCHANGE_PIECE = 64 * 1024 };

extern const char exchange_payload[]; /* 64 bytes and a NUL */

void exchange_echo_direct(struct peer *peer);
/* TCPSend and TCPReceive in one write; both answers are waited for. */
void exchange_echo_broker(struct broker *broker, long socket);
/* Connect, echo, close (abort). reuse: close by giving the connection back to its pool. */
void exchange_broker(struct broker *broker, const char *address, uint16_t port, bool tls,
                     bool reuse);

/* At the origin's port "bulk": count pieces to it, until it says that it has them all; or from it.
 */
void exchange_bulk_send(struct peer *peer, long count);
void exchange_bulk_receive(struct peer *peer, long count);
