#pragma once
/*
 * origin_connection: one accepted connection of the echo origin, which counts on the port it came
 * to.
 *
 * Threads:   one.
 * Ownership: origin_connection_new() takes fd; free closes it, with RST. Counts are borrowed.
 * Errors:    a connection with an error is over: false.
 */
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdint.h>

struct origin_counts {
    uint64_t accepted;
    uint64_t handshakes; /* completed */
    uint64_t resumed;    /* of them */
    uint64_t failed;     /* handshakes that did not complete */
    uint64_t discarded;  /* bytes */
};

struct origin_connection {
    int fd;
    struct origin_counts *counts;
    SSL *ssl;     /* NULL: plain */
    bool ready;   /* plain, or the handshake is done */
    bool discard; /* throw away instead of sending back */
};

struct origin_connection *origin_connection_new(int fd, SSL_CTX *context, bool discard,
                                                struct origin_counts *counts);
struct origin_connection *origin_connection_free(struct origin_connection *connection);
/* The descriptor is readable. false: the connection is over. */
bool origin_connection_serve(struct origin_connection *connection);
