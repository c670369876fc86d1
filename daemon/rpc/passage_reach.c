#include "rpc/passage_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker/socket_attach.h"
#include "broker/stats.h"
#include "net/watch.h"
#include "rpc/pace.h"
#include "rpc/police.h"
#include "rpc/secure.h"
#include "rpc/sessions.h"
#include "rpc/shares.h"
#include "util/log.h"

/* ---- the end ---- */

static void free_when_idle(struct passage *passage)
{
    if (passage->state != PASSAGE_OVER || flight_is_out(&passage->flight))
        return;
    dial_free(passage->dial);
    free(passage);
}

/* The program's connection: TCP with a reset, so that nobody takes it for an orderly end. */
static void close_program(struct passage *passage, bool reset)
{
    static const struct linger at_once = {.l_onoff = 1, .l_linger = 0};

    if (passage->fd < 0)
        return;
    if (reset) /* ignored by Unix sockets */
        (void)setsockopt(passage->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    close(passage->fd);
    passage->fd = -1;
}

void passage_end(struct passage *passage, bool reset)
{
    struct io *io = passage->io;

    passage->state = PASSAGE_OVER;
    timers_stop(&io->loop->timers, &passage->deadline);
    passage->watch = watch_free(passage->watch);
    if (passage->socket)
        session_socket_free(passage->session, passage->socket, false);
    if (passage->session) {
        passage->session->n_guests = 0;
        sessions_release(passage->session);
    }
    passage->route = route_leave(passage->route);
    /* a program that has seen its end is not counted any more */
    close_program(passage, reset);
    list_remove(&passage->link);
    flight_recall(&passage->flight);
    account_discharge(&passage->charge);
    passage->share = shares_put(io, passage->share);
    free_when_idle(passage);
    io_check_drained(io);
}

/* ---- failing ---- */

static enum socks5_reply reply_of(const struct fault *fault)
{
    if (fault->stage == STAGE_POLICY)
        return SOCKS5_NOT_ALLOWED;
    switch (fault->error) {
    case WIRE_ECONNREFUSED:
        return SOCKS5_REFUSED;
    case WIRE_ENETUNREACH:
    case WIRE_ENETDOWN:
        return SOCKS5_NETWORK_UNREACHABLE;
    case WIRE_EHOSTUNREACH:
    case WIRE_EHOSTDOWN:
    case WIRE_HOST_NOT_FOUND:
    case WIRE_NO_DATA:
    case WIRE_TRY_AGAIN:
    case WIRE_NO_RECOVERY:
        return SOCKS5_HOST_UNREACHABLE;
    case WIRE_ETIMEDOUT:
        return SOCKS5_TTL_EXPIRED;
    default:
        return SOCKS5_FAILURE;
    }
}

/* What is unread would make the close a reset, which can overtake what was just sent. */
void passage_send_last(struct passage *passage, const uint8_t *data, size_t n)
{
    const struct socket_room *room = &passage->io->room;

    (void)send(passage->fd, data, n, MSG_NOSIGNAL | MSG_DONTWAIT);
    (void)shutdown(passage->fd, SHUT_WR);
    (void)recv(passage->fd, room->scratch, room->n_scratch, MSG_DONTWAIT);
}

/* fault: NULL, none was written. */
static void log_failed(const struct passage *passage, enum error_stage stage,
                       const struct fault *fault, const char *symbol, const char *message)
{
    char port[8];
    bool known = passage->state != PASSAGE_ASKING;

    route_failed(passage->route);
    if (passage->socket && passage->socket->state != SOCKET_CONNECTING) {
        record_ends(passage->socket, RECORD_END_FAILED); /* it was told that it is open */
        return;
    }
    snprintf(port, sizeof(port), "%u", passage->port);
    record_fail(&(struct record_failure){
        .events = passage->io->room.events,
        .session = passage->session,
        .uid = passage->peer.uid,
        .pid = passage->peer.pid,
        .what = passage->route->name,
        .kind = passage->route->socks ? "socks" : "tunnel",
        .hostname = known ? passage->host : NULL,
        .port = known ? port : NULL,
        .stage = stage,
        .code = fault ? error_infos[fault->error].code : 0,
        .rule_file = fault ? fault->rule_file : NULL,
        .rule_line = fault ? fault->rule_line : 0,
        .symbol = symbol,
        .message = message,
        .took_us = loop_clock_us() - passage->started_us,
    });
}

void passage_log_failed(const struct passage *passage, const char *message, const char *symbol)
{
    log_failed(passage, passage->state == PASSAGE_ASKING ? STAGE_REQUEST : STAGE_CONNECT, NULL,
               symbol, message);
}

static enum meter_via via_of(const struct passage *passage)
{
    return passage->route->socks ? METER_SOCKS : METER_TUNNEL;
}

void passage_fail(struct passage *passage, const struct fault *fault)
{
    uint8_t answer[SOCKS5_ANSWER_MAX];

    if (fault->stage == STAGE_TLS)
        stats_count(handshakes_failed);
    meter_failed(&passage->io->meter, via_of(passage), fault->stage,
                 fault->error == WIRE_ETIMEDOUT);
    meter_limit(&passage->io->meter, fault->limit);
    fault_count_limit(fault, passage->share);
    log_failed(passage, fault->stage, fault, error_infos[fault->error].symbol, fault->message);
    if (passage->route->socks)
        passage_send_last(passage, answer, socks5_answer(reply_of(fault), NULL, answer));
    passage_end(passage, !passage->route->socks);
}

void passage_fail_memory(struct passage *passage)
{
    struct fault fault;
    fault_set(&fault, WIRE_ENOBUFS, "out of memory");
    passage_fail(passage, &fault);
}

static void describe(const struct passage *passage, char *text, size_t n_text)
{
    snprintf(text, n_text, "connecting to %s port %u", passage->host, passage->port);
}

/* ---- reached ---- */

static void log_open(struct passage *passage, const struct dial *dial)
{
    const struct socket *socket = passage->socket;
    const struct tls_facts *tls = stream_tls(socket->stream);
    const struct proto_timing timing = {
        .resolve = dial->resolve_us,
        .connect = dial->connect_us,
        .handshake = dial->handshake_us,
        .total = loop_clock_us() - passage->started_us,
    };

    meter_connected(&passage->io->meter, via_of(passage), dial, timing.total);
    if (tls)
        secure_count(tls, false);
    record_open(socket, &timing);
    if (tls && !tls->verified) {
        log_warning("socket %u: the certificate of %s was not verified (%s: verify = no)",
                    socket->number, passage->host, passage->route->name);
    }
}

/* The socket and the program's connection belong together now, and the session is there for them.
 */
static void hand_on(struct passage *passage)
{
    uint8_t answer[SOCKS5_ANSWER_MAX];
    int fd = passage->fd;

    passage->fd = -1;
    if (passage->route->socks) {
        size_t n = socks5_answer(SOCKS5_SUCCEEDED, stream_local(passage->socket->stream), answer);
        /* it has room: two bytes were sent before; nothing of the stream can be there yet */
        if (send(fd, answer, n, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)n)
            (void)shutdown(fd, SHUT_RDWR); /* gone; the relay sees it */
    }
    passage->session->n_guests = 0;
    account_charge_move(&passage->session->passage_charge, &passage->charge);
    sessions_linger(passage->session, &passage->route);
    passage->session = NULL;
    passage->socket = NULL;
}

static void finish(struct passage *passage, struct dial *dial)
{
    struct fault fault;
    char what[384];

    describe(passage, what, sizeof(what));
    if (dial->error.cause != NET_OK) {
        fault_net(&fault, &dial->error, what);
        passage_fail(passage, &fault);
        return;
    }
    int r = socket_connect(passage->socket, &dial->connection);
    if (r == 0) {
        log_open(passage, dial);
        /* the relay watches the program's connection itself */
        passage->watch = watch_free(passage->watch);
        r = socket_attach_to(passage->socket, passage->fd);
    }
    if (r > 0) {
        fault_outcome(&fault, (enum socket_outcome)r, passage->socket, what);
        passage_fail(passage, &fault);
    } else if (r < 0) {
        fault_errno(&fault, STAGE_BROKER, -r, what);
        passage_fail(passage, &fault);
    } else {
        hand_on(passage);
        passage_end(passage, false);
    }
}

/* ---- reaching ---- */

void passage_on_dial(struct flight *flight, struct dial *dial)
{
    struct passage *passage = container_of(flight, struct passage, flight);

    if (passage->state == PASSAGE_REACHING)
        finish(passage, dial);
    else
        free_when_idle(passage);
    dial_free(dial);
}

void passage_on_deadline(struct timer *timer)
{
    struct passage *passage = container_of(timer, struct passage, deadline);
    struct fault fault;
    char what[384];
    bool lookup = passage->flight.lookup;

    if (passage->state == PASSAGE_ASKING) {
        passage_log_failed(passage, "it did not say in time where to (socks.handshake_timeout)",
                           "ETIMEDOUT");
        passage_end(passage, true);
        return;
    }
    describe(passage, what, sizeof(what));
    fault_set(&fault, WIRE_ETIMEDOUT, "%s: the deadline passed %s", what,
              lookup ? "while looking up the name; is the name server up?"
                     : "while the broker was too busy to say more");
    fault.stage = lookup ? STAGE_RESOLVE : STAGE_CONNECT;
    passage_fail(passage, &fault);
}

static bool is_policed(const struct passage *passage)
{
    return police_concerns(passage->io->snapshot->policy, METHOD_TCP_CONNECT);
}

/* The policy's question: it is a TCPConnect, of who is at the program's end of a Unix socket. Who
 * comes by TCP may be anybody on this host. */
static void ask(const struct passage *passage, struct police *police)
{
    const struct route *route = passage->route;

    police_peer(police, passage->io->snapshot->policy, METHOD_TCP_CONNECT,
                passage->peer.uid == (uid_t)-1 ? -1 : passage->fd);
    police->pid = passage->peer.pid;
    police_host(police, passage->host);
    police->question.port = passage->port;
    police->question.no_address_yet = true;
    police->question.secure = route->secure;
    police->question.verify = route->verify;
    police->question.identity = route->identity ? identity_name(route->identity) : NULL;
}

/* What is denied whatever the name leads to is not even looked up. */
static bool pass_by_name(struct passage *passage)
{
    struct police police;
    struct fault fault;
    char what[384];

    if (!is_policed(passage))
        return true;
    ask(passage, &police);
    describe(passage, what, sizeof(what));
    if (police_passes(&police, what, &fault))
        return true;
    passage_fail(passage, &fault);
    return false;
}

static bool pass_by_addresses(struct passage *passage)
{
    struct police police;
    struct fault fault;
    char what[384];

    if (!is_policed(passage))
        return true;
    ask(passage, &police);
    describe(passage, what, sizeof(what));
    if (police_addresses(&police, passage->dial->addresses, &passage->dial->n_addresses, what,
                         &fault))
        return true;
    passage_fail(passage, &fault);
    return false;
}

/* Every destination that a door leads to passes here, its addresses known. */
static void start_dial(struct passage *passage)
{
    int64_t remain_ms = (passage->dial->deadline_us - loop_clock_us()) / 1000;

    if (!pass_by_addresses(passage))
        return;
    if (timers_start(&passage->io->loop->timers, &passage->deadline,
                     (uint64_t)((remain_ms > 0 ? remain_ms : 0) + FLIGHT_BACKSTOP_MS),
                     passage_on_deadline))
        passage_fail_memory(passage);
    else
        flight_dial(&passage->flight, &passage->dial);
}

void passage_on_lookup(struct flight *flight, struct lookup *lookup)
{
    struct passage *passage = container_of(flight, struct passage, flight);
    struct fault fault;
    char what[384];

    if (passage->state == PASSAGE_OVER) {
        free_when_idle(passage);
    } else if (lookup->gai) {
        describe(passage, what, sizeof(what));
        fault_gai(&fault, lookup->gai, lookup->sys_errno, what, lookup->host, lookup->service);
        passage_fail(passage, &fault);
    } else {
        passage->dial->addresses = lookup->addresses;
        passage->dial->n_addresses = lookup->n_addresses;
        passage->dial->resolve_us = lookup->took_us;
        lookup->addresses = NULL;
        start_dial(passage);
    }
    lookup_free(lookup);
}

static void start_lookup(struct passage *passage, int64_t timeout_ms)
{
    struct lookup *lookup = calloc(1, sizeof(*lookup));
    struct fault fault;
    char what[384];

    if (!lookup || timers_start(&passage->io->loop->timers, &passage->deadline,
                                (uint64_t)timeout_ms, passage_on_deadline)) {
        lookup_free(lookup);
        passage_fail_memory(passage);
        return;
    }
    lookup->kind = LOOKUP_ADDRESSES;
    lookup->family = AF_UNSPEC;
    snprintf(lookup->host, sizeof(lookup->host), "%s", passage->host);
    snprintf(lookup->service, sizeof(lookup->service), "%u", passage->port);
    int r = flight_lookup(&passage->flight, &lookup);
    if (r == 0)
        return;
    lookup_free(lookup);
    describe(passage, what, sizeof(what));
    fault_lookups(&fault, r, &passage->io->snapshot->settings, what);
    passage_fail(passage, &fault);
}

static struct dial *prepare(const struct passage *passage, int64_t timeout_ms)
{
    const struct route *route = passage->route;
    struct dial *dial = calloc(1, sizeof(*dial));

    if (!dial)
        return NULL;
    dial->own_settings = true;
    dial->settings = passage->io->snapshot->dial;
    dial->family = AF_UNSPEC;
    dial->deadline_us = loop_clock_us() + timeout_ms * 1000;
    if (!route->secure)
        return dial;
    dial->secure = true;
    dial->verify = route->verify;
    snprintf(dial->server_name, sizeof(dial->server_name), "%s", route->server_name);
    memcpy(dial->alpn, route->alpn, route->n_alpn);
    dial->n_alpn = route->n_alpn;
    dial->trust = trust_ref(route->trust);
    dial->identity = route->identity ? identity_ref(route->identity) : NULL;
    return dial;
}

/* A session of its own, with the number of the socket to be. false: it has failed. */
static bool begin_session(struct passage *passage)
{
    static const struct label unnamed = {.kind = LABEL_UNNAMED};
    struct fault fault;
    char what[384];

    describe(passage, what, sizeof(what));
    if (!pace_account(passage->share->account, ACCOUNT_CONNECTS, passage->io->room.limits, what,
                      &fault)) {
        passage_fail(passage, &fault);
        return false;
    }
    int r = sessions_begin(passage->io, passage->peer.uid, passage->peer.gid, passage->peer.pid,
                           &passage->session);
    if (r == 0) {
        passage->session->n_guests = 1;
        passage->session->door = passage->route->name;
        r = session_socket_new(passage->session, SOCKET_CONNECTING, &unnamed, passage->host,
                               &passage->socket);
    }
    if (r == 0)
        return true;
    passage->socket = NULL;
    fault_full(&fault, r, &passage->io->snapshot->settings, what);
    passage_fail(passage, &fault);
    return false;
}

void passage_reach(struct passage *passage)
{
    struct address literal;
    int64_t timeout_ms = passage->route->timeout_ms
                             ? passage->route->timeout_ms
                             : passage->io->snapshot->settings.connect_timeout_ms;

    passage->state = PASSAGE_REACHING;
    if (!begin_session(passage) || !pass_by_name(passage))
        return;
    passage->dial = prepare(passage, timeout_ms);
    if (!passage->dial) {
        passage_fail_memory(passage);
        return;
    }
    if (address_parse(&literal, passage->host, passage->port)) {
        start_lookup(passage, timeout_ms);
        return;
    }
    passage->dial->addresses = malloc(sizeof(literal));
    if (!passage->dial->addresses) {
        passage_fail_memory(passage);
        return;
    }
    address_unmap(&literal); /* one form for who judges or logs it */
    passage->dial->addresses[0] = literal;
    passage->dial->n_addresses = 1;
    start_dial(passage);
}
