#include <errno.h>
#include <semaphore.h>
#include <unistd.h>

#include "net_fixture.h"
#include "support/test.h"

/* A verified connection to a server of the test, imported on the test's loop. */
struct tls_end {
    struct loop *loop;
    struct dialers *dialers;
    struct fixture_ca ca;
    char folder[64];
    struct trust *trust;
    struct fixture_server server;
    struct stream *stream;
    bool ready;
    unsigned what;
};

static void on_ready(void *context, unsigned what)
{
    struct tls_end *end = context;
    end->ready = true;
    end->what = what;
}

static void tls_end_init(struct tls_end *end, int max_version,
                         void (*serve)(struct fixture_server *server, SSL *ssl, int fd))
{
    struct fixture_job job;
    *end = (struct tls_end){0};
    end->loop = fixture_loop();
    end->dialers = fixture_dialers(1);
    fixture_ca_init(&end->ca, "CA");
    fixture_folder(end->folder, end->ca.certificate);
    end->trust = fixture_trust(end->folder);
    fixture_server_start(&end->server, &end->ca, "DNS:localhost", 30, max_version, 1, serve);
    fixture_job_init(&job, end->loop, &end->server.address, 1, 10000);
    fixture_job_secure(&job, end->trust, "localhost", true);
    fixture_job_run(&job, end->dialers);
    CHECK_INT(job.dial->error.cause, NET_OK);
    CHECK_INT(stream_import(&end->stream, &job.dial->connection, end->loop, on_ready, end), 0);
    dial_free(job.dial);
}

static void tls_end_deinit(struct tls_end *end)
{
    stream_free(end->stream, true);
    fixture_server_join(&end->server);
    fixture_dialers_free(end->dialers);
    trust_unref(end->trust);
    fixture_remove(end->folder);
    fixture_ca_deinit(&end->ca);
    fixture_loop_free(end->loop);
}

static void wait_for(struct tls_end *end, unsigned what)
{
    end->ready = false;
    CHECK_INT(stream_interest(end->stream, what), 0);
    fixture_pump(end->loop, &end->ready);
}

/* Like stream_read(), but waits instead of STREAM_E_AGAIN. */
static int read_some(struct tls_end *end, void *buffer, size_t n, size_t *ret_n)
{
    int r;
    while ((r = stream_read(end->stream, buffer, n, ret_n)) == STREAM_E_AGAIN)
        wait_for(end, STREAM_READABLE);
    return r;
}

static void write_all(struct tls_end *end, const char *data, size_t n)
{
    for (size_t put; n > 0; data += put, n -= put) {
        int r = stream_write(end->stream, data, n, &put);
        if (r == STREAM_E_AGAIN)
            wait_for(end, STREAM_WRITABLE);
        else
            CHECK_INT(r, 0);
    }
}

/* ---- servers ---- */

static void serve_echo(struct fixture_server *server, SSL *ssl, int fd)
{
    char buffer[20000];
    int n;
    (void)server;
    (void)fd;
    while ((n = SSL_read(ssl, buffer, sizeof(buffer))) > 0)
        MUST(SSL_write(ssl, buffer, n) == n);
    MUST(SSL_get_error(ssl, n) == SSL_ERROR_ZERO_RETURN);
    MUST(SSL_write(ssl, "bye", 3) == 3); /* after the client's half close */
    MUST(SSL_shutdown(ssl) == 1);
}

static void serve_truncated(struct fixture_server *server, SSL *ssl, int fd)
{
    (void)server;
    (void)fd;
    MUST(SSL_write(ssl, "half", 4) == 4);
}

static void serve_and_hold(struct fixture_server *server, SSL *ssl, int fd)
{
    char byte;
    (void)server;
    MUST(SSL_write(ssl, "all there is", 12) == 12);
    MUST(SSL_shutdown(ssl) == 0);
    (void)!recv(fd, &byte, 1, 0); /* the TCP connection stays until the client goes */
}

static void serve_reset(struct fixture_server *server, SSL *ssl, int fd)
{
    const struct linger reset = {.l_onoff = 1};
    char byte;
    (void)server;
    MUST(SSL_read(ssl, &byte, 1) == 1);
    MUST(setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)) == 0);
}

static void serve_plain_close(struct fixture_server *server, SSL *ssl, int fd)
{
    char buffer[16];
    (void)server;
    (void)fd;
    MUST(SSL_read(ssl, buffer, sizeof(buffer)) == 0);
    MUST(SSL_get_error(ssl, 0) == SSL_ERROR_ZERO_RETURN);
}

