#include "rpc/admin.h"

#include <unistd.h>

#include "broker/socket_force.h"
#include "rpc/offers.h"
#include "rpc/passage.h"
#include "rpc/request.h"
#include "util/log.h"

static const char draining[] =
    "an administrator drains the broker: what there is works on, nothing new is begun";

/* ---- who may ---- */

struct admin_actor admin_actor(const struct client *client)
{
    return (struct admin_actor){
        .session = client->session->id, .uid = client->uid, .pid = client->pid};
}

void admin_fault(struct fault *ret_fault, const struct client *client, const char *what)
{
    const struct credentials_admins *admins = &client->io->snapshot->credentials.admins;

    if (*admins->group)
        fault_set(
            ret_fault, WIRE_EACCES,
            "%s: only administrators may do that: root, the broker's own user, and members of "
            "the group %s%s",
            what, admins->group,
            admins->has_gid ? " (who was made one must log in anew)"
                            : ", which this system does not have");
    else
        fault_set(ret_fault, WIRE_EACCES,
                  "%s: only administrators may do that: root, the broker's own user, and whom "
                  "admin.group and admin.users of its configuration name",
                  what);
}

bool admin_refuses(const struct client *client, enum method method, struct fault *ret_fault)
{
    const struct method_info *info = &method_infos[method];
    unsigned n_silent;

    if (info->traits & METHOD_ADMIN && !client_is_admin(client)) {
        if (seldom_now(&client->session->share->account->denials, loop_clock_us(), &n_silent))
            log_notice("%s refused: uid %u pid %d session %llu is no administrator (%u more since "
                       "the last such line)",
                       info->name, (unsigned)client->uid, (int)client->pid,
                       (unsigned long long)client->session->id, n_silent);
        admin_fault(ret_fault, client, info->name);
        return true;
    }
    if (info->traits & METHOD_NEW && client->io->no_new) {
        fault_set(ret_fault, WIRE_SHUTTING_DOWN, "%s: %s", info->name, draining);
        return true;
    }
    return false;
}

/* ---- closing ---- */

static void log_close(uint32_t number, enum socket_close_option option,
                      const struct admin_actor *actor, const struct admin_owner *owner)
{
    log_notice("socket %u is %s by an administrator: uid %u pid %d session %llu; it was that of "
               "session %llu uid %lld pid %d",
               number, option == SOCKET_CLOSE_ABORT ? "aborted" : "closed", (unsigned)actor->uid,
               (int)actor->pid, (unsigned long long)actor->session,
               (unsigned long long)owner->session, (long long)owner->uid, (int)owner->pid);
}

static int close_offer(struct io *io, uint32_t number, enum socket_close_option option,
                       const struct admin_actor *actor, struct admin_owner *ret_owner)
{
    struct offer *offer = offers_find(io, number);

    if (!offer)
        return ADMIN_E_ELSEWHERE;
    const struct session *session = map_get(&io->sessions, offer->session);
    *ret_owner = (struct admin_owner){
        .session = offer->session, .uid = offer->uid, .pid = session ? session->pid : 0};
    log_close(number, option, actor, ret_owner);
    offers_close(offer, option);
    return 0;
}

/* Something that waits on that socket and must not; a TCPClose last, as it takes the sends that are
 * queued with it. */
static struct request *find_waiting(const struct session *session, const struct socket *socket,
                                    bool sends, bool closes)
{
    list_for_each (link, &session->members) {
        const struct client *client = container_of(link, struct client, member);
        list_for_each (each, &client->requests) {
            struct request *request = container_of(each, struct request, link);
            enum method method = request->call->method;
            if (request->socket == socket && request->withdraw &&
                (method != METHOD_TCP_SEND || sends) && (method == METHOD_TCP_CLOSE) == closes)
                return request;
        }
    }
    return NULL;
}

/* With its last request an unborn socket goes, and with a complete TCPClose any. Each round ends
 * one, so this ends. */
static struct socket *end_requests(const struct session *session, uint32_t number, bool sends)
{
    struct socket *socket;
    struct request *request;

    while ((socket = map_get(&session->sockets, number))) {
        request = find_waiting(session, socket, sends, false);
        if (!request)
            request = find_waiting(session, socket, sends, true);
        if (!request)
            break;
        request_abort(request, WIRE_ECONNABORTED, "an administrator has closed the socket");
    }
    return socket;
}

static int close_member(struct io *io, struct session *session, struct socket *socket,
                        enum socket_close_option option)
{
    struct fault fault;
    uint32_t number = socket->number;

    fault_set(&fault, WIRE_ECONNABORTED, "an administrator has closed the socket");
    if (session->door && socket->state == SOCKET_CONNECTING && passages_end(io, socket, &fault))
        return 0;
    socket = end_requests(session, number, option == SOCKET_CLOSE_ABORT);
    if (!socket)
        return 0;
    switch (session_socket_force(session, socket, option)) {
    case SOCKET_OK:
        return 0;
    case SOCKET_E_PARKED:
        return ADMIN_CLOSING;
    default:
        return ADMIN_E_BUSY;
    }
}

int admin_close(struct io *io, uint32_t number, enum socket_close_option option,
                const struct admin_actor *actor, struct admin_owner *ret_owner)
{
    uint64_t id;

    ASSERT_OWNER(io->loop);
    if (table_session(io->room.table, number, &id))
        return ADMIN_E_NONE;
    if (id == TABLE_NOBODY)
        return close_offer(io, number, option, actor, ret_owner);
    struct session *session = map_get(&io->sessions, id);
    struct socket *socket = session ? map_get(&session->sockets, number) : NULL;
    if (!socket)
        return ADMIN_E_ELSEWHERE;
    *ret_owner = (struct admin_owner){.session = session->id,
                                      .uid = session->uid == (uid_t)-1 ? -1 : (int64_t)session->uid,
                                      .pid = session->pid};
    log_close(number, option, actor, ret_owner);
    return close_member(io, session, socket, option);
}

/* ---- draining ---- */

static struct request *find_accept(const struct client *client)
{
    list_for_each (link, &client->requests) {
        struct request *request = container_of(link, struct request, link);
        /* one that has a connection already finishes its handshake */
        if (request->call->method == METHOD_TCP_ACCEPT && request->withdraw &&
            request->socket->state == SOCKET_LISTENING)
            return request;
    }
    return NULL;
}

void admin_end_accepts(struct io *io)
{
    ASSERT_OWNER(io->loop);
    list_for_each (link, &io->clients) {
        const struct client *client = container_of(link, struct client, link);
        struct request *request;
        while ((request = find_accept(client)))
            request_abort(request, WIRE_SHUTTING_DOWN, draining);
    }
}

bool admin_is(const struct credentials *credentials, int fd)
{
    struct credentials_user user;

    return credentials_user_of(&user, fd) == 0 &&
           credentials_administers(&credentials->admins, &user, geteuid());
}

bool client_is_admin(const struct client *client)
{
    ASSERT_OWNER(client->io->loop);
    return admin_is(&client->io->snapshot->credentials, client->fd);
}
