#include "bench/broker.h"
#include "bench/client.h"
#include "bench/common.h"
#include "bench/exchange.h"
#include "bench/peer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Connects in flight; below the broker's limit of requests and the origin's backlog. */
enum { WINDOW = 64, ADDRESSES = 8 };

/* 127.0.0.1 to 127.0.0.8 in turn: no run needs more local ports than one address has. */
static void address_of(const struct client *client, long i, char *ret_address, size_t size)
{
    if (client->tls)
        snprintf(ret_address, size, "%s", client->address);
    else
        snprintf(ret_address, size, "127.0.0.%ld", i % ADDRESSES + 1);
}

/* Tell, and keep everything open until the other end of standard input is closed. */
static void tell_and_wait(long held, long refused, const char *first_refusal)
{
    printf("{\"held\": %ld, \"refused\": %ld}\n", held, refused);
    fflush(stdout);
    if (refused > 0)
        fprintf(stderr, "bench: first refusal: %s\n", first_refusal);
    char line[64];
    while (read(STDIN_FILENO, line, sizeof line) > 0) {
    }
}

/* The first one pays for what all share. Returns false when there is no more to do. */
static bool tell_first(void)
{
    char line[16];
    printf("{\"held\": 1}\n");
    fflush(stdout);
    return read(STDIN_FILENO, line, sizeof line) > 0;
}

static void hold_json(const struct client *client)
{
    struct broker broker;
    char line[256], address[64], first_refusal[512] = "";
    long held = 1, refused = 0;
    broker_open(&broker, client->broker_path);
    broker_connect(&broker, client->address, client->port, client->tls);
    if (!tell_first())
        return;
    for (long asked = 1; held + refused < client->count;) {
        while (asked < client->count && asked - held - refused < WINDOW) {
            address_of(client, asked, address, sizeof address);
            bench_write(broker.fd, line,
                        broker_connect_line(line, sizeof line, asked + 1, address, client->port,
                                            client->tls));
            asked++;
        }
        const char *answer = broker_answer_any(&broker);
        if (strstr(answer, "\"result\":") != NULL) {
            held++;
        } else if (refused++ == 0) {
            snprintf(first_refusal, sizeof first_refusal, "%s", answer);
        }
    }
    tell_and_wait(held, refused, first_refusal);
    broker_shut(&broker);
}

static void open_one(const struct client *client, struct broker *broker, long i, struct peer *peer)
{
    char address[64];
    address_of(client, i, address, sizeof address);
    if (client->side[0] == '/') {
        peer_wrap(peer, bench_dial_unix(client->side));
        exchange_echo_direct(peer); /* only then has the relay connected */
    } else if (strcmp(client->side, "attach") == 0) {
        peer_wrap(peer, broker_attach(broker, address, client->port, client->tls));
    } else {
        peer_open(peer, client->context, address, client->port);
    }
}

static void hold_streams(const struct client *client)
{
    struct peer *peers = calloc((size_t)client->count, sizeof *peers);
    struct broker broker;
    if (peers == NULL)
        bench_die("out of memory");
    broker_open(&broker, client->broker_path);
    open_one(client, &broker, 0, &peers[0]);
    if (!tell_first())
        return;
    for (long i = 1; i < client->count; i++)
        open_one(client, &broker, i, &peers[i]);
    tell_and_wait(client->count, 0, "");
    for (long i = 0; i < client->count; i++)
        peer_close(&peers[i]);
    broker_shut(&broker);
    free(peers);
}

void client_hold(const struct client *client)
{
    if (strcmp(client->side, "broker") == 0)
        hold_json(client);
    else
        hold_streams(client);
}
