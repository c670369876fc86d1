#pragma once
/*
 * broker: a session with the daemon over a raw socket, as small as a client can be. Requests are
 * written as prepared text, answers are looked at only for success and the socket's number: what is
 * measured is the daemon, not a client library.
 *
 * Threads:   one at a time for each session.
 * Ownership: a line from broker_answer() lives until the next call.
 * Errors:    an error answer ends the process with the answer as the message.
 * Limits:    an answer of at most 256 KiB.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct broker {
    int fd;
    char *data;
    size_t start;
    size_t end;
};

void broker_open(struct broker *broker, const char *path);
void broker_shut(struct broker *broker);

/* The next answer, of either kind, without its end; NUL-terminated. */
const char *broker_answer_any(struct broker *broker);
/* The next answer, which must be a result. */
const char *broker_answer(struct broker *broker);

/* Is there an answer that has been read from the socket already? */
bool broker_has_answer(const struct broker *broker);

/* A TCPConnect request; returns its length. Requests in flight need different ids. */
size_t broker_connect_line(char *line, size_t size, long id, const char *address, uint16_t port,
                           bool tls);
/* The number in an answer to it. */
long broker_socket_of(const char *answer);
/* Both steps. */
long broker_connect(struct broker *broker, const char *address, uint16_t port, bool tls);
/* TCPConnect with `attach`: the byte stream as a descriptor that blocks. One at a time, and nothing
 * else may be in flight. */
int broker_attach(struct broker *broker, const char *address, uint16_t port, bool tls);
/* A TCPClose request with option 2 (abort); returns its length. */
size_t broker_close_line(char *line, size_t size, long id, long socket);
/* Both steps. */
void broker_close(struct broker *broker, long socket);
/* TCPClose with `reuse`: its pool keeps the connection. */
void broker_give_back(struct broker *broker, long socket);
/* TCPSend of payload and TCPReceive of as many bytes, as one text; returns its length. */
size_t broker_echo_lines(char *lines, size_t size, long socket, const char *payload);
