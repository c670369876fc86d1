#include "broker/record.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "broker/events.h"
#include "broker/record_log.h"
#include "broker/session.h"
#include "net/acceptor.h"
#include "proto/text.h"
#include "util/log.h"

static atomic_int log_which = RECORD_LOG_ALL;

static const char *const end_words[RECORD_END_N] = {
    [RECORD_END_UNKNOWN] = "unknown",
#define END(symbol, word, text) [RECORD_END_##symbol] = (word),
#include "proto/ends.def"
#undef END
};

void record_set_log(enum record_log which)
{
    atomic_store_explicit(&log_which, (int)which, memory_order_relaxed);
}

static bool logs(bool failed)
{
    int which = atomic_load_explicit(&log_which, memory_order_relaxed);
    return log_enabled(LOG_INFO_) &&
           (which == RECORD_LOG_ALL || (which == RECORD_LOG_FAILED && failed));
}

/* ---- the words ---- */

/* A record while it is written: the event, and the texts it points to. */
struct record {
    struct proto_event event;
    char client[RECORD_NAME_MAX + 1], trace[RECORD_NAME_MAX + 1];
    char hostname[256], door[81], identity[65], message[1024];
    char remote[ADDRESS_TEXT_MAX], local[ADDRESS_TEXT_MAX];
};

/* Nothing, or the tidied text. */
#define PUT(record, member, text)                                                                  \
    do {                                                                                           \
        const char *put_ = (text);                                                                 \
        if (put_ && *put_) {                                                                       \
            text_tidy((record)->member, sizeof((record)->member), put_);                           \
            (record)->event.has_##member = true;                                                   \
            (record)->event.member = (record)->member;                                             \
        }                                                                                          \
    } while (false)

#define SET(record, name, value)                                                                   \
    do {                                                                                           \
        (record)->event.has_##name = true;                                                         \
        (record)->event.name = (value);                                                            \
    } while (false)

static int64_t uid_of(uid_t uid)
{
    return uid == (uid_t)-1 ? -1 : (int64_t)uid;
}

static void put_session(struct record *record, const struct session *session)
{
    SET(record, session, (int64_t)session->id);
    SET(record, uid, uid_of(session->uid));
    SET(record, pid, (int64_t)session->pid);
    PUT(record, client, session->client);
    PUT(record, door, session->door);
}

static void put_address(const struct address *address, char *text, size_t n_text,
                        bool *ret_has_address, const char **ret_address, bool *ret_has_port,
                        int64_t *ret_port)
{
    if (!address)
        return;
    *ret_has_address = *ret_has_port = true;
    *ret_address = address_text(address, text, n_text);
    *ret_port = address_port(address);
}

static const char *kind_of(const struct socket *socket)
{
    if (socket->acceptor)
        return "listen";
    if (socket->session && socket->session->door)
        return strcmp(socket->session->door, "socks") == 0 ? "socks" : "tunnel";
    return socket->hostname ? "connect" : "accept";
}

static void put_socket(struct record *record, const struct socket *socket)
{
    struct proto_event *event = &record->event;
    const struct tls_facts *tls = socket_tls(socket);

    SET(record, kind, kind_of(socket));
    SET(record, socket, socket->number);
    if (socket->session) {
        put_session(record, socket->session);
    } else {
        SET(record, session, (int64_t)socket->offered_by);
        SET(record, uid, uid_of(socket->notes.offered_uid));
        SET(record, pid, (int64_t)socket->notes.offered_pid);
    }
    PUT(record, trace, socket->notes.trace);
    PUT(record, hostname, socket->hostname);
    put_address(socket_remote(socket), record->remote, sizeof(record->remote),
                &event->has_remote_address, &event->remote_address, &event->has_remote_port,
                &event->remote_port);
    put_address(socket_local(socket), record->local, sizeof(record->local),
                &event->has_local_address, &event->local_address, &event->has_local_port,
                &event->local_port);
    if (tls) {
        SET(record, tls, tls->version);
        SET(record, verified, tls->verified);
        SET(record, resumed, tls->resumed);
        PUT(record, identity, tls->identity);
    }
    if (socket->notes.pooled)
        SET(record, pooled, true);
}

/* ---- open ---- */

void record_open(const struct socket *socket, const struct proto_timing *timing)
{
    struct events *events = socket->room->events;
    struct record record;

    if (!events_wanted(events))
        return;
    record.event = (struct proto_event){.event = NULL};
    put_socket(&record, socket);
    if (timing)
        SET(&record, timing_us, *timing);
    events_post(events, EVENTS_OPEN, socket->session->uid, &record.event);
}

void record_listen(const struct socket *socket)
{
    struct events *events = socket->room->events;
    struct record record;

    if (!events_wanted(events))
        return;
    record.event = (struct proto_event){.event = NULL};
    put_socket(&record, socket);
    events_post(events, EVENTS_LISTEN, socket->session->uid, &record.event);
}

/* ---- close ---- */