enum { N_BULK = 16 * 1024 * 1024 }; /* more than kernels take without a reader */

static unsigned char pattern_at(size_t i)
{
    return (unsigned char)(i * 31 % 253);
}

static sem_t reader_may_go;

static void serve_slow_reader(struct fixture_server *server, SSL *ssl, int fd)
{
    unsigned char buffer[16384];
    size_t n_read = 0;
    int n, narrow = 65536;
    (void)server;
    /* otherwise the window may grow until all of it fits, and nobody ever has to wait */
    MUST(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &narrow, sizeof(narrow)) == 0);
    sem_wait(&reader_may_go);
    while ((n = SSL_read(ssl, buffer, sizeof(buffer))) > 0)
        for (int i = 0; i < n; i++)
            MUST(buffer[i] == pattern_at(n_read++));
    MUST(n_read == N_BULK);
    MUST(SSL_get_error(ssl, n) == SSL_ERROR_ZERO_RETURN);
}

enum { N_UPDATES = 20 };

static void serve_key_updates(struct fixture_server *server, SSL *ssl, int fd)
{
    unsigned char buffer[16384];
    size_t n_read = 0;
    int n, narrow = 65536;
    (void)server;
    MUST(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &narrow, sizeof(narrow)) == 0);
    for (int i = 0; i < N_UPDATES; i++) {
        MUST(SSL_key_update(ssl, SSL_KEY_UPDATE_REQUESTED) == 1);
        memset(buffer, i, 1000);
        MUST(SSL_write(ssl, buffer, 1000) == 1000);
    }
    sem_wait(&reader_may_go);
    while ((n = SSL_read(ssl, buffer, sizeof(buffer))) > 0)
        for (int i = 0; i < n; i++)
            MUST(buffer[i] == pattern_at(n_read++));
    MUST(n_read == N_BULK);
    MUST(SSL_get_error(ssl, n) == SSL_ERROR_ZERO_RETURN);
    MUST(SSL_shutdown(ssl) == 1);
}

static void serve_bulk(struct fixture_server *server, SSL *ssl, int fd)
{
    static unsigned char data[N_BULK];
    (void)server;
    (void)fd;
    for (size_t i = 0; i < N_BULK; i++)
        data[i] = pattern_at(i);
    for (size_t n = 0; n < N_BULK;) { /* records of many sizes */
        size_t part = 1 + n * 7 % 30000, put;
        part = part < N_BULK - n ? part : N_BULK - n;
        MUST(SSL_write_ex(ssl, data + n, part, &put) == 1);
        n += put;
    }
    MUST(SSL_shutdown(ssl) == 0);
}

/* ---- tests ---- */

static void check_echo(struct tls_end *end)
{
    char buffer[64];
    size_t n;
    write_all(end, "hello", 5);
    CHECK_INT(read_some(end, buffer, sizeof(buffer), &n), 0);
    CHECK_INT(n, 5);
    CHECK(memcmp(buffer, "hello", 5) == 0);
}

TEST(stream_tls, echo_and_half_close)
{
    struct tls_end end;
    char buffer[64];
    size_t n;
    tls_end_init(&end, TLS1_3_VERSION, serve_echo);
    CHECK_STRING(stream_tls(end.stream)->version, "TLSv1.3");
    check_echo(&end);
    CHECK_INT(stream_shutdown(end.stream), 0);
    CHECK_INT(stream_shutdown(end.stream), 0); /* once more does nothing */
    CHECK_INT(read_some(&end, buffer, sizeof(buffer), &n), 0);
    CHECK_INT(n, 3);
    CHECK_INT(read_some(&end, buffer, sizeof(buffer), &n), STREAM_E_END);
    CHECK_INT(stream_finish(end.stream), 0); /* and now the FIN */
    tls_end_deinit(&end);
}

TEST(stream_tls, no_half_close_before_13)
{
    struct tls_end end;
    char buffer[64];
    size_t n;
    tls_end_init(&end, TLS1_2_VERSION, serve_echo);
    CHECK_STRING(stream_tls(end.stream)->version, "TLSv1.2");
    check_echo(&end);
    CHECK_INT(stream_shutdown(end.stream), STREAM_E_NO_HALF_CLOSE);
    check_echo(&end); /* nothing has happened to it */
    CHECK_INT(stream_finish(end.stream), 0);
    CHECK_INT(read_some(&end, buffer, sizeof(buffer), &n), 0); /* "bye" */
    CHECK_INT(read_some(&end, buffer, sizeof(buffer), &n), STREAM_E_END);
    tls_end_deinit(&end);
}

