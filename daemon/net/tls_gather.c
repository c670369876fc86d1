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
    ANSWERS_SIZE = 512, /* room for what OpenSSL says by itself behind a record that waits */
};

struct record {
    size_t end; /* in data */
    size_t n_plain;
};

/* What waits. */
struct store {
    size_t start, end, capacity;
    struct record records[GATHER_RECORDS]; /* those not out yet, the oldest first */
    size_t n_records;
    char data[];
};

struct tls_gather {
    int fd;
    bool writing;        /* between begin and end */
    bool collecting;     /* all of it is kept until the flush */
    struct store *store; /* NULL: nothing waits */
    size_t n_out;        /* plain text that is out and was not told */
};

static bool make_store(struct tls_gather *gather, size_t capacity)
{
    struct store *store = malloc(sizeof(*store) + capacity);
    if (store) {
        store->start = store->end = store->n_records = 0;
        store->capacity = capacity;
    }
    gather->store = store;
    return store != NULL;
}

/* ---- to the socket ---- */

static void forget_sent(struct tls_gather *gather)
{
    struct store *store = gather->store;
    size_t n = 0;

    while (n < store->n_records && store->records[n].end <= store->start)
        gather->n_out += store->records[n++].n_plain;
    store->n_records -= n;
    memmove(store->records, store->records + n, store->n_records * sizeof(*store->records));
    if (store->start < store->end)
        return;
    free(store);
    gather->store = NULL;
}

/* Returns 0, 1 or -errno. */
static int push(struct tls_gather *gather)
{
    while (gather->store) {
        struct store *store = gather->store;
        ssize_t n =
            send(gather->fd, store->data + store->start, store->end - store->start, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN || errno == EWOULDBLOCK ? 1 : -errno;
        store->start += (size_t)n;
        forget_sent(gather);
    }
    return 0;
}

/* ---- from OpenSSL ---- */

static BIO_METHOD *method;
static pthread_once_t method_once = PTHREAD_ONCE_INIT;

static bool append(struct tls_gather *gather, const char *data, size_t n)
{
    struct store *store = gather->store;

    if (!store || n > store->capacity - store->end)
        return false;
    memcpy(store->data + store->end, data, n);
    store->end += n;
    return true;
}

/* What of n bytes is taken; errno when it is 0. */
static size_t write_through(struct tls_gather *gather, const char *data, size_t n)
{
    ssize_t sent;

    do
        sent = send(gather->fd, data, n, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    if (sent < 0 && errno != EAGAIN && errno != EWOULDBLOCK)
        return 0;
    size_t done = sent > 0 ? (size_t)sent : 0;
    /* OpenSSL must not be left with half a record while it is writing: should it have to answer a
     * KeyUpdate then, it would fail */
    if (done < n && gather->writing && make_store(gather, RECORD_MAX + ANSWERS_SIZE) &&
        append(gather, data + done, n - done))
        return n;
    errno = EAGAIN;
    return done;
}

/* Not the newer kind, by BIO_meth_set_write_ex(): what it does not take is 0 for who asked, and
 * SSL_shutdown(), which looks for -1, says then that close_notify is out. */
static int gather_write(BIO *bio, const char *data, int n)
{
    struct tls_gather *gather = BIO_get_data(bio);
    size_t n_bytes = (size_t)n, taken = 0;
    int r = gather->collecting ? 0 : push(gather);

    BIO_clear_retry_flags(bio);
    errno = r < 0 ? -r : EAGAIN;
    if (r >= 0 && gather->store)
        taken = append(gather, data, n_bytes) ? n_bytes : 0;
    else if (r >= 0)
        taken = write_through(gather, data, n_bytes);
    if (taken > 0)
        return (int)taken;
    if (errno == EAGAIN || errno == EWOULDBLOCK)
        BIO_set_retry_write(bio);
    return -1;
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
        free(gather->store);
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
    if (BIO_meth_set_write(new, gather_write) != 1 || BIO_meth_set_ctrl(new, gather_ctrl) != 1 ||
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

/* ---- writing ---- */

void tls_gather_begin(struct tls_gather *gather, bool several)
{
    ASSERT(!gather->store && !gather->writing);
    gather->writing = true;
    gather->collecting = several && make_store(gather, GATHER_SIZE);
}

void tls_gather_mark(struct tls_gather *gather, size_t n)
{
    struct store *store = gather->store;

    if (store)
        store->records[store->n_records++] = (struct record){.end = store->end, .n_plain = n};
    else
        gather->n_out += n;
}

bool tls_gather_has_room(const struct tls_gather *gather)
{
    const struct store *store = gather->store;

    if (!gather->collecting)
        return !store;
    return store->n_records < GATHER_RECORDS && store->capacity - store->end >= RECORD_MAX;
}

void tls_gather_end(struct tls_gather *gather)
{
    gather->writing = gather->collecting = false;
    if (gather->store)
        forget_sent(gather); /* nothing was collected: its memory goes */
}

int tls_gather_flush(struct tls_gather *gather, size_t *ret_n)
{
    int r = push(gather);

    *ret_n = gather->n_out;
    gather->n_out = 0;
    return r;
}
