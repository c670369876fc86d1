/* fresh_raw ADDRESS PORT SOCKET: the same exchange through the broker, with nothing but libc. */
#include "bench/broker.h"
#include "bench/common.h"

#include <string.h>

int main(int argc, char **argv)
{
    if (argc != 4)
        bench_die("usage: bench_fresh_raw ADDRESS PORT SOCKET");
    struct broker broker;
    broker_open(&broker, argv[3]);
    long socket = broker_connect(&broker, argv[1], (uint16_t)bench_number(argv[2], 1, 65535), true);
    char lines[512];
    bench_write(broker.fd, lines, broker_echo_lines(lines, sizeof lines, socket, "ping"));
    broker_answer(&broker);
    const char *received = broker_answer(&broker);
    int status = strstr(received, "\"data\":\"ping\"") != NULL ? 0 : 1;
    broker_shut(&broker);
    return status;
}
