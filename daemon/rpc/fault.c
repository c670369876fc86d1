#include "rpc/fault.h"

#include <errno.h>
#include <netdb.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "broker/stats.h"
#include "rpc/flight.h"
#include "rpc/verify_hint.h"

static void start(struct fault *fault, enum wire_error error)
{
    memset(fault, 0, sizeof(*fault));
    fault->error = error;
    fault->stage = error_infos[error].stage;
    fault->retryable = error_infos[error].retryable;
    fault->sent = -1;
    fault->position = -1;
}

void fault_set(struct fault *fault, enum wire_error error, const char *format, ...)
{
    va_list arguments;

    start(fault, error);
    va_start(arguments, format);
    vsnprintf(fault->message, sizeof(fault->message), format, arguments);
    va_end(arguments);
}

void fault_limit(struct fault *fault, enum wire_error error, const char *limit, int64_t value,
                 const char *format, ...)
{
    va_list arguments;

    start(fault, error);
    va_start(arguments, format);
    vsnprintf(fault->message, sizeof(fault->message), format, arguments);
    va_end(arguments);
    fault->limit = limit;
    fault->limit_value = value;
}

void fault_count_limit(const struct fault *fault, struct account_share *share)
{
    if (!fault->limit)
        return;
    stats_count(limit_refused);
    stats_count_refused(fault->limit);
    if (share)
        account_refused(share->account);
}