static void check_truncation(int version)
{
    struct tls_end end;
    char buffer[64];
    size_t n;
    tls_end_init(&end, version, serve_truncated);
    CHECK_INT(read_some(&end, buffer, sizeof(buffer), &n), 0);
    CHECK_INT(n, 4); /* data before the cut is not lost */
    CHECK_INT(read_some(&end, buffer, sizeof(buffer), &n), STREAM_E_FAILED);
    CHECK_INT(stream_error(end.stream)->cause, NET_TLS_IO);
    CHECK_INT(stream_error(end.stream)->stage, NET_STAGE_IO);
    CHECK(strstr(stream_error(end.stream)->library, "without ending TLS") != NULL);
    CHECK_INT(stream_read(end.stream, buffer, sizeof(buffer), &n), STREAM_E_FAILED);
    tls_end_deinit(&end);
}

TEST(stream_tls, truncation)
{
    check_truncation(TLS1_3_VERSION);
    check_truncation(TLS1_2_VERSION);
}

/* The end may have been fetched together with the data; then the socket will never be readable
 * again, but on_ready must come. */
TEST(stream_tls, end_right_behind_data)
{
    struct tls_end end;
    char buffer[64];
    size_t n, total = 0;
    int r;
    tls_end_init(&end, TLS1_3_VERSION, serve_and_hold);
    do {
        wait_for(&end, STREAM_READABLE);
        CHECK_INT(end.what, STREAM_READABLE);
        r = stream_read(end.stream, buffer, sizeof(buffer), &n);
        total += n;
    } while (r == 0 || r == STREAM_E_AGAIN);
    CHECK_INT(r, STREAM_E_END);
    CHECK_INT(total, 12);
    CHECK(!stream_pending(end.stream));
    tls_end_deinit(&end);
}

TEST(stream_tls, reset)
{
    struct tls_end end;
    char buffer[64];
    size_t n;
    tls_end_init(&end, TLS1_3_VERSION, serve_reset);
    write_all(&end, "x", 1);
    CHECK_INT(read_some(&end, buffer, sizeof(buffer), &n), STREAM_E_FAILED);
    CHECK_INT(stream_error(end.stream)->cause, NET_SYSTEM);
    CHECK_INT(stream_error(end.stream)->sys_errno, ECONNRESET);
    tls_end_deinit(&end);
}

TEST(stream_tls, graceful_free_says_goodbye)
{
    struct tls_end end;
    tls_end_init(&end, TLS1_3_VERSION, serve_plain_close); /* the server looks */
    end.stream = stream_free(end.stream, true);
    tls_end_deinit(&end);
}

static void check_slow_reader(int max_version, bool much)
{
    struct tls_end end;
    static char data[N_BULK];
    size_t done = 0, put;
    int n_again = 0;
    for (size_t i = 0; i < N_BULK; i++)
        data[i] = (char)pattern_at(i);
    MUST(sem_init(&reader_may_go, 0, 0) == 0);
    tls_end_init(&end, max_version, serve_slow_reader);
    if (much)
        stream_expect_much(end.stream);
    while (done < N_BULK) {
        /* the buffer moves, and the first is longer than what is taken */
        size_t part = N_BULK - done < 100000 ? N_BULK - done : 100000;
        char *moved = malloc(part);
        MUST(moved);
        memcpy(moved, data + done, part);
        int r = stream_write(end.stream, moved, part, &put);
        free(moved);
        done += put;
        if (r == STREAM_E_AGAIN) {
            CHECK_INT(put, 0);
            if (n_again++ == 0) {
                CHECK(done < N_BULK);
                sem_post(&reader_may_go);
            }
            wait_for(&end, STREAM_WRITABLE);
        } else {
            CHECK_INT(r, 0);
            CHECK(put > 0);
        }
    }
    if (n_again == 0)
        sem_post(&reader_may_go);
    CHECK(n_again > 0);
    int r;
    while ((r = stream_finish(end.stream)) == STREAM_E_AGAIN)
        wait_for(&end, STREAM_WRITABLE);
    CHECK_INT(r, 0);
    /* closing with session tickets unread would reset the connection and lose what is on its way */
    while (read_some(&end, data, sizeof(data), &put) == 0)
        ;
    tls_end_deinit(&end);
    sem_destroy(&reader_may_go);
}

TEST(stream_tls, slow_reader_gets_every_byte)
{
    check_slow_reader(TLS1_3_VERSION, false);
}