void record_ends(struct socket *socket, enum record_end why)
{
    if (socket->notes.end == RECORD_END_UNKNOWN)
        socket->notes.end = why;
}

static enum record_end end_of_failure(const struct net_error *error)
{
    if (error->cause == NET_TIMED_OUT)
        return RECORD_END_TIMED_OUT;
    if (error->cause != NET_SYSTEM)
        return RECORD_END_FAILED;
    switch (error->sys_errno) {
    case ECONNRESET:
    case EPIPE: /* it was sent to after its reset */
        return RECORD_END_PEER_RESET;
    case ETIMEDOUT: /* keep-alive, or TCP_USER_TIMEOUT */
        return RECORD_END_TIMED_OUT;
    default:
        return RECORD_END_FAILED;
    }
}

/* What happened to the connection counts more than who then put it away. */
static enum record_end end_of(const struct socket *socket)
{
    if (socket->state == SOCKET_FAILED && socket->notes.end != RECORD_END_ADMINISTRATOR &&
        socket->notes.end != RECORD_END_POLICY)
        return end_of_failure(socket_error(socket));
    if (socket->notes.end != RECORD_END_UNKNOWN)
        return socket->notes.end;
    if (socket->session && socket->session->ending != RECORD_END_UNKNOWN)
        return socket->session->ending;
    return RECORD_END_SESSION_ENDED;
}

static void put_failure(struct record *record, const struct socket *socket)
{
    const struct net_error *error = socket_error(socket);

    if (socket->state != SOCKET_FAILED)
        return;
    PUT(record, message,
        error->verify_text[0]  ? error->verify_text
        : error->library[0]    ? error->library
        : error->alert[0]      ? error->alert
        : error->sys_errno > 0 ? strerrordesc_np(error->sys_errno)
                               : "");
}

static bool was_open(const struct socket *socket)
{
    return socket->state >= SOCKET_LISTENING && socket->state != SOCKET_CONNECTING;
}

void record_close(struct socket *socket, struct events *events)
{
    if (socket->notes.told || !was_open(socket))
        return;
    socket->notes.told = true;
    enum record_end end = end_of(socket);
    bool failed =
        end == RECORD_END_PEER_RESET || end == RECORD_END_TIMED_OUT || end == RECORD_END_FAILED;
    struct record record;
    if (!logs(failed) && !events_wanted(events))
        return;
    record.event = (struct proto_event){.event = NULL};
    put_socket(&record, socket);
    put_failure(&record, socket);
    SET(&record, reason, end_words[end]);
    SET(&record, duration_ms, (loop_clock_us() - socket->born_us) / 1000);
    if (end != RECORD_END_HANDED_OUT && !socket->acceptor) {
        SET(&record, bytes_in, (int64_t)socket->bytes_in);
        SET(&record, bytes_out, (int64_t)socket->bytes_out);
    }
    if (end == RECORD_END_HANDED_OUT)
        SET(&record, attached, "direct");
    else if (socket->attached)
        SET(&record, attached, "relay");
    if (logs(failed))
        record_log_close(&record.event);
    events_post(events, EVENTS_CLOSE,
                socket->session ? socket->session->uid : socket->notes.offered_uid, &record.event);
}

/* ---- neither ---- */

void record_fail(const struct record_failure *failure)
{
    const struct session *session = failure->session;
    struct record record;

    bool has_line = logs(true) && !failure->no_line;

    if (!has_line && !events_wanted(failure->events))
        return;
    record.event = (struct proto_event){.event = NULL};
    record.message[0] = '\0';
    record.event.message = record.message;
    if (failure->kind)
        SET(&record, kind, failure->kind);
    if (session) {
        put_session(&record, session);
    } else {
        SET(&record, uid, uid_of(failure->uid));
        SET(&record, pid, (int64_t)failure->pid);
        PUT(&record, door, failure->what);
    }
    PUT(&record, trace, failure->trace);
    PUT(&record, hostname, failure->hostname);
    if (failure->port)
        SET(&record, port, failure->port);
    SET(&record, stage, error_stage_name(failure->stage));
    SET(&record, symbol, failure->symbol);
    if (failure->code)
        SET(&record, code, failure->code);
    PUT(&record, message, failure->message);
    SET(&record, duration_ms, failure->took_us / 1000);
    if (has_line)
        record_log_fail(&record.event, failure);
    events_post(failure->events, failure->stage == STAGE_POLICY ? EVENTS_DENY : EVENTS_FAIL,
                session ? session->uid : failure->uid, &record.event);
}

void record_limit(const struct record_limit *limit)
{
    struct record record;

    if (!events_wanted(limit->events))
        return;
    record.event = (struct proto_event){.event = NULL};
    put_session(&record, limit->session);
    SET(&record, limit, limit->limit);
    SET(&record, limit_value, limit->value);
    SET(&record, stage, error_stage_name(limit->stage));
    SET(&record, symbol, limit->symbol);
    SET(&record, code, limit->code);
    PUT(&record, message, limit->message);
    events_post(limit->events, EVENTS_LIMIT, limit->session->uid, &record.event);
}
