#include "net/acceptor.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "net/watch.h"
#include "util/log.h"

/* Connections passed over in one acceptor_accept(): the loop has other things to do, too. */
enum { FAILED_MAX = 64 };

struct acceptor {
    int fd;
    struct address local;
    bool any_address; /* each connection's own local address is another */
    bool listening;
    /* attached */
    struct loop *loop; /* NULL: at rest */
    struct watch *watch;
    bool wanted;
    void (*on_ready)(void *context);
    void *context;
};

static void check_owner(const struct acceptor *acceptor)
{
    if (acceptor->loop)
        ASSERT_OWNER(acceptor->loop);
}

/* ---- binding ---- */

static int open_bound(const struct address *address, bool v6_only)
{
    const int on = 1, only = v6_only;
    int family = address_family(address);

    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);
    if (fd < 0)
        return -errno;
    /* said each time: net.ipv6.bindv6only is the administrator's default */
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
        (family == AF_INET6 &&
         setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof(only)) < 0) ||
        bind(fd, &address->any, address->n_bytes) < 0) {
        int r = -errno;
        close(fd);
        return r;
    }
    return fd;
}

static struct address all_addresses(int family)
{
    struct address address = {0};
    if (family == AF_INET) {
        address.v4.sin_family = AF_INET;
        address.v4.sin_addr.s_addr = htonl(INADDR_ANY);
        address.n_bytes = sizeof(address.v4);
    } else {
        address.v6.sin6_family = AF_INET6;
        address.v6.sin6_addr = in6addr_any;
        address.n_bytes = sizeof(address.v6);
    }
    return address;
}

static bool is_all_addresses(const struct address *address)
{
    if (address_family(address) == AF_INET)
        return address->v4.sin_addr.s_addr == htonl(INADDR_ANY);
    return IN6_IS_ADDR_UNSPECIFIED(&address->v6.sin6_addr);
}

static int open_all_addresses(int family, uint16_t port)
{
    struct address all = all_addresses(family);
    address_set_port(&all, port);
    int fd = open_bound(&all, family == AF_INET6);
    if (family != AF_UNSPEC || (fd != -EAFNOSUPPORT && fd != -EADDRNOTAVAIL))
        return fd;
    all = all_addresses(AF_INET);
    address_set_port(&all, port);
    return open_bound(&all, false);
}

static int open_address(int family, const struct address *address, uint16_t port)
{
    struct address wanted = *address;
    address_unmap(&wanted);
    address_set_port(&wanted, port);
    int own = address_family(&wanted);
    if ((own != AF_INET && own != AF_INET6) || (family != AF_UNSPEC && family != own))
        return -EAFNOSUPPORT;
    return open_bound(&wanted, family != AF_UNSPEC || !is_all_addresses(&wanted));
}

int acceptor_new(struct acceptor **ret_acceptor, int family, const struct address *address,
                 uint16_t port, struct address *ret_local)
{
    if (family != AF_UNSPEC && family != AF_INET && family != AF_INET6)
        return -EAFNOSUPPORT;
    struct acceptor *acceptor = calloc(1, sizeof(*acceptor));
    if (!acceptor)
        return -ENOMEM;
    acceptor->fd =
        address->n_bytes ? open_address(family, address, port) : open_all_addresses(family, port);
    if (acceptor->fd < 0) {
        int r = acceptor->fd;
        free(acceptor);
        return r;
    }
    acceptor->local.n_bytes = sizeof(acceptor->local.v6);
    if (getsockname(acceptor->fd, &acceptor->local.any, &acceptor->local.n_bytes) < 0) {
        int r = -errno;
        acceptor_free(acceptor);
        return r;
    }
    acceptor->any_address = is_all_addresses(&acceptor->local);
    *ret_local = acceptor->local;
    *ret_acceptor = acceptor;
    return 0;
}

int acceptor_adopt(struct acceptor **ret_acceptor, int fd, bool listening)
{
    struct acceptor *acceptor = calloc(1, sizeof(*acceptor));
    if (!acceptor)
        return -ENOMEM;
    acceptor->local.n_bytes = sizeof(acceptor->local.v6);
    if (getsockname(fd, &acceptor->local.any, &acceptor->local.n_bytes) < 0) {
        int r = -errno;
        free(acceptor);
        return r;
    }
    acceptor->fd = fd;
    acceptor->any_address = is_all_addresses(&acceptor->local);
    acceptor->listening = listening;
    *ret_acceptor = acceptor;
    return 0;
}

int acceptor_release(struct acceptor **acceptor)
{
    int fd = (*acceptor)->fd;

    acceptor_detach(*acceptor);
    free(*acceptor);
    *acceptor = NULL;
    return fd;
}

int acceptor_fd(const struct acceptor *acceptor)
{
    return acceptor->fd;
}

