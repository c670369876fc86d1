#include "bench/broker.h"

#include "bench/common.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ANSWER_MAX = 256 * 1024 };

void broker_open(struct broker *broker, const char *path)
{
    *broker = (struct broker){.fd = bench_dial_unix(path), .data = malloc(ANSWER_MAX)};
    if (broker->data == NULL)
        bench_die("out of memory");
}

void broker_shut(struct broker *broker)
{
    close(broker->fd);
    free(broker->data);
    *broker = (struct broker){.fd = -1};
}

const char *broker_answer_any(struct broker *broker)
{
    for (;;) {
        char *line = broker->data + broker->start;
        char *newline = memchr(line, '\n', broker->end - broker->start);
        if (newline != NULL) {
            *newline = '\0';
            broker->start = (size_t)(newline + 1 - broker->data);
            return line;
        }
        memmove(broker->data, line, broker->end - broker->start);
        broker->end -= broker->start;
        broker->start = 0;
        if (broker->end == ANSWER_MAX)
            bench_die("an answer is longer than %d bytes", ANSWER_MAX);
        ssize_t got = recv(broker->fd, broker->data + broker->end, ANSWER_MAX - broker->end, 0);
        if (got == 0)
            bench_die("the broker closed the session");
        if (got < 0 && errno != EINTR)
            bench_die("recv from the broker: %s", strerror(errno));
        if (got > 0)
            broker->end += (size_t)got;
    }
}

const char *broker_answer(struct broker *broker)
{
    const char *answer = broker_answer_any(broker);
    if (strstr(answer, "\"result\":") == NULL)
        bench_die("the broker answered: %s", answer);
    return answer;
}

bool broker_has_answer(const struct broker *broker)
{
    return memchr(broker->data + broker->start, '\n', broker->end - broker->start) != NULL;
}

size_t broker_connect_line(char *line, size_t size, long id, const char *address, uint16_t port,
                           bool tls)
{
    int n = snprintf(line, size,
                     "{\"jsonrpc\":\"2.0\",\"id\":%ld,\"method\":\"TCPConnect\",\"params\":[\"%s\","
                     "%u,%s]}\n",
                     id, address, port, tls ? "true" : "false");
    if (n < 0 || (size_t)n >= size)
        bench_die("the request is too long");
    return (size_t)n;
}

long broker_socket_of(const char *answer)
{
    static const char member[] = "\"socket\":";
    const char *at = strstr(answer, member);
    long number = at == NULL ? 0 : strtol(at + sizeof member - 1, NULL, 10);
    if (number <= 0)
        bench_die("no socket in: %s", answer);
    return number;
}

long broker_connect(struct broker *broker, const char *address, uint16_t port, bool tls)
{
    char line[256];
    bench_write(broker->fd, line, broker_connect_line(line, sizeof line, 1, address, port, tls));
    return broker_socket_of(broker_answer(broker));
}

/* Descriptors come with the first byte of the answer they belong to (unix(7), SCM_RIGHTS). */
static int receive_descriptor(struct broker *broker)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec space = {.iov_base = broker->data, .iov_len = ANSWER_MAX};
    struct msghdr message = {.msg_iov = &space,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof control.bytes};
    ssize_t got;
    int fd = -1;
    do
        got = recvmsg(broker->fd, &message, MSG_CMSG_CLOEXEC);
    while (got < 0 && errno == EINTR);
    if (got <= 0)
        bench_die("recvmsg from the broker: %s", got == 0 ? "its end" : strerror(errno));
    broker->start = 0;
    broker->end = (size_t)got;
    const struct cmsghdr *part = CMSG_FIRSTHDR(&message);
    if (part != NULL && part->cmsg_type == SCM_RIGHTS)
        memcpy(&fd, CMSG_DATA(part), sizeof fd);
    return fd;
}

int broker_attach(struct broker *broker, const char *address, uint16_t port, bool tls)
{
    char line[256];
    int n =
        snprintf(line, sizeof line,
                 "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"TCPConnect\",\"params\":{\"hostname\":"
                 "\"%s\",\"port\":%u,\"secure\":%s,\"attach\":true}}\n",
                 address, port, tls ? "true" : "false");
    bench_write(broker->fd, line, (size_t)n);
    int fd = receive_descriptor(broker);
    const char *answer = broker_answer(broker);
    if (fd < 0)
        bench_die("no descriptor with: %s", answer);
    return fd;
}

size_t broker_close_line(char *line, size_t size, long id, long socket)
{
    int n = snprintf(
        line, size, "{\"jsonrpc\":\"2.0\",\"id\":%ld,\"method\":\"TCPClose\",\"params\":[%ld,2]}\n",
        id, socket);
    if (n < 0 || (size_t)n >= size)
        bench_die("the request is too long");
    return (size_t)n;
}

void broker_close(struct broker *broker, long socket)
{
    char line[128];
    bench_write(broker->fd, line, broker_close_line(line, sizeof line, 4, socket));
    broker_answer(broker);
}

void broker_give_back(struct broker *broker, long socket)
{
    char line[128];
    int n =
        snprintf(line, sizeof line,
                 "{\"jsonrpc\":\"2.0\",\"id\":4,\"method\":\"TCPClose\",\"params\":{\"socket\":%ld,"
                 "\"option\":0,\"reuse\":true}}\n",
                 socket);
    bench_write(broker->fd, line, (size_t)n);
    broker_answer(broker);
}

size_t broker_echo_lines(char *lines, size_t size, long socket, const char *payload)
{
    int n =
        snprintf(lines, size,
                 "{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"TCPSend\",\"params\":[%ld,\"%s\"]}\n"
                 "{\"jsonrpc\":\"2.0\",\"id\":3,\"method\":\"TCPReceive\",\"params\":{\"socket\":"
                 "%ld,\"exact\":%zu}}\n",
                 socket, payload, socket, strlen(payload));
    if (n < 0 || (size_t)n >= size)
        bench_die("the requests are too long");
    return (size_t)n;
}
