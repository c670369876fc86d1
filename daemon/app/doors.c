#include "app/doors.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "app/accepting.h"
#include "app/door_keep.h"
#include "app/scrapes.h"
#include "app/unix_socket.h"
#include "broker/stats.h"
#include "rpc/io.h"
#include "rpc/passage.h"
#include "util/log.h"

enum { BACKLOG = 1024 };

struct door {
    struct doors *doors;
    struct door_wish at; /* what it fulfils; its route is a reference */
    struct unix_socket file;
    int tcp; /* -1: a Unix socket */
    struct accepting accepting;
    bool kept;                   /* in the next set too */
    char stored[DOOR_NAME_SIZE]; /* its name in the store; "": it is not there */
};

/* One set of doors, and what the next will be. */
struct doors {
    struct loop *loop;
    struct rpc_shared *shared;
    struct scrapes *scrapes;
    struct restart *restart;
    size_t n, next_io;
    struct door *open[DOORS_MAX];
    struct door_plan *plan; /* prepared */
    struct door *next[DOORS_MAX];
    bool refusing, stopped;
};

/* ---- a connection ---- */

static bool may_enter(struct door *door, const struct passage_peer *peer)
{
    const struct route *route = door->at.route;
    unsigned n_silent;

    if (door->doors->refusing) {
        if (seldom_now(&door->accepting.warnings, loop_clock_us(), &n_silent))
            log_notice("%s: program of uid %d pid %d turned away: the broker is being drained (%u "
                       "more since the last such line)",
                       route->name, (int)peer->uid, (int)peer->pid, n_silent);
        return false;
    }
    if (!route->socks ||
        atomic_load_explicit(&stats.socks_connections, memory_order_relaxed) < route->max_clients)
        return true;
    stats_count(socks_refused);
    if (seldom_now(&door->accepting.warnings, loop_clock_us(), &n_silent))
        log_warning("socks: program of uid %d pid %d turned away: socks.clients is %lld (%u more "
                    "since the last warning)",
                    (int)peer->uid, (int)peer->pid, (long long)route->max_clients, n_silent);
    return false;
}

static void find_peer(const struct door *door, int fd, struct passage_peer *ret_peer)
{
    struct ucred peer;
    socklen_t n_peer = sizeof(peer);
    int yes = 1;

    *ret_peer = (struct passage_peer){.uid = (uid_t)-1, .gid = (gid_t)-1};
    if (door->tcp >= 0)
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
    else if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &n_peer) == 0)
        *ret_peer = (struct passage_peer){.uid = peer.uid, .gid = peer.gid, .pid = peer.pid};
}

static void on_accepted(void *context, int fd)
{
    struct door *door = context;
    struct doors *doors = door->doors;
    struct passage_peer peer;

    find_peer(door, fd, &peer);
    if (!may_enter(door, &peer)) {
        close(fd);
        return;
    }
    if (door->at.route->metrics) {
        scrapes_serve(doors->scrapes, fd);
        return;
    }
    struct io *io = doors->shared->ios[doors->next_io];
    doors->next_io = (doors->next_io + 1) % doors->shared->n_ios;
    struct route *route = route_enter(door->at.route);
    if (passage_post(io, route, fd, &peer)) {
        log_warning("%s: program of uid %d pid %d turned away: out of memory", route->name,
                    (int)peer.uid, (int)peer.pid);
        route_leave(route);
        close(fd);
    }
}

/* ---- a door ---- */

static struct door *close_door(struct door *door)
{
    if (!door)
        return NULL;
    accepting_stop(&door->accepting);
    if (door->stored[0]) {
        /* whoever comes now is refused, although the store has it still */
        (void)shutdown(door->accepting.fd, SHUT_RDWR);
        store_drop(door->stored);
    }
    unix_socket_close(&door->file);
    if (door->tcp >= 0)
        close(door->tcp);
    route_unref(door->at.route);
    free(door);
    return NULL;
}

/* The process ends: the socket listens on in the store, and its file stays. */
static struct door *leave_door(struct door *door)
{
    if (door->stored[0]) {
        door->stored[0] = '\0';
        door->file.made = false;
    }
    return close_door(door);
}

/* It has gone on listening since the process before this one. */
static bool take_over(struct door *door)
{
    bool is_tcp = door->at.where.port != 0;
    int fd = door_keep_take(door->doors->restart, door->at.listen, is_tcp, &door->file);

    if (is_tcp)
        door->tcp = fd;
    return fd >= 0;
}

static void store_door(struct door *door, bool taken_over)
{
    if (!restart_keeps(door->doors->restart) ||
        !door_keep_name(door->stored, door->at.listen, door->tcp >= 0 ? NULL : &door->file))
        return;
    if (!taken_over)
        store_put(door->stored, door->accepting.fd);
}

