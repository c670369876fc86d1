/*
 * method_session: Session.Open, Session.Join, Session.Close, Session.Set.
 */
#include <errno.h>
#include <stdlib.h>

#include "broker/socket_attach.h"
#include "rpc/errand.h"
#include "rpc/method.h"
#include "rpc/rows.h"
#include "rpc/sessions.h"
#include "util/log.h"

void method_session_open(struct request *request)
{
    const struct rpc_settings *settings = &request->client->io->snapshot->settings;
    struct session *session = request_session(request);
    char text[TOKEN_TEXT_SIZE];
    struct fault fault;

    if (!request_is_answered(request))
        return;
    int r = sessions_open(session, request->params.session_open.lease_ms);
    if (r == SESSIONS_E_FULL) {
        fault_limit(&fault, WIRE_LIMIT, "limits.durable_sessions", settings->durable_sessions,
                    "Session.Open: there are %lld durable sessions, which is the limit; end some "
                    "with Session.Close",
                    (long long)settings->durable_sessions);
        request_fail(request, &fault);
    } else if (r == SESSIONS_E_USER_FULL) {
        fault_tokens(&fault, settings, "Session.Open");
        request_fail(request, &fault);
    } else if (r) {
        fault_errno(&fault, STAGE_BROKER, -r, "Session.Open");
        request_fail(request, &fault);
    } else {
        struct proto_session_open_result result = {.token = token_text(&session->token, text),
                                                   .session = (int64_t)session->id};
        request_answer(request, &result);
    }
}

/* ---- Session.Join
 * ---------------------------------------------------------------------------------------------
 *
 * io of the client   io of the session
 *   ask          →     knock           is there such a session? a place in it is kept
 *   move         ←
 *   …            →     arrive          the client itself; answered there
 *   end          ←
 *
 * or, when nobody wants to move any more:
 *   leave        →     decline         the place is given up
 *   end          ←
 */

struct join {
    struct errand errand;
    struct token token;
    uid_t uid;
    uint64_t session;      /* 0: there is none for that token */
    struct client *client; /* on its way */
};

static void fail_join(struct request *request, const struct fault *fault)
{
    request->withdraw = NULL;
    request->client->joining = NULL;
    request_fail(request, fault);
}

static void fail_token(struct request *request)
{
    struct fault fault;
    fault_set(&fault, WIRE_BAD_TOKEN,
              "Session.Join: the token is wrong or was made for another user, or the session has "
              "ended");
    fail_join(request, &fault);
}

/* Leaving it would close its sockets. */
static bool holds_sockets(const struct client *client)
{
    const struct session *session = client->session;
    bool alone = session->members.next == session->members.prev && session->n_guests == 0;
    return alone && !session->durable && session_has_unattached(client->session);
}

static void set_sockets_fault(struct fault *fault, const struct client *client)
{
    fault_set(fault, WIRE_EINVAL,
              "Session.Join: this connection's session has %zu sockets, which would be closed; "
              "close them, or hand them over with TCPOffer",
              client->session->sockets.n_used);
}

static void answer_join(struct request *request)
{
    const struct session *session = request_session(request);
    struct rows rows = ROWS_INIT;
    struct proto_socket_row *items;
    struct fault fault;

    request->withdraw = NULL;
    request->client->joining = NULL;
    rows_add_session(&rows, session);
    if (rows_items(&rows, &items)) {
        fault_set(&fault, WIRE_ENOBUFS,
                  "Session.Join: no memory for the list of sockets; the connection has joined");
        request_fail(request, &fault);
    } else {
        struct proto_session_join_result result = {
            .sockets = {.items = items, .n_items = rows.n},
            .session = (int64_t)session->id,
        };
        request_answer(request, &result);
        free(items);
    }
    rows_deinit(&rows);
}

static void end(struct errand *errand)
{
    errand_end(errand);
    free(container_of(errand, struct join, errand));
}

/* The session was kept for whoever comes; nobody does. */
static void decline(struct errand *errand)
{
    struct join *join = container_of(errand, struct join, errand);
    struct session *session = map_get(&errand->there->sessions, join->session);

    ASSERT(session && session->n_guests > 0);
    session->n_guests--;
    sessions_release(session);
}

static void arrive(struct errand *errand)
{
    struct join *join = container_of(errand, struct join, errand);
    struct session *session = map_get(&errand->there->sessions, join->session);
    struct client *client = join->client;

    ASSERT(session && session->n_guests > 0);
    struct request *request = client->joining;
    int r = client_arrive(client, errand->there, session);
    session->n_guests--;
    if (r) {
        sessions_release(session);
        return;
    }
    log_info("session %llu joined: uid %u pid %d", (unsigned long long)session->id,
             (unsigned)client->uid, (int)client->pid);
    answer_join(request);
    if (errand->there->state >= IO_CLOSING)
        client_cut(client);
}

