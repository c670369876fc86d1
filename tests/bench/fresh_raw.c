/*
 * fresh_raw json|attach|relay ADDRESS PORT SOCKET: the same exchange with nothing but libc: through
 * the broker at SOCKET with JSON, or on a descriptor that it hands out; or through the relay there.
 */
#include "bench/broker.h"
#include "bench/common.h"

#include <string.h>
#include <unistd.h>

static int echo_json(struct broker *broker, const char *address, uint16_t port)
{
    char lines[512];
    long socket = broker_connect(broker, address, port, true);
    bench_write(broker->fd, lines, broker_echo_lines(lines, sizeof lines, socket, "ping"));
    broker_answer(broker);
    return strstr(broker_answer(broker), "\"data\":\"ping\"") != NULL ? 0 : 1;
}

static int echo_stream(int fd)
{
    char answer[4];
    bench_write(fd, "ping", 4);
    bench_read(fd, answer, 4);
    close(fd);
    return memcmp(answer, "ping", 4) == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
    if (argc != 5)
        bench_die("usage: bench_fresh_raw json|attach|relay ADDRESS PORT SOCKET");
    if (strcmp(argv[1], "relay") == 0)
        return echo_stream(bench_dial_unix(argv[4]));
    uint16_t port = (uint16_t)bench_number(argv[3], 1, 65535);
    struct broker broker;
    broker_open(&broker, argv[4]);
    int status = strcmp(argv[1], "json") == 0
                     ? echo_json(&broker, argv[2], port)
                     : echo_stream(broker_attach(&broker, argv[2], port, true));
    broker_shut(&broker);
    return status;
}
