#pragma once
/*
 * record: what is written down of a connection: the one line in the log that it has, at its end,
 * or because it could not be made, and the events that say the same to who asked for them
 * (broker/events.h). Who, where, how long, how much, why it has ended.
 *
 * What a record says is read from the socket when it is written.
 *
 * Threads:   any, with a socket that is the caller's; record_set_log() any.
 * Ownership: everything is borrowed.
 * Errors:    none.
 * Limits:    names from clients are cut to RECORD_NAME_MAX bytes; what is no text in them, and in
 * what peers say, becomes '?'. Payload, tokens and keys are nowhere in it.
 */
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "proto/methods.h"

struct events;
struct session;
struct socket;

enum { RECORD_NAME_MAX = 64 };

/* Why a connection has ended. */
enum record_end {
    RECORD_END_UNKNOWN = 0,
#define END(symbol, word, text) RECORD_END_##symbol,
#include "proto/ends.def"
#undef END
    RECORD_END_N
};

/* What a socket keeps for its record. */
struct record_notes {
    enum record_end end; /* why it ends, once that is known: record_ends() */
    bool told;           /* it is written, or somebody else's business */
    bool pooled;         /* a pool had the connection ready */
    bool peer_first;     /* the peer's end was read before ours was sent */
    uid_t offered_uid;   /* on offer: of the session that has offered it */
    pid_t offered_pid;
    char trace[RECORD_NAME_MAX + 1]; /* TCPConnect's; "": none */
};

/* Which connections have a line in the log: all, those that failed, none. Events do not care. */
enum record_log { RECORD_LOG_ALL, RECORD_LOG_FAILED, RECORD_LOG_NONE };
void record_set_log(enum record_log which);

/* It can be used from now on; timing: NULL, nobody waited for it. */
void record_open(const struct socket *socket, const struct proto_timing *timing);
/* It takes connections from now on. */
void record_listen(const struct socket *socket);
/* Why it is about to end; what was said first holds. Else what socket_close() was asked for tells,
 * or its session. */
void record_ends(struct socket *socket, enum record_end why);
/* Its end: once; what comes later about the same socket is nothing, as is one that was never open.
 * Its stream, or what is left of that, must be there still. events: of the calling thread. */
void record_close(struct socket *socket, struct events *events);

/* One that could not be made, or something that was not allowed. */
struct record_failure {
    struct events *events;
    const struct session *session; /* NULL: a program at a door, that had none yet */
    uid_t uid;                     /* (uid_t)-1: unknown */
    pid_t pid;
    const char *what;                    /* "connect", "accept", the door's name, the method's */
    const char *kind;                    /* as in the event; NULL: no connection */
    const char *trace, *hostname, *port; /* NULL: none */
    enum error_stage stage;              /* STAGE_POLICY: denied */
    int64_t code;                        /* 0: none was answered */
    const char *symbol, *message;
    int64_t took_us;
    const char *rule_file; /* of the rule that has denied it; NULL: none has */
    size_t rule_line;      /* 0: it has none */
    bool no_line;          /* who may provoke any number of them must not fill the log */
    unsigned n_silent;     /* how many have had no line since the last one */
};
void record_fail(const struct record_failure *failure);

/* A limit of the configuration was reached. */
struct record_limit {
    struct events *events;
    const struct session *session;
    const char *limit; /* the option */
    int64_t value;
    enum error_stage stage;
    int64_t code;
    const char *symbol, *message;
};
void record_limit(const struct record_limit *limit);