static int bind_tcp(struct door *door)
{
    const struct config_door *where = &door->at.where;
    struct sockaddr_in v4 = {.sin_family = AF_INET,
                             .sin_port = htons(where->port),
                             .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6,
                              .sin6_port = htons(where->port),
                              .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    const struct sockaddr *address =
        where->v6 ? (const struct sockaddr *)&v6 : (const struct sockaddr *)&v4;
    int yes = 1;

    door->tcp = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (door->tcp < 0)
        return -errno;
    (void)setsockopt(door->tcp, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
    return bind(door->tcp, address, where->v6 ? sizeof(v6) : sizeof(v4)) < 0 ? -errno : 0;
}

/* Returns 0, or not with the reason in words. */
static int open_door(struct door *door, char *reason, size_t n_reason)
{
    bool is_tcp = door->at.where.port != 0;
    bool taken_over = take_over(door);
    int r = taken_over ? 0
            : is_tcp   ? bind_tcp(door)
                       : unix_socket_bind(&door->file, door->at.listen, reason, n_reason);

    if (r && !is_tcp)
        return r;
    if (r == 0 && !is_tcp &&
        !(taken_over && door_keep_permits(&door->file, door->at.mode, door->at.group)))
        r = unix_socket_permit(&door->file, door->at.mode, door->at.group);
    door->accepting = (struct accepting){.fd = is_tcp ? door->tcp : door->file.fd,
                                         .whom = door->at.route->name,
                                         .arrivals = &door->doors->shared->arrivals,
                                         .on_accepted = on_accepted,
                                         .context = door};
    if (r == 0 && listen(door->accepting.fd, BACKLOG) < 0)
        r = -errno;
    if (r == 0)
        r = accepting_begin(&door->accepting, door->doors->loop);
    if (r == 0)
        store_door(door, taken_over);
    if (r)
        snprintf(reason, n_reason, "cannot listen on %s: %s", door->at.listen, strerror(-r));
    return r;
}

static struct door *new_door(struct doors *doors, const struct door_wish *wish, char *reason,
                             size_t n_reason)
{
    struct door *door = calloc(1, sizeof(*door));

    if (!door) {
        snprintf(reason, n_reason, "out of memory");
        return NULL;
    }
    door->doors = doors;
    door->at = *wish;
    door->at.route = route_ref(wish->route);
    door->file = UNIX_SOCKET_INIT;
    door->tcp = -1;
    return open_door(door, reason, n_reason) ? close_door(door) : door;
}

/* ---- a change ---- */

/* The one that listens there already; not when somebody has taken its file away. */
static struct door *find_open(const struct doors *doors, const struct door_wish *wish)
{
    for (size_t i = 0; i < doors->n; i++) {
        struct door *door = doors->open[i];
        if (strcmp(door->at.listen, wish->listen) == 0 &&
            (door->tcp >= 0 || unix_socket_is_there(&door->file)))
            return door;
    }
    return NULL;
}

/* Who may come in by a door that stays. */
static int change_rights(const struct door *door, const struct door_wish *wish, char *reason,
                         size_t n_reason)
{
    if (door->tcp >= 0 || (door->at.mode == wish->mode && door->at.group == wish->group))
        return 0;
    /* no group: the one that new files of ours get */
    gid_t group = wish->group == (gid_t)-1 ? getegid() : wish->group;
    int r = unix_socket_permit(&door->file, wish->mode, group);
    if (r)
        snprintf(reason, n_reason, "cannot change who may use %s: %s", door->at.listen,
                 strerror(-r));
    return r;
}

static void take_back(struct doors *doors)
{
    char ignored[512];

    for (size_t i = 0; i < DOORS_MAX; i++) {
        struct door *door = doors->next[i];
        if (door && door->kept)
            (void)change_rights(
                &(struct door){.at = doors->plan->wishes[i], .file = door->file, .tcp = door->tcp},
                &door->at, ignored, sizeof(ignored));
        else
            close_door(door);
        doors->next[i] = NULL;
    }
    for (size_t i = 0; i < doors->n; i++)
        doors->open[i]->kept = false;
}

static int prepare(struct doors *doors, char *reason, size_t n_reason)
{
    for (size_t i = 0; i < doors->plan->n; i++) {
        const struct door_wish *wish = &doors->plan->wishes[i];
        struct door *door = find_open(doors, wish);
        if (door)
            door->kept = true;
        else
            door = new_door(doors, wish, reason, n_reason);
        doors->next[i] = door;
        if (!door || (door->kept && change_rights(door, wish, reason, n_reason) != 0))
            return 1;
    }
    return 0;
}

int doors_prepare(struct doors *doors, struct door_plan **plan, char *reason, size_t n_reason)
{
    ASSERT_OWNER(doors->loop);
    ASSERT(!doors->plan);
    doors->plan = *plan;
    int status = doors->stopped ? 0 : prepare(doors, reason, n_reason);
    if (status) {
        take_back(doors);
        doors->plan = NULL;
    } else {
        *plan = NULL;
    }
    return status;
}

static bool leads_elsewhere(const struct route *old, const struct route *new)
{
    return strcmp(old->name, new->name) != 0 || strcmp(old->host, new->host) != 0 ||
           old->port != new->port || old->secure != new->secure || old->verify != new->verify;
}

static void log_door(const struct door *door, bool is_new)
{
    const struct route *route = door->at.route;

    if (is_new && (route->socks || route->metrics))
        log_notice("%s listens on %s", route->name, door->at.listen);
    else if (is_new)
        log_notice("%s listens on %s: to %s port %u%s%s", route->name, door->at.listen, route->host,
                   route->port, route->secure ? ", TLS" : "",
                   route->secure && !route->verify ? " UNVERIFIED" : "");
    if (route->identity && door->tcp >= 0)
        log_warning("%s: every user of this machine may present the identity %s by %s", route->name,
                    identity_name(route->identity), door->at.listen);
}

void doors_commit(struct doors *doors)
{
    ASSERT_OWNER(doors->loop);
    for (size_t i = 0; i < doors->n; i++) {
        if (doors->open[i]->kept)
            continue;
        log_notice("%s does not listen on %s any more", doors->open[i]->at.route->name,
                   doors->open[i]->at.listen);
        close_door(doors->open[i]);
    }
    if (!doors->stopped)
        doors->n = doors->plan->n;
    for (size_t i = 0; i < doors->n; i++) {
        struct door *door = doors->open[i] = doors->next[i];
        struct route *old = door->at.route;
        door->at = doors->plan->wishes[i];
        door->at.route = route_ref(door->at.route);
        route_follow(door->at.route, old);
        log_door(door, !door->kept || leads_elsewhere(old, door->at.route));
        route_unref(old);
        door->accepting.whom = door->at.route->name;
        if (!door->kept)
            accepting_go(&door->accepting);
        door->kept = false;
        doors->next[i] = NULL;
    }
    doors->plan = door_plan_free(doors->plan);
}

/* ---- all of them ---- */

int doors_new(struct doors **ret_doors, struct loop *loop, struct rpc_shared *shared,
              struct restart *restart)
{
    struct doors *doors = calloc(1, sizeof(*doors));
    if (!doors)
        return -ENOMEM;
    doors->loop = loop;
    doors->shared = shared;
    doors->restart = restart;
    if (scrapes_new(&doors->scrapes, loop, shared)) {
        free(doors);
        return -ENOMEM;
    }
    *ret_doors = doors;
    return 0;
}

void doors_refuse(struct doors *doors, bool refuse)
{
    ASSERT_OWNER(doors->loop);
    doors->refusing = refuse;
}

static void describe(const struct door *door, struct rpc_door *ret_door)
{
    const struct route *route = door->at.route;

    *ret_door = (struct rpc_door){
        .port = route->socks ? 0 : route->port,
        .secure = route->secure,
        .verify = route->verify,
        .n_now = atomic_load_explicit(&route->counts->now, memory_order_relaxed),
        .n_total = atomic_load_explicit(&route->counts->total, memory_order_relaxed),
        .n_failed = atomic_load_explicit(&route->counts->failed, memory_order_relaxed),
    };
    snprintf(ret_door->name, sizeof(ret_door->name), "%s", route->name);
    snprintf(ret_door->listen, sizeof(ret_door->listen), "%s", door->at.listen);
    snprintf(ret_door->host, sizeof(ret_door->host), "%s", route->host);
}

void doors_deliver(struct doors *doors, struct mail *mail)
{
    struct rpc_doors *asked = container_of(mail, struct rpc_doors, mail);

    ASSERT_OWNER(doors->loop);
    asked->doors = calloc(doors->n + 1, sizeof(*asked->doors));
    asked->no_memory = !asked->doors;
    asked->n_doors = asked->doors ? doors->n : 0;
    for (size_t i = 0; i < asked->n_doors; i++)
        describe(doors->open[i], &asked->doors[i]);
    loop_post(asked->reply_to, &asked->done);
}

void doors_stop(struct doors *doors)
{
    for (size_t i = 0; i < doors->n; i++)
        doors->open[i] = leave_door(doors->open[i]);
    doors->n = 0;
    doors->stopped = true;
}

struct doors *doors_free(struct doors *doors)
{
    if (!doors)
        return NULL;
    if (doors->plan)
        take_back(doors);
    doors->plan = door_plan_free(doors->plan);
    doors_stop(doors);
    scrapes_free(doors->scrapes);
    free(doors);
    return NULL;
}
