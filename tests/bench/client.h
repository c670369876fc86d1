#pragma once
/*
 * client: the measuring side. Each measure runs rounds of direct and broker in turn, so that what
 * else the machine does meets both, and prints one line of JSON:
 * {"direct": [one figure a round], "broker": [...], "connections": how many were made}
 *
 * Threads:   one.
 * Ownership: settings borrow from argv.
 * Errors:    end the process.
 */
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdint.h>

enum { CLIENT_ROUNDS_MAX = 101 };

struct client {
    const char *broker_path;
    const char *ca_file;
    const char *address;
    const char *fresh; /* the folder of the fresh programs */
    uint16_t port;
    bool tls;
    SSL_CTX *context; /* NULL when plain */
    int rounds;
    long count; /* of what is measured, in each round */
};

struct figures {
    double direct[CLIENT_ROUNDS_MAX];
    double broker[CLIENT_ROUNDS_MAX];
    double library[CLIENT_ROUNDS_MAX]; /* fresh only */
    long connections;
};

/* microseconds a round trip of 64 bytes on an open connection */
void client_rtt(const struct client *client, struct figures *figures);
/* megabytes a second in pieces of 64 KiB, to the discarding port */
void client_bulk(const struct client *client, struct figures *figures);
/* microseconds from exec to exit of a process that does one TLS exchange */
void client_fresh(const struct client *client, struct figures *figures);

/* Round trips on open connections, their times one by one: for each number read from standard input
 * so many, direct and broker by turns, and a line with {"direct": {"p50", "p99", "longest"},
 * "broker": …} in microseconds. */
void client_probe(const struct client *client);

/* Open count connections, tell, keep them until standard input ends. */
void client_hold_broker(const struct client *client);
void client_hold_direct(const struct client *client);
