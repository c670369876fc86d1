#pragma once
/*
 * client: one connection from a local program: lines in, answers out, the session it belongs to,
 * its running requests.
 *
 * Threads:   its io thread only (asserted). Session.Join may take it to another one: between
 * client_depart() and client_arrive() it is plain data.
 * Ownership: the io thread owns it from client_new() until it ends by itself or by client_end(). It
 * owns its requests. Errors:    -errno from client_new(). Whatever goes wrong with the connection
 * ends the client. Limits:    rpc_settings: line, nesting, requests, unread_answers,
 * held_bytes; those of its user. What lies in its buffers counts for its user's bytes, too. While
 * more than unread_answers bytes lie here unread the client is not read from and its receives wait.
 */
#include "broker/session.h"
#include "net/watch.h"
#include "proto/fds.h"
#include "proto/frame.h"
#include "proto/writer.h"
#include "rpc/fault.h"
#include "rpc/io.h"

enum client_state {
    CLIENT_OPEN,
    CLIENT_ENDED, /* it ended its sending side: running requests are answered, then it is closed */
    CLIENT_DRAINING, /* the daemon stops: the same; new requests are still read, but refused */
};

struct client {
    struct list link;    /* io->clients */
    struct list dirty;   /* io->dirty */
    struct list member;  /* session->members */
    struct list waiting; /* its user's, for the next turn: rpc/turns.h */
    struct io *io;
    enum client_state state;
    bool paused;     /* unread answers over the limit: it is not read from */
    bool processing; /* inside the reading of its lines: it must not be freed there */
    bool doomed;     /* to be ended as soon as nothing uses it any more */
    bool behind;     /* answers wait for the kernel: io->n_behind */
    bool last_words; /* it cannot send any more, and what it had sent was read */
    bool stalled;    /* lines may lie in the frame that were not looked at; or there is a rest */
    int fd;
    uid_t uid;
    pid_t pid;
    struct watch *watch;
    struct frame frame;
    struct {
        struct message *message; /* NULL: there is none */
        struct batch *batch;
        size_t next;
    } rest;            /* of a batch, that waits for its turn */
    struct writer out; /* answers not yet taken by the kernel */
    uint64_t n_sent;   /* bytes of answers before those */
    struct fds_queue fds;
    struct timer retry; /* too many descriptors are under way */
    struct session *session;
    struct account_charge charge;
    size_t n_counted;     /* bytes of it that its user's account knows of */
    size_t n_collected;   /* the same of its batches' answers */
    struct list requests; /* running */
    size_t n_requests;
    struct subscription *subscription; /* rpc/subscriptions.h; NULL: none */
    struct request *joining;           /* a Session.Join: what was sent behind it waits */
    char name[129];                    /* as Broker.Hello gave it */
};

enum { CLIENT_E_LIMIT = 1 }; /* it is turned away; told in the log */

/* Takes the fd. Returns 0, CLIENT_E_LIMIT or -errno. */
NODISCARD int client_new(struct client **ret_client, struct io *io, int fd, uid_t uid, gid_t gid,
                         pid_t pid);
/* End it now: running requests are withdrawn without an answer, sockets closed. */
void client_end(struct client *client, const char *why);
/* The same at the end of this iteration: for callers inside something that still uses the client.
 */
void client_doom(struct client *client);
/* The daemon is about to stop: read what was sent before that, so that it counts as running. May
 * end the client. */
void client_read_last(struct client *client);
/* The daemon stops: answer what runs, then close. */
void client_drain(struct client *client);
/* Answer all that runs with SHUTTING_DOWN, flush what goes at once, close. */
void client_cut(struct client *client);
/* Root, the user that the daemon runs as, or one of [admin], as the kernel knew him when he
 * connected. Judged anew each time: a reload may have changed who it is. */
bool client_is_admin(const struct client *client);
/* Leave the io thread, with nothing running but `joining`, and without a session. */
void client_depart(struct client *client);
/* Go on as a client of that io thread. On failure (-errno) it has been ended. */
NODISCARD int client_arrive(struct client *client, struct io *io, struct session *session);
/* Send what is to be sent; called once per iteration for clients on io->dirty. */
void client_flush(struct client *client);

/*
 * Writing an answer: begin gives the writer; end appends the line's end and marks the client dirty.
 * When memory ran out in between, end takes back what was written and answers ENOBUFS to id
 * instead, for which room was kept since the request was accepted.
 */
struct writer *client_answer_begin(struct client *client, struct writer_mark *ret_mark);
/* Returns false when memory ran out. */
bool client_answer_end(struct client *client, struct writer_mark mark, const struct proto_id *id);
/* A descriptor for the line that was begun at that mark, once that has been ended; takes it. There
 * must be room (fds_reserve()). */
void client_answer_fd(struct client *client, struct writer_mark mark, int fd);
/* A line, with its end, that is no answer. False: no memory, and nothing is said. */
NODISCARD bool client_notify(struct client *client, const char *line, size_t n);
/* Keep room for the ENOBUFS answers of all running requests. Returns 0 or -ENOMEM. */
NODISCARD int client_reserve(struct client *client);
/* So many bytes of answers more wait in its batches; when its user has far more than he may, it is
 * ended. */
void client_collect(struct client *client, size_t n);
void client_uncollect(struct client *client, size_t n);
/* Is there much of that, while its user has all that he may? */
bool client_hoards_batches(const struct client *client);
/* Bytes of answers so far, those that a batch collects included. */
static inline uint64_t client_answered(const struct client *client)
{
    return client->n_sent + client->out.n_data + client->n_collected;
}
/* A request of it has ended. */
void client_request_ended(struct client *client);
