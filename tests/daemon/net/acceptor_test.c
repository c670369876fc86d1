#include "net/acceptor.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/resource.h>
#include <unistd.h>

#include "net_fixture.h"
#include "support/test.h"

static const struct tcp_options no_options;

static struct acceptor *make(int family, const char *text, struct address *ret_local)
{
    struct acceptor *acceptor;
    struct address address = {0};
    if (text)
        CHECK_INT(address_parse(&address, text, 0), 0);
    CHECK_INT(acceptor_new(&acceptor, family, &address, 0, ret_local), 0);
    CHECK(address_equal(acceptor_local(acceptor), ret_local));
    return acceptor;
}

static struct acceptor *make_listening(struct address *ret_local)
{
    struct acceptor *acceptor = make(AF_UNSPEC, "127.0.0.1", ret_local);
    CHECK_INT(acceptor_listen(acceptor, 16), 0);
    return acceptor;
}

/* A connected client, or -errno. On loopback all of it is done when connect(2) returns. */
static int client(const struct address *address)
{
    int fd = socket(address_family(address), SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0);
    if (connect(fd, &address->any, address->n_bytes) == 0)
        return fd;
    int r = -errno;
    close(fd);
    return r;
}

static int client_of(const char *text, uint16_t port)
{
    struct address address;
    CHECK_INT(address_parse(&address, text, port), 0);
    return client(&address);
}

static struct connection *take(struct acceptor *acceptor)
{
    struct connection *connection;
    CHECK_INT(acceptor_accept(acceptor, &no_options, &connection), 0);
    return connection;
}

static void check_nothing_waits(struct acceptor *acceptor)
{
    struct connection *connection;
    CHECK_INT(acceptor_accept(acceptor, &no_options, &connection), ACCEPTOR_E_AGAIN);
}

/* ---- binding ---- */