/* When, in words for programs, too. */
void fault_retry(struct fault *fault, int64_t after_ms)
{
    struct timespec now;
    struct tm utc;

    fault->retry_after_ms = after_ms;
    clock_gettime(CLOCK_REALTIME, &now);
    int64_t until_ms = now.tv_sec * 1000 + now.tv_nsec / 1000000 + after_ms;
    const time_t until_s = until_ms / 1000;
    gmtime_r(&until_s, &utc);
    size_t n = strftime(fault->until, sizeof(fault->until), "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(fault->until + n, sizeof(fault->until) - n, ".%03dZ", (int)(until_ms % 1000));
}

/* ---- errno
 * ----------------------------------------------------------------------------------------------------
 */

static const struct {
    int sys_errno;
    enum wire_error error;
    const char *hint;
} errno_map[] = {
    {ECONNREFUSED, WIRE_ECONNREFUSED,
     "nothing listens there; is the server running, is the port right?"},
    {ETIMEDOUT, WIRE_ETIMEDOUT,
     "no answer came in time; is the host up, does a firewall drop packets?"},
    {EHOSTUNREACH, WIRE_EHOSTUNREACH, "there is no route to that host"},
    {ENETUNREACH, WIRE_ENETUNREACH,
     "there is no route to that network; does this host have such addresses?"},
    {ENETDOWN, WIRE_ENETDOWN, "the network is down"},
    {EHOSTDOWN, WIRE_EHOSTDOWN, "the host is down"},
    {ECONNRESET, WIRE_ECONNRESET, "the peer reset the connection"},
    {EPIPE, WIRE_ECONNRESET, "the peer does not take any more"},
    {ECONNABORTED, WIRE_ECONNABORTED, "the connection was aborted"},
    {EADDRINUSE, WIRE_EADDRINUSE, "the local address is in use"},
    {EADDRNOTAVAIL, WIRE_EADDRNOTAVAIL,
     "the local address is not one of this host, or no local port is free"},
    {EACCES, WIRE_EACCES, "the system does not permit it"},
    {EPERM, WIRE_EACCES, "the system does not permit it (a firewall rule?)"},
    {EMFILE, WIRE_EMFILE,
     "the broker has no file descriptors left; raise LimitNOFILE or lower limits.sockets"},
    {ENFILE, WIRE_EMFILE, "the system has no file descriptors left"},
    {ENOMEM, WIRE_ENOBUFS, "out of memory"},
    {ENOBUFS, WIRE_ENOBUFS, "out of buffers"},
    /* of epoll_ctl(2) */
    {ENOSPC, WIRE_ENOBUFS,
     "the system watches no more descriptors for this user (fs.epoll.max_user_watches)"},
    {EAGAIN, WIRE_ENOBUFS, "the system has nothing to spare for this just now"},
    {EAFNOSUPPORT, WIRE_EAFNOSUPPORT, "the address family is not available here"},
    {EINVAL, WIRE_EINVAL, "the system refuses that address"},
    {ENOTCONN, WIRE_ENOTCONN, "the socket is not connected"},
};

static enum wire_error map_errno(int sys_errno, const char **ret_hint)
{
    for (size_t i = 0; i < sizeof(errno_map) / sizeof(errno_map[0]); i++) {
        if (errno_map[i].sys_errno == sys_errno) {
            *ret_hint = errno_map[i].hint;
            return errno_map[i].error;
        }
    }
    *ret_hint = strerror(sys_errno);
    return WIRE_INTERNAL;
}

void fault_errno(struct fault *fault, enum error_stage stage, int sys_errno, const char *what)
{
    const char *hint;
    enum wire_error error = map_errno(sys_errno, &hint);

    fault_set(fault, error, "%s: %s", what, hint);
    fault->stage = stage;
    fault->sys_errno = sys_errno;
}

/* ---- resolver
 * -------------------------------------------------------------------------------------------------
 */

void fault_gai(struct fault *fault, int gai, int sys_errno, const char *what, const char *host,
               const char *service)
{
    switch (gai) {
    case EAI_NONAME:
    case EAI_IDN_ENCODE:
        fault_set(fault, WIRE_HOST_NOT_FOUND, "%s: there is no host %s; check the name's spelling",
                  what, host);
        break;
    case EAI_AGAIN:
        fault_set(fault, WIRE_TRY_AGAIN, "%s: no name server answered for %s; try again later",
                  what, host);
        break;
    case EAI_NODATA:
    case EAI_ADDRFAMILY:
        fault_set(fault, WIRE_NO_DATA, "%s: %s exists, but has no address of the wanted family",
                  what, host);
        break;
    case EAI_SERVICE:
        fault_set(fault, WIRE_UNKNOWN_SERVICE,
                  "%s: there is no service %s; give the port's number, or add it to /etc/services",
                  what, service);
        break;
    case EAI_MEMORY:
        fault_set(fault, WIRE_ENOBUFS, "%s: out of memory while looking up %s", what, host);
        break;
    default:
        fault_set(fault, WIRE_NO_RECOVERY, "%s: looking up %s failed: %s", what, host,
                  gai == EAI_SYSTEM ? strerror(sys_errno) : gai_strerror(gai));
        if (gai == EAI_SYSTEM)
            fault->sys_errno = sys_errno;
        break;
    }
    /* what the resolver lacked is not the name's fault */
    if (gai == EAI_SYSTEM && (sys_errno == EMFILE || sys_errno == ENFILE || sys_errno == ENOMEM))
        fault_errno(fault, STAGE_RESOLVE, sys_errno, what);
    fault->stage = STAGE_RESOLVE;
    fault->gai = gai;
}

/* ---- network
 * --------------------------------------------------------------------------------------------------
 */

static enum error_stage net_stage(enum net_stage stage)
{
    switch (stage) {
    case NET_STAGE_RESOLVE:
        return STAGE_RESOLVE;
    case NET_STAGE_CONNECT:
        return STAGE_CONNECT;
    case NET_STAGE_TLS:
        return STAGE_TLS;
    case NET_STAGE_IO:
        break;
    }
    return STAGE_IO;
}

static const char *net_stage_text(enum net_stage stage)
{
    switch (stage) {
    case NET_STAGE_RESOLVE:
        return "looking up the name";
    case NET_STAGE_CONNECT:
        return "connecting";
    case NET_STAGE_TLS:
        return "the TLS handshake";
    case NET_STAGE_IO:
        break;
    }
    return "waiting for the peer";
}

static void fault_verify(struct fault *fault, const struct net_error *error, const char *what)
{
    fault_set(fault, WIRE_TLS_VERIFY,
              "%s: the %s's certificate was not accepted: %s%s%s (depth %d, subject %s, issuer "
              "%s); %s",
              what, error->of_client ? "client" : "server", error->verify_text,
              error->names[0] ? ": it is for " : "", error->names, error->verify_depth,
              error->subject[0] ? error->subject : "unknown",
              error->issuer[0] ? error->issuer : "unknown", verify_hint(error));
}

static void fault_trust(struct fault *fault, const struct net_error *error, const char *what)
{
    static const enum wire_error map[] = {
        [NET_TRUST_OK] = WIRE_INTERNAL,      [NET_TRUST_FOLDER] = WIRE_CA_FOLDER,
        [NET_TRUST_BUNDLE] = WIRE_CA_BUNDLE, [NET_TRUST_LIST] = WIRE_CA_LIST,
        [NET_TRUST_EMPTY] = WIRE_CA_EMPTY,   [NET_TRUST_NEXT] = WIRE_CA_NEXT,
        [NET_TRUST_OPEN] = WIRE_CA_OPEN,
    };
    fault_set(fault, map[error->trust], "%s: nothing can be verified: %s", what,
              error->library[0] ? error->library : error_infos[map[error->trust]].text);
}

/* The destination is left alone for a while: until when, in words and for programs. */
static void fault_pause(struct fault *fault, const struct net_error *error, const char *what)
{
    int64_t left_us = error->retry_at_us - loop_clock_us();
    bool tried = !error->backed_off;

    fault_retry(fault, left_us > 0 ? (left_us + 999) / 1000 : 1);
    /* "2026-01-31T12:00:05.250Z" is for programs, people know what day it is */
    snprintf(fault->message, sizeof(fault->message),
             "%s: %srefused %u time%s in a row; %s until %.8s UTC (in %lld ms)", what,
             tried ? "nothing listens there (is the server running, is the port right?): " : "",
             error->n_refused, error->n_refused == 1 ? "" : "s",
             tried ? "not tried again" : "not tried", fault->until + strlen("2026-01-31T"),
             (long long)fault->retry_after_ms);
}

void fault_net(struct fault *fault, const struct net_error *error, const char *what)
{
    switch (error->cause) {
    case NET_SYSTEM:
        fault_errno(fault, net_stage(error->stage), error->sys_errno, what);
        if (error->sys_errno == EINVAL && error->library[0])
            fault_set(fault, WIRE_EINVAL, "%s: %s", what, error->library);
        if (error->retry_at_us)
            fault_pause(fault, error, what);
        break;
    case NET_TIMED_OUT:
        fault_set(fault, WIRE_ETIMEDOUT,
                  "%s: the deadline passed during %s; is the host up, is timeout_ms long enough?",
                  what, net_stage_text(error->stage));
        break;
    case NET_CANCELLED:
        fault_set(fault, WIRE_EINTR, "%s: cancelled", what);
        break;
    case NET_TLS_HANDSHAKE:
        fault_set(fault, WIRE_TLS_HANDSHAKE, "%s: the TLS handshake failed: %s%s%s", what,
                  error->library[0] ? error->library : "the peer ended the connection",
                  error->alert[0] ? "; the peer's alert: " : "", error->alert);
        break;
    case NET_TLS_VERIFY:
        fault_verify(fault, error, what);
        break;
    case NET_TLS_IO:
        fault_set(fault, WIRE_TLS_IO, "%s: the TLS stream was cut off or damaged: %s", what,
                  error->library[0] ? error->library : "no close_notify before the end");
        break;
    case NET_TRUST_UNUSABLE:
        fault_trust(fault, error, what);
        break;
    case NET_OK:
        fault_set(fault, WIRE_INTERNAL, "%s: failed for no known reason", what);
        break;
    }
    fault->stage = net_stage(error->stage);
    fault->net = error;
}

/* ---- operations on sockets
 * ------------------------------------------------------------------------------------ */

void fault_outcome(struct fault *fault, enum socket_outcome outcome, const struct socket *socket,
                   const char *what)
{
    unsigned number = socket->number;

    switch (outcome) {
    case SOCKET_E_AGAIN:
        fault_set(fault, WIRE_EWOULDBLOCK,
                  "%s: nothing can be done at once on the non-blocking socket %u; try again later",
                  what, number);
        return;
    case SOCKET_E_BUSY:
        if (socket->state == SOCKET_SECURING) {
            fault_set(fault, WIRE_BUSY,
                      "%s: TCPStartTLS is running on socket %u; wait for its answer, or end it by "
                      "TCPClose with option 2",
                      what, number);
            return;
        }
        fault_set(fault, WIRE_BUSY,
                  "%s: a request of that kind is already running on socket %u; wait for its answer",
                  what, number);
        return;
    case SOCKET_E_NOT_CONNECTED:
        if (socket->state <= SOCKET_LISTENING)
            fault_set(fault, WIRE_ENOTCONN,
                      "%s: socket %u is %s and never connects; use a socket that TCPAccept or "
                      "TCPConnect gave",
                      what, number, socket_state_text(socket));
        else
            fault_set(fault, WIRE_ENOTCONN, "%s: socket %u is not connected", what, number);
        return;
    case SOCKET_E_STATE:
        fault_set(fault, WIRE_EINVAL, "%s: socket %u is %s; %s", what, number,
                  socket_state_text(socket),
                  socket->state > SOCKET_LISTENING
                      ? "only sockets made by TCPSocket are bound and listen"
                      : "the order is TCPSocket, TCPBind, TCPListen, TCPAccept");
        return;
    case SOCKET_E_SECURE:
        fault_set(fault, WIRE_ALREADY_SECURE, "%s: socket %u speaks TLS already", what, number);
        return;
    case SOCKET_E_UNREAD:
        fault_set(fault, WIRE_EINVAL,
                  "%s: bytes of the plain phase were received on socket %u and not read yet; they "
                  "are not protected by TLS and may be an attacker's: read them with TCPReceive, "
                  "or close the socket",
                  what, number);
        return;
    case SOCKET_E_PEER_ENDED:
        fault_set(fault, WIRE_EINVAL, "%s: the peer of socket %u has ended sending", what, number);
        return;
    case SOCKET_E_SHUT_DOWN:
        fault_set(fault, WIRE_ESHUTDOWN, "%s: sending on socket %u was ended by TCPClose before",
                  what, number);
        return;
    case SOCKET_E_CLOSING:
        fault_set(fault, WIRE_ECONNABORTED, "%s: socket %u is being closed by TCPClose", what,
                  number);
        return;
    case SOCKET_E_NO_HALF_CLOSE:
        fault_set(fault, WIRE_TLS_NO_PARTIAL_CLOSE,
                  "%s: socket %u speaks TLS 1.2, which has no half close; use option 0 or 2", what,
                  number);
        return;
    case SOCKET_E_CUT:
        fault_set(fault, WIRE_ETIMEDOUT,
                  "%s: io.close_timeout passed before socket %u had sent everything", what, number);
        return;
    case SOCKET_E_NOT_UTF8:
        fault_set(fault, WIRE_EINVAL,
                  "%s: what came on socket %u is not UTF-8 text; nothing was taken; ask with "
                  "encoding \"base64\"",
                  what, number);
        break;
    case SOCKET_E_NUL:
        fault_set(fault, WIRE_EINVAL,
                  "%s: what came on socket %u has a NUL byte; nothing was taken; ask with encoding "
                  "\"base64\"",
                  what, number);
        break;
    case SOCKET_E_NO_ROOM:
        fault_set(fault, WIRE_EINVAL,
                  "%s: the next character on socket %u does not fit in what may be taken; ask for "
                  "more bytes or with "
                  "encoding \"base64\"",
                  what, number);
        break;
    case SOCKET_E_ATTACHED:
        fault_set(fault, WIRE_ATTACHED,
                  "%s: the bytes of socket %u go by the file descriptor that TCPAttach has given "
                  "out; use that, and close it",
                  what, number);
        return;
    case SOCKET_E_NO_MEMORY:
        fault_set(fault, WIRE_ENOBUFS, "%s: out of memory", what);
        return;
    case SOCKET_E_FAILED: {
        char lost[512];
        if (!socket->own_error) {
            fault_net(fault, socket_error(socket), what);
            return;
        }
        /* only closing it is left; a restart has told why, TCPStartTLS by its error */
        if (socket->own_error->stage == NET_STAGE_IO && socket->own_error->library[0])
            snprintf(lost, sizeof(lost), "%s: socket %u is lost, close it: %s", what, number,
                     socket->own_error->library);
        else
            snprintf(lost, sizeof(lost),
                     "%s: TCPStartTLS has lost the connection of socket %u; close it", what,
                     number);
        fault_net(fault, socket_error(socket), lost);
        fault->retryable = false;
        return;
    }
    case SOCKET_OK:
    case SOCKET_E_PARKED:
    case SOCKET_E_END:
    case SOCKET_E_LIMIT:
        fault_set(fault, WIRE_INTERNAL, "%s: unexpected outcome %d", what, (int)outcome);
        return;
    }
    fault->stage = STAGE_IO;
    snprintf(fault->param, sizeof(fault->param), "encoding");
    snprintf(fault->expected, sizeof(fault->expected), "base64");
}

void fault_full(struct fault *fault, int r, const struct rpc_settings *settings, const char *what)
{
    if (r == SESSION_E_FULL)
        fault_limit(fault, WIRE_EMFILE, "limits.sockets_per_session", settings->sockets_per_session,
                    "%s: this session has %u sockets, which is the limit; close some", what,
                    settings->sockets_per_session);
    else if (r == SESSION_E_USER_FULL)
        fault_limit(fault, WIRE_EMFILE, "limits.sockets_per_user",
                    settings->user.quotas[ACCOUNT_SOCKETS],
                    "%s: this user has %lld sockets, which is the limit; close some", what,
                    (long long)settings->user.quotas[ACCOUNT_SOCKETS]);
    else if (r == SESSION_E_ALL_FULL)
        fault_limit(fault, WIRE_EMFILE, "limits.sockets", settings->sockets,
                    "%s: the broker has %u sockets, which is the limit; try again later", what,
                    settings->sockets);
    else
        fault_set(fault, WIRE_ENOBUFS, "%s: out of memory", what);
}

void fault_tokens(struct fault *fault, const struct rpc_settings *settings, const char *what)
{
    long long max = settings->user.quotas[ACCOUNT_TOKENS];

    fault_limit(fault, WIRE_LIMIT, "limits.tokens_per_user", max,
                "%s: this user has %lld sockets on offer and durable sessions, which is the limit",
                what, max);
}

void fault_held(struct fault *fault, int r, const struct session *session, size_t n)
{
    const struct account_limits *limits = session->room->limits;

    if (r == SESSION_E_HELD)
        fault_limit(fault, WIRE_LIMIT, "limits.held_bytes", (int64_t)session->max_held,
                    "the running requests of this session hold %zu bytes, %zu more are over the "
                    "limit; wait for answers",
                    session->n_held, n);
    else if (r == SESSION_E_USER_HELD)
        fault_limit(fault, WIRE_LIMIT, "limits.held_bytes_per_user", limits->meters[ACCOUNT_BYTES],
                    "the running requests and unread answers of this user hold so many bytes that "
                    "%zu more are over the limit; wait for answers, and read them",
                    n);
    else
        fault_limit(fault, WIRE_LIMIT, "limits.requests_per_user", limits->meters[ACCOUNT_REQUESTS],
                    "%lld requests of this user are running, which is the limit; wait for answers",
                    (long long)limits->meters[ACCOUNT_REQUESTS]);
}

void fault_lookups(struct fault *fault, int r, const struct rpc_settings *settings,
                   const char *what)
{
    if (r == FLIGHT_E_USER_LOOKUPS)
        fault_limit(fault, WIRE_TRY_AGAIN, "limits.lookups_per_user",
                    (int64_t)settings->user.lookups,
                    "%s: %zu look-ups of this user are running or waiting; try again later", what,
                    settings->user.lookups);
    else
        fault_limit(fault, WIRE_TRY_AGAIN, "limits.lookups", (int64_t)settings->lookups,
                    "%s: %zu look-ups are waiting; try again later", what, settings->lookups);
}

void fault_param(struct fault *fault, const char *what, const char *param, const char *expected)
{
    fault_set(fault, WIRE_INVALID_PARAMS, "%s: %s: expected %s", what, param, expected);
    snprintf(fault->param, sizeof(fault->param), "%s", param);
    snprintf(fault->expected, sizeof(fault->expected), "%s", expected);
}

void fault_wrong(struct fault *fault, const struct message_wrong *wrong)
{
    fault_set(fault, wrong->error, "%s", wrong->text);
    memcpy(fault->param, wrong->param, sizeof(fault->param));
    memcpy(fault->expected, wrong->expected, sizeof(fault->expected));
    fault->position = wrong->position;
}
