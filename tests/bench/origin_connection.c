#include "bench/origin.h"

#include <errno.h>
#include <openssl/err.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { WAIT_MS = 5000 };

struct origin_connection *origin_connection_new(int fd, SSL_CTX *context,
                                                enum origin_service service,
                                                struct origin_counts *counts)
{
    struct origin_connection *connection = calloc(1, sizeof *connection);
    SSL *ssl = context == NULL ? NULL : SSL_new(context);
    if (connection == NULL || (context != NULL && (ssl == NULL || SSL_set_fd(ssl, fd) != 1))) {
        SSL_free(ssl);
        free(connection);
        close(fd);
        return NULL;
    }
    *connection = (struct origin_connection){
        .fd = fd, .counts = counts, .ssl = ssl, .ready = ssl == NULL, .service = service};
    return connection;
}

struct origin_connection *origin_connection_free(struct origin_connection *connection)
{
    if (connection == NULL)
        return NULL;
    /* RST: no TIME_WAIT, in which the search for a free port would be measured later. */
    struct linger abort_it = {.l_onoff = 1, .l_linger = 0};
    setsockopt(connection->fd, SOL_SOCKET, SO_LINGER, &abort_it, sizeof abort_it);
    SSL_free(connection->ssl);
    close(connection->fd);
    free(connection);
    return NULL;
}

/* A client that does not read holds all others up for WAIT_MS at most: it is then cut off. */
static bool wait_writable(int fd)
{
    struct pollfd item = {.fd = fd, .events = POLLOUT};
    return poll(&item, 1, WAIT_MS) == 1;
}

static bool send_all(struct origin_connection *connection, const char *data, size_t n)
{
    while (n > 0) {
        ssize_t sent;
        if (connection->ssl != NULL) {
            ERR_clear_error();
            sent = SSL_write(connection->ssl, data, (int)n);
            if (sent <= 0) {
                if (SSL_get_error(connection->ssl, (int)sent) != SSL_ERROR_WANT_WRITE ||
                    !wait_writable(connection->fd))
                    return false;
                continue;
            }
        } else {
            sent = send(connection->fd, data, n, MSG_NOSIGNAL);
            if (sent < 0) {
                if (errno != EAGAIN || !wait_writable(connection->fd))
                    return false;
                continue;
            }
        }
        data += sent;
        n -= (size_t)sent;
    }
    return true;
}

static bool shake_hands(struct origin_connection *connection)
{
    struct origin_counts *counts = connection->counts;
    ERR_clear_error();
    int result = SSL_accept(connection->ssl);
    if (result == 1) {
        connection->ready = true;
        counts->handshakes++;
        counts->resumed += SSL_session_reused(connection->ssl) != 0;
        return true;
    }
    if (SSL_get_error(connection->ssl, result) == SSL_ERROR_WANT_READ)
        return true;
    counts->failed++;
    return false;
}

static bool send_bytes(struct origin_connection *connection, uint64_t n)
{
    static char piece[64 * 1024];
    for (; n > sizeof piece; n -= sizeof piece)
        if (!send_all(connection, piece, sizeof piece))
            return false;
    return send_all(connection, piece, (size_t)n);
}

static bool bulk(struct origin_connection *connection, const char *data, size_t n)
{
    while (n > 0) {
        if (connection->n_expected == 0) {
            connection->request[connection->n_request++] = *data++;
            n--;
            if (connection->n_request < ORIGIN_REQUEST)
                continue;
            connection->n_request = 0;
            uint64_t wanted = strtoull(connection->request + 1, NULL, 10);
            if (connection->request[0] == 'S')
                connection->n_expected = wanted;
            else if (!send_bytes(connection, wanted))
                return false;
            continue;
        }
        size_t part = n < connection->n_expected ? n : (size_t)connection->n_expected;
        data += part;
        n -= part;
        connection->n_expected -= part;
        if (connection->n_expected == 0 && !send_bytes(connection, 1))
            return false;
    }
    return true;
}

static bool take(struct origin_connection *connection, const char *data, size_t n)
{
    switch (connection->service) {
    case ORIGIN_DISCARD:
        connection->counts->discarded += n;
        return true;
    case ORIGIN_BULK:
        return bulk(connection, data, n);
    default:
        return send_all(connection, data, n);
    }
}

bool origin_connection_serve(struct origin_connection *connection)
{
    static char buffer[256 * 1024];
    if (!connection->ready)
        return shake_hands(connection);
    do {
        ssize_t got;
        if (connection->ssl != NULL) {
            ERR_clear_error();
            got = SSL_read(connection->ssl, buffer, sizeof buffer);
            if (got <= 0)
                return SSL_get_error(connection->ssl, (int)got) == SSL_ERROR_WANT_READ;
        } else {
            got = recv(connection->fd, buffer, sizeof buffer, 0);
            if (got <= 0)
                return got < 0 && errno == EAGAIN;
        }
        if (!take(connection, buffer, (size_t)got))
            return false;
    } while (connection->ssl != NULL && SSL_pending(connection->ssl) > 0);
    return true;
}
