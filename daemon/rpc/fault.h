#pragma once
/*
 * fault: an error on its way to a client, and the one place where conditions of the layers below
 * become wire errors.
 *
 * Threads:   any; a value.
 * Ownership: borrowed pointers live until fault_write().
 */
#include "broker/session.h"
#include "net/error.h"
#include "proto/message.h"
#include "rpc/settings.h"

struct dial;

struct fault {
    enum wire_error error;
    enum error_stage stage;
    bool retryable;
    char message[1024];
    /* the rest is left out when unset */
    char param[128];
    char expected[256];
    const char *limit; /* "limits.sockets" */
    int64_t limit_value;
    struct label owner;
    bool has_owner;
    int64_t sent;                 /* -1: unset */
    int64_t position;             /* -1: unset */
    int sys_errno;                /* 0: unset */
    int gai;                      /* 0: unset */
    int64_t retry_after_ms;       /* 0: unset; with until */
    char until[32];               /* RFC 3339 */
    const char *rule, *rule_file; /* of the policy, which has denied it */
    size_t rule_line;             /* 0: it has none */
    const char *preset;           /* that of the policy has denied it */
    const struct net_error *net;  /* attempts and TLS details */
    const struct dial *explain;   /* its addresses and its chain, too */
};

/* Start one: stage and retryable are the table's. */
__attribute__((format(printf, 3, 4))) void fault_set(struct fault *fault, enum wire_error error,
                                                     const char *format, ...);
/* A limit was reached; limit names the option. */
__attribute__((format(printf, 5, 6))) void fault_limit(struct fault *fault, enum wire_error error,
                                                       const char *limit, int64_t value,
                                                       const char *format, ...);
/* It may be tried again in so many milliseconds (> 0). */
void fault_retry(struct fault *fault, int64_t after_ms);
/* One of the limits was reached: counted, the user's account (NULL: nobody's) too. Fine when the
 * fault is another one. */
void fault_count_limit(const struct fault *fault, struct account_share *share);
/* A system call failed; what: what was tried, as the beginning of a sentence. */
void fault_errno(struct fault *fault, enum error_stage stage, int sys_errno, const char *what);
/* The resolver failed. */
void fault_gai(struct fault *fault, int gai, int sys_errno, const char *what, const char *host,
               const char *service);
/* Something with the network failed. */
void fault_net(struct fault *fault, const struct net_error *error, const char *what);
/* An operation on a socket ended with something else than SOCKET_OK; what: the method. */
void fault_outcome(struct fault *fault, enum socket_outcome outcome, const struct socket *socket,
                   const char *what);
/* There is no number for another socket: r is SESSION_E_FULL, _USER_FULL, _ALL_FULL or -ENOMEM. */
void fault_full(struct fault *fault, int r, const struct rpc_settings *settings, const char *what);
/* The user has as many tokens as he may. */
void fault_tokens(struct fault *fault, const struct rpc_settings *settings, const char *what);
/* session_hold() has returned r for n bytes. */
void fault_held(struct fault *fault, int r, const struct session *session, size_t n);
/* A look-up could not begin: r is FLIGHT_E_*. */
void fault_lookups(struct fault *fault, int r, const struct rpc_settings *settings,
                   const char *what);
/* One member of params is wrong; expected: what would be right. */
void fault_param(struct fault *fault, const char *what, const char *param, const char *expected);
/* What message_parse() found wrong. */
void fault_wrong(struct fault *fault, const struct message_wrong *wrong);

void fault_write(struct writer *writer, const struct proto_id *id, const struct fault *fault);
