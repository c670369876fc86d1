#include "net/tls_gather.h"

#include <errno.h>
#include <openssl/bio.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum {
    GATHER_RECORDS = 8,
    RECORD_MAX = SSL3_RT_MAX_PLAIN_LENGTH + SSL3_RT_MAX_ENCRYPTED_OVERHEAD + SSL3_RT_HEADER_LENGTH,
    GATHER_SIZE = 4 * RECORD_MAX,
};

struct record {
    size_t end; /* in data */
    size_t n_plain;
};

struct tls_gather {
    int fd;
    bool collecting;
    char *data; /* NULL: nothing waits */
    size_t start, end;
    struct record records[GATHER_RECORDS]; /* those not out yet, the oldest first */
    size_t n_records;
    size_t n_out; /* plain text that is out and was not told */
};

/* ---- to the socket ---- */

static void forget_sent(struct tls_gather *gather)
{
    size_t n = 0;

    while (n < gather->n_records && gather->records[n].end <= gather->start)
        gather->n_out += gather->records[n++].n_plain;
    gather->n_records -= n;
    memmove(gather->records, gather->records + n, gather->n_records * sizeof(*gather->records));
    if (gather->start < gather->end)
        return;
    free(gather->data);
    gather->data = NULL;
    gather->start = gather->end = 0;
}

/* Returns 0, 1 or -errno. */
static int push(struct tls_gather *gather)
{
    while (gather->data) {
        ssize_t n = send(gather->fd, gather->data + gather->start, gather->end - gather->start,
                         MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN || errno == EWOULDBLOCK ? 1 : -errno;
        gather->start += (size_t)n;
        forget_sent(gather);
    }
    return 0;
}

/* ---- from OpenSSL ---- */

static BIO_METHOD *method;
static pthread_once_t method_once = PTHREAD_ONCE_INIT;

static int gather_write(BIO *bio, const char *data, size_t n, size_t *ret_n)
{
    struct tls_gather *gather = BIO_get_data(bio);

    BIO_clear_retry_flags(bio);
    *ret_n = 0;
    if (gather->collecting) {
        /* has_room() was asked before each record; should OpenSSL have more to say than that, it has
         * to come again */
        if (n > GATHER_SIZE - gather->end) {
            BIO_set_retry_write(bio);
            return 0;
        }
        memcpy(gather->data + gather->end, data, n);
        gather->end += n;
        *ret_n = n;
        return 1;
    }
    int r = push(gather);
    if (r < 0) {
        errno = -r;
        return 0;
    }
    ssize_t sent = -1;
    errno = EAGAIN;
    if (r == 0)
        do
            sent = send(gather->fd, data, n, MSG_NOSIGNAL);
        while (sent < 0 && errno == EINTR);
    if (sent < 0) {
        if (errno == EAGAIN || errno == EWOULDBLOCK)
            BIO_set_retry_write(bio);
        return 0;
    }
    *ret_n = (size_t)sent;
    return 1;
}

static long gather_ctrl(BIO *bio, int command, long number, void *pointer)
{
    (void)bio;
    (void)number;
    (void)pointer;
    return command == BIO_CTRL_FLUSH;
}

static int gather_destroy(BIO *bio)
{
    struct tls_gather *gather = BIO_get_data(bio);
    if (gather)
        free(gather->data);
    free(gather);
    BIO_set_data(bio, NULL);
    return 1;
}

static void free_method(void)
{
    BIO_meth_free(method);
}

static void make_method(void)
{
    BIO_METHOD *new = BIO_meth_new(BIO_TYPE_SOURCE_SINK | BIO_get_new_index(), "gather");
    if (!new)
        return;
    if (BIO_meth_set_write_ex(new, gather_write) != 1 || BIO_meth_set_ctrl(new, gather_ctrl) != 1 ||
        BIO_meth_set_destroy(new, gather_destroy) != 1 || atexit(free_method) != 0) {
        BIO_meth_free(new);
        return;
    }
    method = new;
}

int tls_gather_new(struct tls_gather **ret_gather, SSL *ssl, int fd)
{
    pthread_once(&method_once, make_method);
    struct tls_gather *gather = calloc(1, sizeof(*gather));
    BIO *bio = method && gather ? BIO_new(method) : NULL;
    if (!bio) {
        free(gather);
        return -ENOMEM;
    }
    gather->fd = fd;
    BIO_set_data(bio, gather);
    BIO_set_init(bio, 1);
    SSL_set0_wbio(ssl, bio);
    *ret_gather = gather;
    return 0;
}

/* ---- collecting ---- */

bool tls_gather_waits(const struct tls_gather *gather)
{
    return gather->data != NULL;
}

bool tls_gather_begin(struct tls_gather *gather)
{
    ASSERT(!gather->data && !gather->collecting);
    gather->data = malloc(GATHER_SIZE);
    gather->collecting = gather->data != NULL;
    return gather->collecting;
}

void tls_gather_mark(struct tls_gather *gather, size_t n)
{
    if (gather->collecting)
        gather->records[gather->n_records++] = (struct record){.end = gather->end, .n_plain = n};
}

bool tls_gather_has_room(const struct tls_gather *gather)
{
    return !gather->collecting ||
           (gather->n_records < GATHER_RECORDS && GATHER_SIZE - gather->end >= RECORD_MAX);
}

void tls_gather_end(struct tls_gather *gather)
{
    gather->collecting = false;
    forget_sent(gather); /* nothing was collected: its memory goes */
}

int tls_gather_flush(struct tls_gather *gather, size_t *ret_n)
{
    int r = push(gather);

    *ret_n = gather->n_out;
    gather->n_out = 0;
    return r;
}
