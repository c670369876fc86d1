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

/* What is done with what comes. */
enum origin_service {
    ORIGIN_ECHO,
    ORIGIN_DISCARD,
    /* A request of ORIGIN_REQUEST bytes: 'S' and a number, padded with blanks: the client will send
     * so many bytes, and gets one when all have come; or 'R': it gets so many. Over and over. */
    ORIGIN_BULK,
};

enum { ORIGIN_REQUEST = 16 };

struct origin_connection {
    int fd;
    struct origin_counts *counts;
    SSL *ssl;   /* NULL: plain */
    bool ready; /* plain, or the handshake is done */
    enum origin_service service;
    /* bulk */
    char request[ORIGIN_REQUEST + 1];
    size_t n_request;
    uint64_t n_expected;
};

struct origin_connection *origin_connection_new(int fd, SSL_CTX *context,
                                                enum origin_service service,
                                                struct origin_counts *counts);
struct origin_connection *origin_connection_free(struct origin_connection *connection);
/* The descriptor is readable. false: the connection is over. */
bool origin_connection_serve(struct origin_connection *connection);