struct acceptor *acceptor_free(struct acceptor *acceptor)
{
    if (!acceptor)
        return NULL;
    acceptor_detach(acceptor); /* before the fd is closed */
    close(acceptor->fd);
    free(acceptor);
    return NULL;
}

/* ---- watching ---- */

/* A socket that does not listen reports a hang-up, which would be reported without end. */
static void update_watch(struct acceptor *acceptor)
{
    if (!acceptor->watch)
        return;
    int r =
        watch_set(acceptor->watch, acceptor->wanted && acceptor->listening ? WATCH_READABLE : 0);
    ASSERT(r == 0); /* libuv only takes a note of it */
}

static void on_event(void *context, unsigned events)
{
    struct acceptor *acceptor = context;
    (void)events;
    acceptor->on_ready(acceptor->context); /* may free the acceptor */
}

int acceptor_attach(struct acceptor *acceptor, struct loop *loop, void (*on_ready)(void *context),
                    void *context)
{
    ASSERT_OWNER(loop);
    ASSERT(!acceptor->loop);
    int r = watch_new(&acceptor->watch, loop, acceptor->fd, on_event, acceptor);
    if (r)
        return r;
    acceptor->loop = loop;
    acceptor->on_ready = on_ready;
    acceptor->context = context;
    return 0;
}

void acceptor_detach(struct acceptor *acceptor)
{
    check_owner(acceptor);
    acceptor->watch = watch_free(acceptor->watch);
    acceptor->loop = NULL;
    acceptor->wanted = false;
}

void acceptor_interest(struct acceptor *acceptor, bool wanted)
{
    check_owner(acceptor);
    ASSERT(acceptor->loop);
    acceptor->wanted = wanted;
    update_watch(acceptor);
}

/* ---- listening, accepting ---- */

int acceptor_listen(struct acceptor *acceptor, int backlog)
{
    check_owner(acceptor);
    if (listen(acceptor->fd, backlog) < 0)
        return -errno;
    acceptor->listening = true;
    update_watch(acceptor);
    return 0;
}

/* The errors of accept(2) that are those of the connection, "Error handling" there: it is gone. */
static bool is_of_the_connection(int sys_errno)
{
    switch (sys_errno) {
    case ECONNABORTED:
    case EHOSTDOWN:
    case EHOSTUNREACH:
    case EINTR:
    case ENETDOWN:
    case ENETUNREACH:
    case ENONET:
    case ENOPROTOOPT:
    case EOPNOTSUPP:
    case EPROTO:
        return true;
    default:
        return false;
    }
}

bool acceptor_has_waiting(const struct acceptor *acceptor)
{
    struct pollfd poll_fd = {.fd = acceptor->fd, .events = POLLIN};
    check_owner(acceptor);
    return poll(&poll_fd, 1, 0) != 0;
}

/* Returns the fd or -errno; -EAGAIN: nothing waits, or the loop is to go on. */
static int accept_one(const struct acceptor *acceptor, struct address *ret_remote)
{
    for (int i = 0; i < FAILED_MAX; i++) {
        *ret_remote = (struct address){.n_bytes = sizeof(ret_remote->v6)};
        int fd = accept4(acceptor->fd, &ret_remote->any, &ret_remote->n_bytes,
                         SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0)
            return fd;
        if (!is_of_the_connection(errno))
            return -errno;
    }
    return -EAGAIN;
}

static void find_local(const struct acceptor *acceptor, struct connection *connection)
{
    struct address local = {.n_bytes = sizeof(local.v6)};

    connection->local = acceptor->local;
    if (acceptor->any_address && getsockname(connection->fd, &local.any, &local.n_bytes) == 0)
        connection->local = local;
    address_unmap(&connection->local);
}

int acceptor_accept(struct acceptor *acceptor, const struct tcp_options *options,
                    struct connection **ret_connection)
{
    check_owner(acceptor);
    /* before it is taken from where it waits, so that it is not lost */
    struct connection *connection = calloc(1, sizeof(*connection));
    if (!connection)
        return -ENOMEM;
    int fd = accept_one(acceptor, &connection->remote);
    if (fd < 0) {
        free(connection);
        /* Linux looks for a free descriptor before it looks for a connection */
        if (fd == -EAGAIN || ((fd == -EMFILE || fd == -ENFILE) && !acceptor_has_waiting(acceptor)))
            return ACCEPTOR_E_AGAIN;
        return fd;
    }
    connection->fd = fd;
    address_unmap(&connection->remote);
    find_local(acceptor, connection);
    int r = tcp_options_set(fd, options);
    if (r)
        log_debug("accepted connection: cannot set its options: %s", strerror(-r));
    *ret_connection = connection;
    return 0;
}

const struct address *acceptor_local(const struct acceptor *acceptor)
{
    return &acceptor->local;
}
