#include "net/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "net_fixture.h"
#include "support/test.h"

struct end {
    struct stream *stream;
    bool ready;
    unsigned what;
    int n_calls;
    bool free_inside;
};

static void on_ready(void *context, unsigned what)
{
    struct end *end = context;
    end->ready = true;
    end->what = what;
    end->n_calls++;
    if (end->free_inside)
        end->stream = stream_free(end->stream, true);
}

static void import(struct end *end, struct loop *loop, int fd)
{
    struct connection *connection = fixture_connection(fd);
    *end = (struct end){0};
    CHECK_INT(stream_import(&end->stream, &connection, loop, on_ready, end), 0);
    CHECK(!connection);
}

TEST(stream, read_write_end)
{
    struct loop *loop = fixture_loop();
    struct end end;
    int a, b;
    size_t n;
    char buffer[64];
    fixture_pair(&a, &b);
    import(&end, loop, a);
    CHECK(address_port(stream_local(end.stream)) && address_port(stream_remote(end.stream)));
    CHECK(!stream_tls(end.stream));
    CHECK_INT(stream_read(end.stream, buffer, sizeof(buffer), &n), STREAM_E_AGAIN);
    CHECK(!stream_pending(end.stream));
    CHECK_INT(stream_interest(end.stream, STREAM_READABLE), 0);
    CHECK_INT(send(b, "hello", 5, 0), 5);
    fixture_pump(loop, &end.ready);
    CHECK_INT(end.what, STREAM_READABLE);
    CHECK_INT(stream_read(end.stream, buffer, 3, &n), 0);
    CHECK_INT(n, 3);
    end.ready = false; /* level-triggered: two bytes are left */
    fixture_pump(loop, &end.ready);
    CHECK_INT(stream_read(end.stream, buffer, sizeof(buffer), &n), 0);
    CHECK_INT(n, 2);
    CHECK_INT(stream_write(end.stream, "back", 4, &n), 0);
    CHECK_INT(n, 4);
    CHECK_INT(recv(b, buffer, sizeof(buffer), 0), 4);
    /* half close both ways */
    CHECK_INT(stream_shutdown(end.stream), 0);
    CHECK_INT(recv(b, buffer, sizeof(buffer), 0), 0);
    CHECK_INT(send(b, "late", 4, 0), 4);
    close(b);
    end.ready = false;
    fixture_pump(loop, &end.ready);
    CHECK_INT(stream_read(end.stream, buffer, sizeof(buffer), &n), 0);
    CHECK_INT(n, 4);
    CHECK_INT(stream_read(end.stream, buffer, sizeof(buffer), &n), STREAM_E_END);
    CHECK_INT(stream_read(end.stream, buffer, sizeof(buffer), &n), STREAM_E_END);
    stream_free(end.stream, true);
    fixture_loop_free(loop);
}

TEST(stream, reset_is_told_and_remembered)
{
    struct loop *loop = fixture_loop();
    struct end end, other;
    int a, b;
    size_t n;
    char buffer[8];
    fixture_pair(&a, &b);
    CHECK_INT(fcntl(b, F_SETFL, O_NONBLOCK), 0);
    import(&end, loop, a);
    import(&other, loop, b);
    CHECK_INT(stream_interest(end.stream, STREAM_READABLE), 0);
    other.stream = stream_abort(other.stream);
    fixture_pump(loop, &end.ready);
    CHECK_INT(stream_read(end.stream, buffer, sizeof(buffer), &n), STREAM_E_FAILED);
    CHECK_INT(stream_error(end.stream)->cause, NET_SYSTEM);
    CHECK_INT(stream_error(end.stream)->stage, NET_STAGE_IO);
    CHECK_INT(stream_error(end.stream)->sys_errno, ECONNRESET);
    CHECK_INT(stream_write(end.stream, "x", 1, &n), STREAM_E_FAILED);
    CHECK_INT(stream_shutdown(end.stream), STREAM_E_FAILED);
    CHECK_INT(stream_error(end.stream)->sys_errno, ECONNRESET);
    stream_free(end.stream, true);
    fixture_loop_free(loop);
}

/* The reset reaches who only waits for room to write, too. */
TEST(stream, reset_while_waiting_to_write)
{
    struct loop *loop = fixture_loop();
    struct end end;
    int a, b, r;
    size_t n;
    static const char block[65536];
    const struct linger reset = {.l_onoff = 1};
    fixture_pair(&a, &b);
    import(&end, loop, a);
    while ((r = stream_write(end.stream, block, sizeof(block), &n)) == 0)
        ;
    CHECK_INT(r, STREAM_E_AGAIN);
    CHECK_INT(n, 0);
    CHECK_INT(stream_interest(end.stream, STREAM_WRITABLE), 0);
    fixture_spin(loop);
    CHECK_INT(end.n_calls, 0);
    CHECK_INT(setsockopt(b, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)), 0);
    close(b);
    fixture_pump(loop, &end.ready);
    CHECK_INT(end.what, STREAM_WRITABLE);
    CHECK_INT(stream_write(end.stream, block, 1, &n), STREAM_E_FAILED);
    stream_free(end.stream, false);
    fixture_loop_free(loop);
}