TEST(stream_tls, slow_reader_gets_several_records)
{
    check_slow_reader(TLS1_3_VERSION, true);
    check_slow_reader(TLS1_2_VERSION, true);
}

/* The peer asks for a new key while records of ours wait: what answers it must not get past them.
 */
static void check_key_updates(bool much)
{
    struct tls_end end;
    static char data[N_BULK], buffer[100000];
    size_t done = 0, heard = 0, n;
    bool ended = false, released = false, shut = false;
    int r;
    for (size_t i = 0; i < N_BULK; i++)
        data[i] = (char)pattern_at(i);
    MUST(sem_init(&reader_may_go, 0, 0) == 0);
    tls_end_init(&end, TLS1_3_VERSION, serve_key_updates);
    if (much)
        stream_expect_much(end.stream);
    while (!shut || !ended) {
        bool blocked = true;
        if (done < N_BULK) {
            r = stream_write(end.stream, data + done, N_BULK - done, &n);
            CHECK(r == 0 || r == STREAM_E_AGAIN);
            done += n;
            blocked = r == STREAM_E_AGAIN;
        } else if (!shut) {
            r = stream_shutdown(end.stream);
            CHECK(r == 0 || r == STREAM_E_AGAIN);
            shut = r == 0;
        }
        if (!blocked)
            continue;
        r = ended ? STREAM_E_AGAIN : stream_read(end.stream, buffer, sizeof(buffer), &n);
        CHECK(r == 0 || r == STREAM_E_AGAIN || r == STREAM_E_END);
        if (r == 0)
            heard += n;
        ended = ended || r == STREAM_E_END;
        if (r != STREAM_E_AGAIN)
            continue;
        if (!released)
            sem_post(&reader_may_go);
        released = true;
        wait_for(&end, (ended ? 0 : STREAM_READABLE) | (shut ? 0 : STREAM_WRITABLE));
    }
    CHECK_INT(heard, N_UPDATES * 1000);
    tls_end_deinit(&end);
    sem_destroy(&reader_may_go);
}

TEST(stream_tls, key_updates_while_records_wait)
{
    check_key_updates(false);
    check_key_updates(true);
}

/* Readers with buffers of many sizes; a short read means that nothing is pending. */
static void check_odd_buffers(bool much)
{
    struct tls_end end;
    static unsigned char buffer[100000];
    size_t total = 0, n = 0;
    int r;
    tls_end_init(&end, TLS1_3_VERSION, serve_bulk);
    if (much)
        stream_expect_much(end.stream);
    for (size_t turn = 0;; turn++) {
        size_t size = 1 + turn * 7919 % sizeof(buffer);
        r = stream_read(end.stream, buffer, size, &n);
        if (r == STREAM_E_AGAIN) {
            CHECK(!stream_pending(end.stream));
            wait_for(&end, STREAM_READABLE);
            continue;
        }
        if (r)
            break;
        for (size_t i = 0; i < n; i++)
            CHECK(buffer[i] == pattern_at(total + i));
        total += n;
        if (n < size && total < N_BULK)
            CHECK(!stream_pending(end.stream));
    }
    CHECK_INT(r, STREAM_E_END);
    CHECK_INT(total, N_BULK);
    tls_end_deinit(&end);
}

TEST(stream_tls, bulk_with_odd_buffers)
{
    check_odd_buffers(false);
    check_odd_buffers(true);
}

/* What was fetched but not read goes along to the next loop. */
TEST(stream_tls, export_takes_buffered_bytes_along)
{
    struct tls_end end;
    struct connection *connection;
    char buffer[64];
    size_t n;
    tls_end_init(&end, TLS1_3_VERSION, serve_echo);
    write_all(&end, "one record", 10);
    CHECK_INT(read_some(&end, buffer, 3, &n), 0);
    CHECK_INT(n, 3);
    CHECK(stream_pending(end.stream));
    CHECK_INT(stream_export(&end.stream, &connection), 0);
    CHECK(!end.stream);
    CHECK_INT(stream_import(&end.stream, &connection, end.loop, on_ready, &end), 0);
    wait_for(&end, STREAM_READABLE); /* nothing is readable, but it comes */
    CHECK_INT(stream_read(end.stream, buffer, sizeof(buffer), &n), 0);
    CHECK_INT(n, 7);
    CHECK(memcmp(buffer, " record", 7) == 0);
    CHECK_INT(stream_finish(end.stream), 0);
    CHECK_INT(read_some(&end, buffer, sizeof(buffer), &n), 0);
    tls_end_deinit(&end);
}
