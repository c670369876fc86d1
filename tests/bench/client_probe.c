#include "bench/broker.h"
#include "bench/client.h"
#include "bench/common.h"
#include "bench/exchange.h"
#include "bench/peer.h"

#include <stdio.h>
#include <stdlib.h>

/* Direct and broker take turns after so many round trips: what goes on beside meets both. Before a
 * round some that do not count, until the scheduler has found places for all. */
enum { BLOCK = 250, SETTLE_US = 20000, PROBE_MAX = 1000000 };

struct probe {
    struct peer peer;
    struct broker broker;
    char lines[512];
    size_t n_lines;
    double *direct;
    double *through;
};

static int compare(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

static void print_percentiles(const char *name, double *times, long count)
{
    qsort(times, (size_t)count, sizeof *times, compare);
    printf("\"%s\": {\"p50\": %.3f, \"p99\": %.3f, \"longest\": %.3f}", name, times[count / 2],
           times[count * 99 / 100], times[count - 1]);
}

static void probe_block(struct probe *probe, long from, long to)
{
    for (long i = from; i < to; i++) {
        double start = bench_now_us();
        exchange_echo_direct(&probe->peer);
        probe->direct[i] = bench_now_us() - start;
    }
    for (long i = from; i < to; i++) {
        double start = bench_now_us();
        bench_write(probe->broker.fd, probe->lines, probe->n_lines);
        broker_answer(&probe->broker);
        broker_answer(&probe->broker);
        probe->through[i] = bench_now_us() - start;
    }
}

void client_probe(const struct client *client)
{
    struct probe probe;
    char line[64];
    peer_open(&probe.peer, client->context, client->address, client->port);
    broker_open(&probe.broker, client->broker_path);
    long socket = broker_connect(&probe.broker, client->address, client->port, client->tls);
    probe.n_lines = broker_echo_lines(probe.lines, sizeof probe.lines, socket, exchange_payload);
    while (fgets(line, sizeof line, stdin) != NULL) {
        long count = strtol(line, NULL, 10);
        if (count < 1 || count > PROBE_MAX)
            bench_die("a round of 1 to %d round trips, please", PROBE_MAX);
        probe.direct = calloc((size_t)count, sizeof(double));
        probe.through = calloc((size_t)count, sizeof(double));
        if (probe.direct == NULL || probe.through == NULL)
            bench_die("out of memory");
        for (double start = bench_now_us(); bench_now_us() < start + SETTLE_US;)
            probe_block(&probe, 0, count < BLOCK ? count : BLOCK);
        for (long i = 0; i < count; i += BLOCK)
            probe_block(&probe, i, i + BLOCK < count ? i + BLOCK : count);
        printf("{");
        print_percentiles("direct", probe.direct, count);
        printf(", ");
        print_percentiles("broker", probe.through, count);
        puts("}");
        fflush(stdout);
        free(probe.direct);
        free(probe.through);
    }
    peer_close(&probe.peer);
    broker_shut(&probe.broker);
}
