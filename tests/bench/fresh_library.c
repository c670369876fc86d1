/* fresh_library ADDRESS PORT SOCKET: the same exchange through the broker, with libtcpbroker. */
#include "lib/tcpbroker.h"

#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
    if (argc != 4)
        return 2;
    struct tcpb_error error;
    struct tcpb *broker = NULL;
    struct tcpb_reply *connected = NULL;
    struct tcpb_reply *received = NULL;
    const struct tcpb_tcp_connect_result *connection;
    const struct tcpb_tcp_receive_result *answer;
    int status = 1;
    if (tcpb_open(&broker, argv[3], &error) != 0)
        goto out;
    struct tcpb_tcp_connect_params to = {
        .hostname = argv[1], .port = argv[2], .has_secure = true, .secure = true};
    if (tcpb_tcp_connect(broker, &to, &connected, &connection, &error) != 0)
        goto out;
    struct tcpb_tcp_send_params ping = {
        .socket = connection->socket, .has_data = true, .data = {"ping", 4}};
    struct tcpb_tcp_receive_params echo = {
        .socket = connection->socket, .has_exact = true, .exact = 4};
    if (tcpb_tcp_send(broker, &ping, NULL, NULL, &error) != 0 ||
        tcpb_tcp_receive(broker, &echo, &received, &answer, &error) != 0)
        goto out;
    if (answer->received == 4)
        status = 0;
out:
    if (status != 0)
        fprintf(stderr, "bench_fresh_library: %s\n", error.message);
    tcpb_reply_free(received);
    tcpb_reply_free(connected);
    tcpb_close(broker);
    return status;
}
