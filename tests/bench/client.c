/* bench_client MEASURE plain|tls [OPTION=VALUE …]: one measure of tests/bench/run. */
#include "bench/client.h"

#include "bench/common.h"
#include "bench/peer.h"

#include <stdio.h>
#include <string.h>

static const char usage[] =
    "usage: bench_client bulk|probe|hold plain|tls\n"
    "       broker=PATH ca=FILE port=PORT [address=IPV4] [side=SIDE] [rounds=7] [count=1000]";

static void take_option(struct client *client, const char *argument)
{
    const char *value = strchr(argument, '=');
    if (value == NULL)
        bench_die("%s", usage);
    size_t n = (size_t)(value++ - argument);
    if (n == 6 && memcmp(argument, "broker", n) == 0)
        client->broker_path = value;
    else if (n == 2 && memcmp(argument, "ca", n) == 0)
        client->ca_file = value;
    else if (n == 4 && memcmp(argument, "side", n) == 0)
        client->side = value;
    else if (n == 7 && memcmp(argument, "address", n) == 0)
        client->address = value;
    else if (n == 4 && memcmp(argument, "port", n) == 0)
        client->port = (uint16_t)bench_number(value, 1, 65535);
    else if (n == 6 && memcmp(argument, "rounds", n) == 0)
        client->rounds = (int)bench_number(value, 1, CLIENT_ROUNDS_MAX);
    else if (n == 5 && memcmp(argument, "count", n) == 0)
        client->count = bench_number(value, 1, 100000000);
    else
        bench_die("%s", usage);
}

static void print_list(const char *name, const double *list, int n)
{
    printf("\"%s\": [", name);
    for (int i = 0; i < n; i++)
        printf("%s%.3f", i == 0 ? "" : ", ", list[i]);
    printf("], ");
}

int main(int argc, char **argv)
{
    struct client client = {.address = "127.0.0.1", .side = "broker", .rounds = 7, .count = 1000};
    struct figures figures = {.connections = 0};
    if (argc < 3)
        bench_die("%s", usage);
    client.tls = strcmp(argv[2], "tls") == 0;
    for (int i = 3; i < argc; i++)
        take_option(&client, argv[i]);
    if (client.port == 0 || client.broker_path == NULL || client.ca_file == NULL)
        bench_die("%s", usage);
    client.context = client.tls ? peer_context(client.ca_file, 1) : NULL;
    if (strcmp(argv[1], "bulk") == 0) {
        client_bulk(&client, &figures);
        printf("{");
        print_list("direct", figures.direct, client.rounds);
        print_list("broker", figures.broker, client.rounds);
        printf("\"connections\": %ld}\n", figures.connections);
    } else if (strcmp(argv[1], "probe") == 0) {
        client_probe(&client);
    } else if (strcmp(argv[1], "hold") == 0) {
        client_hold(&client);
    } else {
        bench_die("%s", usage);
    }
    SSL_CTX_free(client.context);
    return 0;
}
