/*
 * tls_ahead: a BIO that reads from a socket, but first what was read from that socket already: the
 * beginning of a client's handshake, when it came before anybody asked for TLS. It is needed until
 * the handshake is over.
 */
#include <errno.h>
#include <openssl/bio.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "net/tls_internal.h"

struct ahead {
    char *bytes; /* owned */
    size_t n, taken;
    int fd;
};

static BIO_METHOD *method;
static pthread_once_t method_once = PTHREAD_ONCE_INIT;

static int ahead_read(BIO *bio, char *buffer, size_t n, size_t *ret_n)
{
    struct ahead *ahead = BIO_get_data(bio);
    size_t left = ahead->n - ahead->taken;

    BIO_clear_retry_flags(bio);
    if (left > 0) {
        *ret_n = n < left ? n : left;
        memcpy(buffer, ahead->bytes + ahead->taken, *ret_n);
        ahead->taken += *ret_n;
        return 1;
    }
    ssize_t got = recv(ahead->fd, buffer, n, 0);
    if (got > 0) {
        *ret_n = (size_t)got;
        return 1;
    }
    *ret_n = 0;
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        BIO_set_retry_read(bio);
    else if (got == 0)
        BIO_set_flags(bio, BIO_FLAGS_IN_EOF);
    return 0;
}

static long ahead_ctrl(BIO *bio, int command, long number, void *pointer)
{
    (void)number;
    (void)pointer;
    switch (command) {
    case BIO_CTRL_FLUSH:
        return 1;
    case BIO_CTRL_EOF:
        return BIO_test_flags(bio, BIO_FLAGS_IN_EOF) != 0;
    default:
        return 0;
    }
}

static int ahead_destroy(BIO *bio)
{
    struct ahead *ahead = BIO_get_data(bio);
    if (ahead)
        free(ahead->bytes);
    free(ahead);
    BIO_set_data(bio, NULL);
    return 1;
}

static void free_method(void)
{
    BIO_meth_free(method);
}

static void make_method(void)
{
    BIO_METHOD *new = BIO_meth_new(BIO_TYPE_SOURCE_SINK | BIO_get_new_index(), "ahead");
    if (!new)
        return;
    if (BIO_meth_set_read_ex(new, ahead_read) != 1 || BIO_meth_set_ctrl(new, ahead_ctrl) != 1 ||
        BIO_meth_set_destroy(new, ahead_destroy) != 1 || atexit(free_method) != 0) {
        BIO_meth_free(new);
        return;
    }
    method = new;
}

int tls_ahead_set(SSL *ssl, int fd, char **bytes, size_t n)
{
    pthread_once(&method_once, make_method);
    struct ahead *ahead = calloc(1, sizeof(*ahead));
    BIO *bio = method && ahead ? BIO_new(method) : NULL;
    if (!bio) {
        free(ahead);
        return -ENOMEM;
    }
    ahead->bytes = *bytes;
    ahead->n = n;
    ahead->fd = fd;
    *bytes = NULL;
    BIO_set_data(bio, ahead);
    BIO_set_init(bio, 1);
    SSL_set0_rbio(ssl, bio);
    return 0;
}
