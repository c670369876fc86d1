/*
 * bench_disturb BROKER flood PORT CLIENTS     connect with TLS, echo, close, as fast as that goes
 * bench_disturb BROKER paced PORT RATE        RATE connects with TLS a second, whether they are
 * done or not bench_disturb BROKER look-ups PORT COUNT    COUNT connects to hang-1.test,
 * hang-2.test, … bench_disturb BROKER connects PORT COUNT    COUNT connects to 127.0.0.1
 * bench_disturb BROKER handshakes PORT COUNT  the same with TLS
 *
 * What goes on beside a client that is measured. Writes a line once all has been asked for, goes on
 * until standard input ends, and then tells as one line of JSON how many connections were made and
 * failed.
 */
#include "bench/common.h"
#include "bench/exchange.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CLIENTS_MAX = 256, PACED_MAX = 200 };

static const char local[] = "127.0.0.1";

struct disturb {
    const char *broker_path;
    uint16_t port;
    long count; /* CLIENTS, RATE or COUNT */
    atomic_bool stop;
    atomic_long made;
    atomic_long failed;
};

static void tell_ready(void)
{
    puts("ready");
    fflush(stdout);
}

static void wait_for_end(void)
{
    char line[64];
    while (read(STDIN_FILENO, line, sizeof line) > 0) {
    }
}

static void *flood_client(void *data)
{
    struct disturb *disturb = data;
    struct broker broker;
    broker_open(&broker, disturb->broker_path);
    while (!atomic_load(&disturb->stop)) {
        exchange_broker(&broker, local, disturb->port, true, false);
        atomic_fetch_add(&disturb->made, 1);
    }
    broker_shut(&broker);
    return NULL;
}

static void flood(struct disturb *disturb)
{
    pthread_t threads[CLIENTS_MAX];
    for (long i = 0; i < disturb->count; i++)
        if (pthread_create(&threads[i], NULL, flood_client, disturb) != 0)
            bench_die("cannot start thread %ld", i);
    tell_ready();
    wait_for_end();
    atomic_store(&disturb->stop, true);
    for (long i = 0; i < disturb->count; i++)
        pthread_join(threads[i], NULL);
}

/* Answers to connects have odd ids, those to closes even ones. */
static void paced_answer(struct disturb *disturb, struct broker *broker, long *in_flight)
{
    char line[128];
    const char *answer = broker_answer_any(broker);
    const char *id = strstr(answer, "\"id\":");
    long number = id == NULL ? 0 : strtol(id + 5, NULL, 10);
    if (number % 2 == 0)
        return;
    --*in_flight;
    if (strstr(answer, "\"result\":") == NULL) {
        atomic_fetch_add(&disturb->failed, 1);
        return;
    }
    atomic_fetch_add(&disturb->made, 1);
    bench_write(broker->fd, line,
                broker_close_line(line, sizeof line, number + 1, broker_socket_of(answer)));
}

/* Waits until there is an answer (true) or the time has come (false). */
static bool wait_until(struct broker *broker, double when_us, bool *ret_ended)
{
    struct pollfd items[] = {{.fd = broker->fd, .events = POLLIN},
                             {.fd = STDIN_FILENO, .events = POLLIN}};
    double left = when_us - bench_now_us();
    if (left < 0)
        left = 0;
    struct timespec time = {.tv_nsec = (long)(left * 1e3)}; /* less than a second */
    if (ppoll(items, 2, &time, NULL) < 0 && errno != EINTR)
        bench_die("ppoll: %s", strerror(errno));
    *ret_ended = items[1].revents != 0;
    return items[0].revents != 0;
}

static void paced(struct disturb *disturb)
{
    struct broker broker;
    char line[256];
    long in_flight = 0;
    bool ended = false;
    broker_open(&broker, disturb->broker_path);
    tell_ready();
    double next = bench_now_us();
    for (long id = 1; !ended;) {
        if (wait_until(&broker, next, &ended)) {
            do
                paced_answer(disturb, &broker, &in_flight);
            while (broker_has_answer(&broker));
        }
        if (bench_now_us() < next)
            continue;
        next += 1e6 / (double)disturb->count;
        if (in_flight == PACED_MAX)
            continue; /* the broker has fallen behind: the origin will count too few */
        bench_write(broker.fd, line,
                    broker_connect_line(line, sizeof line, id, local, disturb->port, true));
        id += 2;
        in_flight++;
    }
    broker_shut(&broker);
}

static void hang(struct disturb *disturb, bool look_ups, bool tls)
{
    struct broker broker;
    char line[256], name[64];
    broker_open(&broker, disturb->broker_path);
    for (long i = 1; i <= disturb->count; i++) {
        snprintf(name, sizeof name, "hang-%ld.test", i);
        bench_write(
            broker.fd, line,
            broker_connect_line(line, sizeof line, i, look_ups ? name : local, disturb->port, tls));
    }
    tell_ready();
    wait_for_end();
    /* Nothing was to be answered. */
    struct pollfd item = {.fd = broker.fd, .events = POLLIN};
    if (poll(&item, 1, 0) != 0)
        bench_die("one does not hang: %s", broker_answer_any(&broker));
    broker_shut(&broker);
}

int main(int argc, char **argv)
{
    if (argc != 5)
        bench_die("usage: bench_disturb BROKER flood|paced|look-ups|connects|handshakes PORT N");
    struct disturb disturb = {.broker_path = argv[1],
                              .port = (uint16_t)bench_number(argv[3], 1, 65535),
                              .count = bench_number(argv[4], 2, 100000)};
    if (strcmp(argv[2], "flood") == 0 && disturb.count <= CLIENTS_MAX)
        flood(&disturb);
    else if (strcmp(argv[2], "paced") == 0)
        paced(&disturb);
    else
        hang(&disturb, strcmp(argv[2], "look-ups") == 0, strcmp(argv[2], "handshakes") == 0);
    printf("{\"made\": %ld, \"failed\": %ld}\n", atomic_load(&disturb.made),
           atomic_load(&disturb.failed));
    return 0;
}