static void move(struct errand *errand)
{
    struct join *join = container_of(errand, struct join, errand);
    struct request *request = errand->request;

    if (!request) {
        if (join->session)
            errand_again(errand, decline, end);
        else
            end(errand);
        return;
    }
    errand->request = NULL;
    if (!join->session) {
        if (errand->stopping) {
            struct fault fault;
            fault_set(&fault, WIRE_SHUTTING_DOWN, "Session.Join: the broker is shutting down");
            fail_join(request, &fault);
        } else {
            fail_token(request);
        }
        end(errand);
        return;
    }
    struct client *client = request->client;
    if (client->session->id == join->session) {
        answer_join(request);
        errand_again(errand, decline, end);
        return;
    }
    if (holds_sockets(client)) {
        /* the others who belonged to it when this was asked have left it meanwhile */
        struct fault fault;
        set_sockets_fault(&fault, client);
        fail_join(request, &fault);
        errand_again(errand, decline, end);
        return;
    }
    request->withdraw = NULL;
    log_info("session %llu %s: uid %u pid %d: joins session %llu",
             (unsigned long long)client->session->id, client->session->durable ? "left" : "closed",
             (unsigned)client->uid, (int)client->pid, (unsigned long long)join->session);
    session_unhold(client->session, request->n_held);
    request->n_held = 0;
    sessions_leave(client);
    client_depart(client);
    join->client = client;
    errand_again(errand, arrive, end);
}

static void knock(struct errand *errand)
{
    struct join *join = container_of(errand, struct join, errand);
    struct session *session = sessions_find(errand->there, &join->token, join->uid);

    if (!session || errand->stopping)
        return;
    join->session = session->id;
    session->n_guests++;
}

static void withdraw_join(struct request *request, struct fault *fault)
{
    (void)fault;
    request->op.errand->request = NULL;
    request->client->joining = NULL;
}

/* What stands in the way of leaving the present session; false: the request was answered. */
static bool may_leave(struct request *request)
{
    const struct client *client = request->client;
    struct fault fault;

    if (request_in_company(request))
        fault_set(&fault, WIRE_INVALID_REQUEST,
                  "Session.Join: it moves the connection, so it cannot be one of several in a "
                  "batch");
    else if (client->n_requests > 1)
        fault_set(&fault, WIRE_BUSY,
                  "Session.Join: %zu other requests are running on this connection; wait for their "
                  "answers, or cancel them",
                  client->n_requests - 1);
    else if (holds_sockets(client))
        set_sockets_fault(&fault, client);
    else
        return true;
    request_fail(request, &fault);
    return false;
}

void method_session_join(struct request *request)
{
    struct client *client = request->client;
    struct io *io = client->io;
    struct token token;
    struct fault fault;

    if (token_parse(&token, TOKEN_SESSION, request->params.session_join.token)) {
        fail_token(request);
        return;
    }
    if (!may_leave(request))
        return;
    struct join *join = calloc(1, sizeof(*join));
    if (!join) {
        fault_set(&fault, WIRE_ENOBUFS, "Session.Join: out of memory; nothing was done");
        request_fail(request, &fault);
        return;
    }
    join->token = token;
    join->uid = client->uid;
    join->errand.request = request;
    request->op.errand = &join->errand;
    request->withdraw = withdraw_join;
    client->joining = request;
    errand_start(&join->errand, io, sessions_home(io->shared, &token), knock, move);
}

/* ---- Session.Close
 * -------------------------------------------------------------------------------------------- */

/* One that is not the asking one. */
static struct request *other_request(struct client *client, const struct request *asking)
{
    list_for_each (link, &client->requests) {
        struct request *request = container_of(link, struct request, link);
        if (request != asking)
            return request;
    }
    return NULL;
}

void method_session_close(struct request *request)
{
    struct proto_session_close_result result = {.status = 0};
    struct session *session = request_session(request);
    struct request *other;
    struct socket *socket;

    log_info("session %llu: ended by Session.Close (%zu sockets)", (unsigned long long)session->id,
             session->sockets.n_used);
    /* ending one may end others with it */
    list_for_each (link, &session->members) {
        struct client *client = container_of(link, struct client, member);
        while ((other = other_request(client, request)))
            request_abort(other, WIRE_EINTR, "the session was ended by Session.Close");
    }
    for (size_t i = 0; (socket = map_next(&session->sockets, &i, NULL)); i = 0)
        session_socket_free(session, socket, true);
    sessions_close(session);
    session->deadlines = SESSION_DEADLINES_NONE;
    request_answer(request, &result);
}

/* ---- Session.Set
 * ---------------------------------------------------------------------------------------------- */

void method_session_set(struct request *request)
{
    const struct proto_session_set_params *params = &request->params.session_set;
    const struct rpc_settings *settings = &request->client->io->snapshot->settings;
    struct session_deadlines *deadlines = &request_session(request)->deadlines;
    struct proto_session_set_result result = {.unused_ = 0};

    if (params->reset)
        *deadlines = SESSION_DEADLINES_NONE;
#define SET(what)                                                                                  \
    if (params->has_##what##_timeout_ms)                                                           \
    deadlines->what = params->what##_timeout_ms
    SET(connect);
    SET(lookup);
    SET(send);
    SET(receive);
    SET(accept);
    SET(close);
#undef SET
    result.connect_timeout_ms =
        request_choose_ms(false, 0, deadlines->connect, settings->connect_timeout_ms);
    result.lookup_timeout_ms =
        request_choose_ms(false, 0, deadlines->lookup, settings->lookup_timeout_ms);
#define TELL(what)                                                                                 \
    result.has_##what##_timeout_ms = deadlines->what >= 0;                                         \
    result.what##_timeout_ms = deadlines->what
    TELL(send);
    TELL(receive);
    TELL(accept);
    TELL(close);
#undef TELL
    request_answer(request, &result);
}
