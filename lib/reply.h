#pragma once
/*
 * reply: one answer, kept as its line until someone looks at it.
 *
 * Threads:   one at a time. Filled by the thread that reads the connection, looked into by the one
 * that asked. Ownership: a reply owns its line, what was read from it and its descriptors. Errors:
 * as for the functions of <tcpbroker.h>.
 */
#include "lib/tcpbroker.h"
#include "proto/message.h"

enum { REPLY_FDS_MAX = 4 };

struct tcpb_reply {
    int64_t id;
    enum method method;
    char *line; /* NULL: it could not be kept for want of memory */
    size_t n_line;
    struct answer answer;
    bool is_read;           /* answer is filled */
    char *json;             /* see tcpb_reply_json() */
    void *result;           /* decoded; in answer.arena */
    int fds[REPLY_FDS_MAX]; /* came with it, and were not taken: the first n_fds */
    size_t n_fds;
    bool fd_lost; /* one did not arrive */
};

struct tcpb_reply *reply_new(int64_t id, enum method method); /* NULL: no memory */
/* Keep a copy of the line. It may fail for want of memory; reply_read() will tell then. */
void reply_fill(struct tcpb_reply *reply, const char *line, size_t n);
/* A descriptor that came with it; -1: one that was lost on the way. */
void reply_add_fd(struct tcpb_reply *reply, int fd);
/* tcpb_reply_take_fd(), or why there is none. */
int reply_take_fd(struct tcpb_reply *reply, int *ret_fd, struct tcpb_error *error);
/* Read the line. Returns 0 also for an answer that is an error. */
int reply_read(struct tcpb_reply *reply, struct tcpb_error *error);

/* The result as its method's struct, in the reply. TCPB_LOCAL_PROTOCOL when it does not fit. */
int reply_result(struct tcpb_reply *reply, const void **ret_result, struct tcpb_error *error);

/* The id of an answer line without reading all of it, where the daemon writes it first. */
bool reply_peek_id(const char *line, size_t n, int64_t *ret_id);
