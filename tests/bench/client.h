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
    const char *side; /* hold: see client_hold() */
    uint16_t port;
    bool tls;
    SSL_CTX *context; /* NULL when plain */
    int rounds;
    long count; /* of what is measured, in each round */
};

struct figures {
    double direct[CLIENT_ROUNDS_MAX];
    double broker[CLIENT_ROUNDS_MAX];
    long connections;
};

/* megabytes a second in pieces of 64 KiB, to the discarding port */
void client_bulk(const struct client *client, struct figures *figures);
/* Round trips on open connections, their times one by one: for each number read from standard input
 * so many, direct and broker by turns, and a line with {"direct": {"p50", "p99", "longest"},
 * "broker": …} in microseconds. */
void client_probe(const struct client *client);

/* Open a connection, which pays for what all share, and tell; after a line from standard input open
 * the rest of count, tell, and keep them until it ends. side: "broker" through JSON, "direct",
 * "attach", or the path of a relay's Unix socket. */
void client_hold(const struct client *client);
