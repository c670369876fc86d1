#pragma once
/*
 * exchange: 64 bytes to the origin and back; and one connection from beginning to end, as a client
 * that has one question makes it: connect, echo, close. Directly, and through the broker.
 *
 * Threads:   one at a time for each broker and for each slot of a session.
 * Ownership: all is borrowed; a session left in a slot belongs to the slot's owner.
 * Errors:    end the process.
 */
#include "bench/broker.h"
#include "bench/peer.h"

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdint.h>

extern const char exchange_payload[]; /* 64 bytes and a NUL */

void exchange_echo_direct(struct peer *peer);
/* TCPSend and TCPReceive in one write; both answers are waited for. */
void exchange_echo_broker(struct broker *broker, long socket);

/* context NULL: plain. session NULL: nothing is resumed; else see peer.h. */
void exchange_direct(SSL_CTX *context, SSL_SESSION **session, const char *address, uint16_t port);
void exchange_broker(struct broker *broker, const char *address, uint16_t port, bool tls);