TEST(stream, nothing_after_free_or_without_interest)
{
    struct loop *loop = fixture_loop();
    struct end first, second;
    int a, b, c, d;
    fixture_pair(&a, &b);
    fixture_pair(&c, &d);
    import(&first, loop, a);
    import(&second, loop, c);
    CHECK_INT(stream_interest(first.stream, STREAM_READABLE), 0);
    CHECK_INT(stream_interest(second.stream, STREAM_READABLE | STREAM_WRITABLE), 0);
    CHECK_INT(stream_interest(second.stream, 0), 0);
    CHECK_INT(send(b, "x", 1, 0), 1);
    CHECK_INT(send(d, "x", 1, 0), 1);
    first.free_inside = true;
    fixture_pump(loop, &first.ready);
    for (int i = 0; i < 5; i++)
        fixture_spin(loop);
    CHECK_INT(first.n_calls, 1);
    CHECK_INT(second.n_calls, 0);
    stream_free(second.stream, false);
    fixture_spin(loop);
    CHECK_INT(second.n_calls, 0);
    close(b);
    close(d);
    fixture_loop_free(loop);
}

/* A new socket gets the number of one that was closed in the same iteration. */
TEST(stream, descriptor_numbers_come_again)
{
    struct loop *loop = fixture_loop();
    struct end end;
    for (int i = 0; i < 200; i++) {
        int a, b;
        char byte;
        size_t n;
        fixture_pair(&a, &b);
        import(&end, loop, a);
        CHECK_INT(stream_interest(end.stream, STREAM_READABLE), 0);
        CHECK_INT(send(b, "x", 1, 0), 1);
        fixture_pump(loop, &end.ready);
        CHECK_INT(stream_read(end.stream, &byte, 1, &n), 0);
        stream_free(end.stream, true);
        close(b);
    }
    fixture_loop_free(loop);
}

/* ---- from loop to loop with data on its way ---- */

enum { N_BYTES = 3 * 1024 * 1024, N_MOVES = 50 };

struct traveller {
    struct loop *loops[2];
    int at;
    struct stream *stream;
    struct connection *connection;
    struct mail mail;
    size_t n_read;
    int n_moves;
    bool wrong;
    struct loop *home;
    struct mail arrived;
    bool done;
};

static void land(struct mail *mail);

static void on_travel_ready(void *context, unsigned what)
{
    struct traveller *traveller = context;
    unsigned char buffer[4096];
    size_t n;
    (void)what;
    int r = stream_read(traveller->stream, buffer, sizeof(buffer), &n);
    if (r == STREAM_E_AGAIN)
        return;
    if (r) {
        MUST(r == STREAM_E_END);
        traveller->stream = stream_free(traveller->stream, true);
        loop_post(traveller->home, &traveller->arrived);
        return;
    }
    for (size_t i = 0; i < n; i++)
        traveller->wrong |= buffer[i] != (unsigned char)((traveller->n_read + i) % 251);
    traveller->n_read += n;
    if (traveller->n_read / (N_BYTES / N_MOVES) > (size_t)traveller->n_moves) {
        traveller->n_moves++;
        MUST(stream_export(&traveller->stream, &traveller->connection) == 0);
        traveller->at = !traveller->at;
        loop_post(traveller->loops[traveller->at], &traveller->mail);
    }
}

static void land(struct mail *mail)
{
    struct traveller *traveller = container_of(mail, struct traveller, mail);
    MUST(stream_import(&traveller->stream, &traveller->connection, traveller->loops[traveller->at],
                       on_travel_ready, traveller) == 0);
    MUST(stream_interest(traveller->stream, STREAM_READABLE) == 0);
}

static void on_arrived(struct mail *mail)
{
    container_of(mail, struct traveller, arrived)->done = true;
}

static void *write_pattern(void *argument)
{
    const int *fd = argument;
    static unsigned char pattern[N_BYTES];
    for (size_t i = 0; i < N_BYTES; i++)
        pattern[i] = (unsigned char)(i % 251);
    for (size_t n = 0; n < N_BYTES;) {
        ssize_t put = send(*fd, pattern + n, N_BYTES - n, MSG_NOSIGNAL);
        MUST(put > 0);
        n += (size_t)put;
    }
    close(*fd);
    return NULL;
}

TEST(stream, moves_between_loops)
{
    struct traveller traveller = {.home = fixture_loop()};
    pthread_t writer;
    int a, b;
    fixture_pair(&a, &b);
    for (int i = 0; i < 2; i++) {
        CHECK_INT(loop_new(&traveller.loops[i], "traveller", 0), 0);
        CHECK_INT(loop_start(traveller.loops[i]), 0);
    }
    traveller.connection = fixture_connection(a);
    traveller.mail.deliver = land;
    traveller.arrived.deliver = on_arrived;
    MUST(pthread_create(&writer, NULL, write_pattern, &b) == 0);
    loop_post(traveller.loops[0], &traveller.mail);
    fixture_pump(traveller.home, &traveller.done);
    pthread_join(writer, NULL);
    CHECK_INT(traveller.n_read, N_BYTES);
    CHECK(!traveller.wrong);
    CHECK(traveller.n_moves >= N_MOVES - 1);
    for (int i = 0; i < 2; i++) {
        loop_stop(traveller.loops[i]);
        loop_join(traveller.loops[i]);
        loop_free(traveller.loops[i]);
    }
    fixture_loop_free(traveller.home);
}
