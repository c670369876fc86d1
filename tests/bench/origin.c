/*
 * bench_origin CERT KEY: an echo server on all of 127/8 that counts. Writes its ports as one line
 * of JSON, then a line with the counters of each for every line it reads on standard input, and
 * ends with it.
 *
 * Nothing can be resumed on the ports "tls" and "bulk" (TLS, too): they give no tickets and keep no
 * sessions. "tickets" does what servers do unless told otherwise.
 */
#include "bench/origin.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

enum port { PORT_PLAIN, PORT_DISCARD, PORT_TLS, PORT_TICKETS, PORT_BULK, N_PORTS };

static const char *const port_names[N_PORTS] = {"plain", "discard", "tls", "tickets", "bulk"};
static const enum origin_service services[N_PORTS] = {
    [PORT_DISCARD] = ORIGIN_DISCARD, [PORT_BULK] = ORIGIN_BULK};

struct origin {
    int epoll;
    int listeners[N_PORTS];
    SSL_CTX *contexts[N_PORTS]; /* NULL: plain */
    struct origin_counts counts[N_PORTS];
};

__attribute__((noreturn)) static void die(const char *what)
{
    fprintf(stderr, "bench_origin: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void watch(struct origin *origin, int fd, void *data)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = data};
    if (epoll_ctl(origin->epoll, EPOLL_CTL_ADD, fd, &event) < 0)
        die("epoll_ctl");
}

static uint16_t listen_somewhere(struct origin *origin, enum port port)
{
    struct sockaddr_in name = {.sin_family = AF_INET};
    /* All of 127/8: a client that needs more ports than one address has takes another. */
    name.sin_addr.s_addr = htonl(INADDR_ANY);
    socklen_t size = sizeof name;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "lo", 3) < 0 ||
        bind(fd, (const struct sockaddr *)&name, sizeof name) < 0 || listen(fd, 4096) < 0 ||
        getsockname(fd, (struct sockaddr *)&name, &size) < 0)
        die("listen");
    origin->listeners[port] = fd;
    watch(origin, fd, &origin->listeners[port]);
    return ntohs(name.sin_port);
}

static void accept_all(struct origin *origin, enum port port)
{
    for (;;) {
        int fd = accept4(origin->listeners[port], NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            if (errno == EAGAIN || errno == ECONNABORTED)
                return;
            die("accept");
        }
        int on = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        origin->counts[port].accepted++;
        struct origin_connection *connection = origin_connection_new(
            fd, origin->contexts[port], services[port], &origin->counts[port]);
        if (connection == NULL)
            die("connection");
        watch(origin, fd, connection);
    }
}

static bool answer_control(struct origin *origin)
{
    char line[64];
    if (read(STDIN_FILENO, line, sizeof line) <= 0)
        return false;
    for (int i = 0; i < N_PORTS; i++) {
        const struct origin_counts *counts = &origin->counts[i];
        printf("%s\"%s\": {\"accepted\": %" PRIu64 ", \"handshakes\": %" PRIu64
               ", \"resumed\": %" PRIu64 ", \"failed\": %" PRIu64 ", \"discarded\": %" PRIu64 "}",
               i == 0 ? "{" : ", ", port_names[i], counts->accepted, counts->handshakes,
               counts->resumed, counts->failed, counts->discarded);
    }
    puts("}");
    return fflush(stdout) == 0;
}

/* false: standard input ended */
static bool serve(struct origin *origin)
{
    struct epoll_event events[256];
    int n = epoll_wait(origin->epoll, events, 256, -1);
    if (n < 0 && errno != EINTR)
        die("epoll_wait");
    for (int i = 0; i < n; i++) {
        int *listener = events[i].data.ptr;
        if (listener == NULL) {
            if (!answer_control(origin))
                return false;
        } else if (listener >= origin->listeners && listener < origin->listeners + N_PORTS) {
            accept_all(origin, (enum port)(listener - origin->listeners));
        } else if (!origin_connection_serve(events[i].data.ptr)) {
            origin_connection_free(events[i].data.ptr);
        }
    }
    return true;
}

static SSL_CTX *make_context(const char *certificate, const char *key)
{
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    if (context == NULL || SSL_CTX_use_certificate_chain_file(context, certificate) != 1 ||
        SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) != 1)
        die("certificate");
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE);
    return context;
}

/* Tickets are a matter of one option in TLS 1.2 and of their number in TLS 1.3. */
static void forbid_resumption(SSL_CTX *context)
{
    SSL_CTX_set_options(context, SSL_OP_NO_TICKET);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    if (SSL_CTX_set_num_tickets(context, 0) != 1)
        die("tickets");
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fputs("usage: bench_origin CERT KEY\n", stderr);
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    struct origin origin = {.epoll = epoll_create1(EPOLL_CLOEXEC)};
    if (origin.epoll < 0)
        die("epoll_create1");
    origin.contexts[PORT_TLS] = make_context(argv[1], argv[2]);
    origin.contexts[PORT_TICKETS] = make_context(argv[1], argv[2]);
    origin.contexts[PORT_BULK] = make_context(argv[1], argv[2]);
    forbid_resumption(origin.contexts[PORT_TLS]);
    forbid_resumption(origin.contexts[PORT_BULK]);
    for (int i = 0; i < N_PORTS; i++)
        printf("%s\"%s\": %u", i == 0 ? "{" : ", ", port_names[i],
               listen_somewhere(&origin, (enum port)i));
    puts("}");
    fflush(stdout);
    watch(&origin, STDIN_FILENO, NULL);
    while (serve(&origin)) {
    }
    return 0;
}