TEST(acceptor, families_and_addresses)
{
    static const struct {
        int family;
        const char *address, *local;
        bool v4, v6; /* who reaches it */
    } cases[] = {
        {AF_UNSPEC, NULL, "::", true, true},
        {AF_INET, NULL, "0.0.0.0", true, false},
        {AF_INET6, NULL, "::", false, true},
        {AF_UNSPEC, "127.0.0.1", "127.0.0.1", true, false},
        {AF_INET, "127.0.0.1", "127.0.0.1", true, false},
        {AF_INET, "0.0.0.0", "0.0.0.0", true, false},
        {AF_UNSPEC, "0.0.0.0", "0.0.0.0", true, false},
        {AF_UNSPEC, "::1", "::1", false, true},
        {AF_INET6, "::1", "::1", false, true},
        {AF_UNSPEC, "::", "::", true, true},
        {AF_INET6, "::", "::", false, true},
        {AF_UNSPEC, "::ffff:127.0.0.1", "127.0.0.1", true, false},
        {AF_INET, "::ffff:127.0.0.1", "127.0.0.1", true, false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct address local;
        char text[ADDRESS_TEXT_MAX];
        struct acceptor *acceptor = make(cases[i].family, cases[i].address, &local);
        CHECK_STRING(address_text(&local, text, sizeof(text)), cases[i].local);
        CHECK(address_port(&local) != 0);
        CHECK_INT(acceptor_listen(acceptor, 4), 0);
        int v4 = client_of("127.0.0.1", address_port(&local));
        int v6 = client_of("::1", address_port(&local));
        if ((v4 >= 0) != cases[i].v4 || (v6 >= 0) != cases[i].v6)
            fprintf(stderr, "case %zu: %d %d\n", i, v4, v6);
        CHECK(cases[i].v4 ? v4 >= 0 : v4 == -ECONNREFUSED);
        CHECK(cases[i].v6 ? v6 >= 0 : v6 == -ECONNREFUSED);
        close(v4);
        close(v6);
        acceptor_free(acceptor);
    }
}

static void check_refused(int family, const char *text, int wanted)
{
    struct acceptor *acceptor = NULL;
    struct address address = {0}, local;
    if (text)
        CHECK_INT(address_parse(&address, text, 0), 0);
    CHECK_INT(acceptor_new(&acceptor, family, &address, 0, &local), wanted);
    CHECK(!acceptor);
}

TEST(acceptor, what_cannot_be_bound)
{
    check_refused(AF_INET, "::1", -EAFNOSUPPORT);
    check_refused(AF_INET6, "127.0.0.1", -EAFNOSUPPORT);
    check_refused(AF_INET6, "::ffff:127.0.0.1", -EAFNOSUPPORT);
    check_refused(AF_UNIX, NULL, -EAFNOSUPPORT);
    check_refused(AF_UNSPEC, "192.0.2.1", -EADDRNOTAVAIL);
    check_refused(AF_UNSPEC, "2001:db8::1", -EADDRNOTAVAIL);
    acceptor_free(NULL);
}

TEST(acceptor, port)
{
    struct acceptor *first, *second = NULL;
    struct address local, again, address;
    int fd = fixture_listen(&local, 1);
    uint16_t port = address_port(&local);
    CHECK_INT(acceptor_new(&second, AF_UNSPEC, &local, port, &again), -EADDRINUSE);
    CHECK(!second);
    close(fd);
    /* the port of the argument counts, not the address's own */
    CHECK_INT(address_parse(&address, "127.0.0.1", 1), 0);
    CHECK_INT(acceptor_new(&first, AF_UNSPEC, &address, port, &again), 0);
    CHECK_INT(address_port(&again), port);
    /* as the header says: who listens first has it */
    CHECK_INT(acceptor_new(&second, AF_UNSPEC, &address, port, &again), 0);
    CHECK_INT(acceptor_listen(second, 1), 0);
    CHECK_INT(acceptor_listen(first, 1), -EADDRINUSE);
    acceptor_free(second);
    CHECK_INT(acceptor_listen(first, 1), 0);
    acceptor_free(first);
}

/* A connection that was closed from this side keeps the port in TIME-WAIT. */
TEST(acceptor, port_of_a_moment_ago)
{
    struct acceptor *acceptor;
    struct address local, again;
    char byte;
    acceptor = make_listening(&local);
    int fd = client(&local);
    connection_free(take(acceptor));
    acceptor_free(acceptor);
    CHECK_INT(recv(fd, &byte, 1, 0), 0);
    close(fd);
    CHECK_INT(acceptor_new(&acceptor, AF_INET, &local, address_port(&local), &again), 0);
    CHECK_INT(acceptor_listen(acceptor, 1), 0);
    acceptor_free(acceptor);
}

TEST(acceptor, bound_but_not_listening)
{
    struct connection *connection;
    struct address local;
    struct acceptor *acceptor = make(AF_INET, "127.0.0.1", &local);
    CHECK_INT(client(&local), -ECONNREFUSED);
    CHECK_INT(acceptor_accept(acceptor, &no_options, &connection), -EINVAL);
    acceptor_free(acceptor);
}

/* How many of n clients are connected at once. */
static int count_connected(const struct address *address, int *fds, int n)
{
    int n_connected = 0;
    for (int i = 0; i < n; i++) {
        fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (connect(fds[i], &address->any, address->n_bytes) < 0)
            CHECK_INT(errno, EINPROGRESS);
        struct pollfd poll_fd = {.fd = fds[i], .events = POLLOUT};
        n_connected += poll(&poll_fd, 1, 0);
    }
    return n_connected;
}

TEST(acceptor, backlog)
{
    struct address local;
    int few[4], more[4];
    struct acceptor *acceptor = make(AF_INET, "127.0.0.1", &local);
    CHECK_INT(acceptor_listen(acceptor, 1), 0);
    CHECK_INT(count_connected(&local, few, 4), 2); /* Linux takes one more */
    CHECK_INT(acceptor_listen(acceptor, 16), 0);
    CHECK_INT(count_connected(&local, more, 4), 4);
    for (int i = 0; i < 4; i++) {
        close(few[i]);
        close(more[i]);
    }
    acceptor_free(acceptor);
}

/* ---- accepting ---- */

TEST(acceptor, gives_out_in_order)
{
    enum { N = 5 };
    int fds[N];
    struct address local;
    struct acceptor *acceptor = make_listening(&local);
    check_nothing_waits(acceptor);
    CHECK(!acceptor_has_waiting(acceptor));
    for (int i = 0; i < N; i++)
        fds[i] = client(&local);
    for (int i = 0; i < N; i++) {
        struct address here, there;
        CHECK(acceptor_has_waiting(acceptor));
        struct connection *connection = take(acceptor);
        CHECK_INT(address_of_socket(fds[i], &here, &there), 0);
        CHECK(address_equal(&connection->remote, &here));
        CHECK(address_equal(&connection->local, &there));
        CHECK(!connection->tls && !connection->facts);
        CHECK(fcntl(connection->fd, F_GETFL) & O_NONBLOCK);
        CHECK(fcntl(connection->fd, F_GETFD) & FD_CLOEXEC);
        connection_free(connection);
        close(fds[i]);
    }
    check_nothing_waits(acceptor);
    CHECK(!acceptor_has_waiting(acceptor));
    acceptor_free(acceptor);
}

/* A socket for all addresses: the connection knows which one it was, and IPv4 is IPv4. */
TEST(acceptor, all_addresses)
{
    static const char *const texts[] = {"127.0.0.1", "::1", "127.0.0.2"};
    struct address local;
    struct acceptor *acceptor = make(AF_UNSPEC, NULL, &local);
    CHECK_INT(acceptor_listen(acceptor, 4), 0);
    for (size_t i = 0; i < 3; i++) {
        struct address here, there;
        int fd = client_of(texts[i], address_port(&local));
        struct connection *connection = take(acceptor);
        CHECK_INT(address_of_socket(fd, &here, &there), 0);
        CHECK(address_equal(&connection->remote, &here));
        CHECK(address_equal(&connection->local, &there));
        connection_free(connection);
        close(fd);
    }
    acceptor_free(acceptor);
}

static int option(int fd, int level, int name)
{
    int value = -1;
    socklen_t n = sizeof(value);
    CHECK_INT(getsockopt(fd, level, name, &value, &n), 0);
    return value;
}

TEST(acceptor, sets_options)
{
    struct tcp_options options = {.nodelay = true, .keepalive_ms = 61000};
    struct connection *connection;
    struct address local;
    struct acceptor *acceptor = make_listening(&local);
    int first = client(&local), second = client(&local);
    CHECK_INT(acceptor_accept(acceptor, &options, &connection), 0);
    CHECK(option(connection->fd, IPPROTO_TCP, TCP_NODELAY));
    CHECK_INT(option(connection->fd, IPPROTO_TCP, TCP_KEEPIDLE), 61);
    connection_free(connection);
    options.keepalive_ms = INT32_MAX; /* more than the kernel takes */
    CHECK_INT(tcp_options_set(first, &options), -EINVAL);
    CHECK_INT(acceptor_accept(acceptor, &options, &connection), 0);
    connection_free(connection);
    close(first);
    close(second);
    acceptor_free(acceptor);
}

TEST(acceptor, waiting_connections_are_reset)
{
    struct address local;
    char byte;
    struct acceptor *acceptor = make_listening(&local);
    int fd = client(&local);
    acceptor_free(acceptor);
    CHECK(recv(fd, &byte, 1, 0) < 0);
    CHECK_INT(errno, ECONNRESET);
    close(fd);
}

/* A peer that has reset its connection meanwhile: it is given out, and reading tells. */
TEST(acceptor, peer_is_gone)
{
    const struct linger reset = {.l_onoff = 1};
    struct address local;
    char byte;
    struct acceptor *acceptor = make_listening(&local);
    int fd = client(&local), alive = client(&local);
    CHECK_INT(setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)), 0);
    close(fd);
    struct connection *connection = take(acceptor);
    CHECK(address_port(&connection->remote) && address_port(&connection->local));
    CHECK(recv(connection->fd, &byte, 1, 0) < 0);
    CHECK_INT(errno, ECONNRESET);
    connection_free(connection);
    connection_free(take(acceptor));
    close(alive);
    acceptor_free(acceptor);
}

