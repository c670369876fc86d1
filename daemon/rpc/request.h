#pragma once
/*
 * request: one running request. It is answered exactly once: by request_answer(), request_fail(),
 * or not at all when its client is gone or when it is a notification; each of them takes the
 * request away from its caller.
 *
 * A handler gets the request with decoded params and either answers at once or parks it in an
 * operation, giving it a `withdraw` function: after withdraw() nothing of that operation will call
 * back. Cancelling, deadlines and the client's end all go through it.
 *
 * Threads:   the client's io thread only (asserted).
 * Ownership: belongs to its client's list; freed by being answered.
 * Errors:    none that could be lost: every failure is an answer.
 */
#include "broker/socket_listen.h"
#include "broker/socket_move.h"
#include "rpc/client.h"

struct request;
struct batch;
struct consult;
struct echo;
struct errand;
struct gather;
struct job;
struct policy_test;

struct request {
    struct list link; /* client->requests */
    struct client *client;
    struct message *message;
    const struct call *call;
    struct batch *batch; /* NULL: not part of one */
    struct label thread;
    struct timer deadline;
    int64_t started_us;
    size_t n_held;
    /* stop the parked operation; may put into fault what became of it (data.sent) when fault is not
     * NULL */
    void (*withdraw)(struct request *request, struct fault *fault);
    void (*on_deadline)(struct request *request); /* NULL: ETIMEDOUT in stage io */
    union method_params params;
    struct socket *socket;
    union {
        struct socket_send send;
        struct socket_receive receive;
        struct socket_close close;
        struct {
            struct job *job; /* rpc/job.h */
            union {
                struct socket_accept accept;
                struct socket_secure secure;
                struct socket_hold hold;
                struct policy_test *test; /* rpc/method_policy.c */
            };
        };
        struct errand *errand;   /* rpc/errand.h */
        struct gather *gather;   /* rpc/method_list.c */
        struct echo *echo;       /* rpc/method_ping.c */
        struct consult *consult; /* rpc/consult.h */
    } op;
};

/* The client takes answers again: a receive that was held up may be served. */
void request_poke(struct request *request);

/* A line was read: run all its calls, or those of a batch that fit into its user's turn. The others
 * are client->rest. */
void request_line(struct client *client, const char *line, size_t n);
/* Go on with the rest; or it will never be. */
void request_rest(struct client *client);
void request_drop_rest(struct client *client);

/* One of several in a batch. */
bool request_in_company(const struct request *request);

/* A token that nobody is told would leave what it stands for out of everybody's reach. False: it is
 * a notification, and was refused. */
NODISCARD bool request_is_answered(struct request *request);

/* Answer with a result struct of the method's table. */
void request_answer(struct request *request, const void *result);
/* The same with a descriptor beside the line; takes it. There must be room: request_reserve_fd().
 */
void request_answer_fd(struct request *request, const void *result, int fd);
NODISCARD int request_reserve_fd(struct request *request);
/* The same with a result that no struct could hold: write() writes it as one JSON value. */
void request_answer_raw(struct request *request, void (*write)(struct writer *writer));
void request_fail(struct request *request, const struct fault *fault);
/* Drop it without an answer: its client is gone. */
void request_drop(struct request *request);
/* Withdraw what runs and answer with that error. */
void request_abort(struct request *request, enum wire_error error, const char *why);

/* Answer ETIMEDOUT in delay_ms, unless answered before. On lack of memory the request is failed and
 * false returned. */
NODISCARD bool request_deadline(struct request *request, int64_t delay_ms);
/* The same, when the request names a deadline (given: it does) or its session has one (>= 0). */
NODISCARD bool request_deadline_if(struct request *request, bool given, int64_t delay_ms,
                                   int64_t session_ms);
/* Which deadline counts: that of the request, of its session, or of the configuration. */
static inline int64_t request_choose_ms(bool given, int64_t delay_ms, int64_t session_ms,
                                        int64_t config_ms)
{
    return given ? delay_ms : session_ms >= 0 ? session_ms : config_ms;
}
/* The running request of that client with that id, or NULL. */
struct request *request_find(struct client *client, const struct proto_id *id);

/* Set request->socket to the socket it is about, checked for existence and owner. False: there is
 * none, and the request was answered and is gone. */
NODISCARD bool request_socket(struct request *request, int64_t number);
static inline const char *request_name(const struct request *request)
{
    return method_infos[request->call->method].name;
}
static inline struct session *request_session(const struct request *request)
{
    return request->client->session;
}

/* The handlers, one for each method. */
typedef void (*request_handler)(struct request *request);
request_handler request_handler_of(enum method method);