/* No further descriptor can be had until what was before is set again. (Not a limit of 0: poll(2)
 * refuses more entries than descriptors.) */
static void forbid_descriptors(struct rlimit *before)
{
    CHECK_INT(getrlimit(RLIMIT_NOFILE, before), 0);
    struct rlimit limit = *before;
    int lowest = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(lowest > 0);
    close(lowest);
    limit.rlim_cur = (rlim_t)lowest;
    CHECK_INT(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

TEST(acceptor, no_descriptor_is_left)
{
    struct rlimit before;
    struct address local, here, there;
    struct connection *connection = NULL;
    struct acceptor *acceptor = make_listening(&local);
    forbid_descriptors(&before);
    CHECK_INT(acceptor_accept(acceptor, &no_options, &connection), ACCEPTOR_E_AGAIN);
    CHECK_INT(setrlimit(RLIMIT_NOFILE, &before), 0);
    int fd = client(&local);
    forbid_descriptors(&before);
    for (int i = 0; i < 3; i++)
        CHECK_INT(acceptor_accept(acceptor, &no_options, &connection), -EMFILE);
    CHECK(!connection);
    CHECK_INT(setrlimit(RLIMIT_NOFILE, &before), 0);
    connection = take(acceptor);
    CHECK_INT(address_of_socket(fd, &here, &there), 0);
    CHECK(address_equal(&connection->remote, &here));
    check_nothing_waits(acceptor);
    connection_free(connection);
    close(fd);
    acceptor_free(acceptor);
}
