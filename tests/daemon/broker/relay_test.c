/* relay: every order of ends, back pressure in either direction, and who is told what. The loop
 * runs on the test's thread; the peer and the local side are blocking sockets of the test's own.
 * TLS is in tests/integration/attach_test.py. */
#include "broker/relay.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "support/test.h"

enum { SCRATCH = 4096, CLOSE_MS = 100 };

struct bench {
    struct socket_room room;
    struct stream *stream;
    struct relay *relay;
    int local, peer; /* the test's ends */
    uint64_t n_in, n_out;
    int n_ends;
    enum relay_end end;
};

static void on_end(void *context, enum relay_end end)
{
    struct bench *bench = context;
    bench->n_ends++;
    bench->end = end;
    bench->relay = relay_free(bench->relay);
}

static void on_ready(void *context, unsigned ready)
{
    struct bench *bench = context;
    if (bench->relay)
        relay_on_ready(bench->relay, ready);
}

static struct connection *make_connection(int *ret_peer)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof(address);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct connection *connection = calloc(1, sizeof(*connection));
    CHECK(connection && listener >= 0);
    CHECK_INT(bind(listener, (struct sockaddr *)&address, n), 0);
    CHECK_INT(listen(listener, 1), 0);
    CHECK_INT(getsockname(listener, (struct sockaddr *)&address, &n), 0);
    connection->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK_INT(connect(connection->fd, (struct sockaddr *)&address, n), 0);
    CHECK_INT(fcntl(connection->fd, F_SETFL, O_NONBLOCK), 0);
    *ret_peer = accept(listener, NULL, NULL);
    CHECK(*ret_peer >= 0);
    close(listener);
    return connection;
}

static void set_up(struct bench *bench, const struct relay_setup *more)
{
    int pair[2];
    memset(bench, 0, sizeof(*bench));
    CHECK_INT(loop_new(&bench->room.loop, "test", 0), 0);
    bench->room.scratch = malloc(SCRATCH);
    bench->room.n_scratch = SCRATCH;
    bench->room.close_timeout_ms = CLOSE_MS;
    struct connection *connection = make_connection(&bench->peer);
    CHECK_INT(stream_import(&bench->stream, &connection, bench->room.loop, on_ready, bench), 0);
    CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    CHECK_INT(fcntl(pair[0], F_SETFL, O_NONBLOCK), 0);
    bench->local = pair[1];
    struct relay_setup setup = *more;
    setup.room = &bench->room;
    setup.stream = bench->stream;
    setup.local = pair[0];
    setup.n_in = &bench->n_in;
    setup.n_out = &bench->n_out;
    setup.on_end = on_end;
    setup.context = bench;
    CHECK_INT(relay_new(&bench->relay, &setup), 0);
    CHECK_INT(bench->n_ends, 0);
}

static void tear_down(struct bench *bench)
{
    bench->relay = relay_free(bench->relay);
    stream_free(bench->stream, false);
    if (bench->local >= 0)
        close(bench->local);
    if (bench->peer >= 0)
        close(bench->peer);
    loop_free(bench->room.loop);
    free(bench->room.scratch);
}

static void spin(struct bench *bench)
{
    (void)uv_run(&bench->room.loop->uv, UV_RUN_NOWAIT);
}

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Run the loop until there is something to read; what recv() says. */
static ssize_t hear(struct bench *bench, int fd, void *data, size_t n)
{
    ssize_t got;
    for (int64_t end = now_ms() + 10000; now_ms() < end;) {
        spin(bench);
        got = recv(fd, data, n, MSG_DONTWAIT);
        if (got >= 0 || (errno != EAGAIN && errno != EWOULDBLOCK))
            return got;
    }
    errno = ETIMEDOUT;
    return -1;
}

static void check_heard(struct bench *bench, int fd, const char *text)
{
    char data[256];
    size_t n = 0;
    while (n < strlen(text)) {
        ssize_t got = hear(bench, fd, data + n, sizeof(data) - n);
        CHECK(got > 0);
        n += (size_t)got;
    }
    CHECK_INT(n, strlen(text));
    CHECK_INT(memcmp(data, text, n), 0);
}

static void check_end_of_file(struct bench *bench, int fd)
{
    char byte;
    CHECK_INT(hear(bench, fd, &byte, 1), 0);
}

static void say(int fd, const char *text)
{
    CHECK_INT(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static void wait_end(struct bench *bench, enum relay_end wanted)
{
    for (int64_t end = now_ms() + 10000; !bench->n_ends && now_ms() < end;)
        spin(bench);
    CHECK_INT(bench->n_ends, 1);
    CHECK_INT(bench->end, wanted);
}

/* It does not end, and passes nothing, for a while. */
static void check_quiet(struct bench *bench)
{
    for (int i = 0; i < 50; i++)
        spin(bench);
    CHECK_INT(bench->n_ends, 0);
}

TEST(relay, both_ways)
{
    struct bench bench;
    set_up(&bench, &(struct relay_setup){.first = "ahead ", .n_first = 6});
    say(bench.peer, "down");
    say(bench.local, "up");
    check_heard(&bench, bench.local, "ahead down");
    check_heard(&bench, bench.peer, "up");
    CHECK_INT(bench.n_in, 4); /* what was read before is counted already */
    CHECK_INT(bench.n_out, 2);
    check_quiet(&bench);
    tear_down(&bench);
    CHECK_INT(bench.n_ends, 0); /* freeing is not an end */
}

TEST(relay, the_local_side_ends_first)
{
    struct bench bench;
    set_up(&bench, &(struct relay_setup){.room = NULL});
    say(bench.local, "request");
    CHECK_INT(shutdown(bench.local, SHUT_WR), 0);
    check_heard(&bench, bench.peer, "request");
    check_end_of_file(&bench, bench.peer);
    check_quiet(&bench);
    say(bench.peer, "answer");
    check_heard(&bench, bench.local, "answer");
    CHECK_INT(shutdown(bench.peer, SHUT_WR), 0);
    wait_end(&bench, RELAY_DONE);
    check_end_of_file(&bench, bench.local);
    tear_down(&bench);
}

TEST(relay, the_peer_ends_first)
{
    struct bench bench;
    set_up(&bench, &(struct relay_setup){.room = NULL});
    say(bench.peer, "all");
    CHECK_INT(shutdown(bench.peer, SHUT_WR), 0);
    check_heard(&bench, bench.local, "all");
    check_end_of_file(&bench, bench.local);
    check_quiet(&bench);
    say(bench.local, "answer");
    check_heard(&bench, bench.peer, "answer");
    CHECK_INT(shutdown(bench.local, SHUT_WR), 0);
    wait_end(&bench, RELAY_DONE);
    check_end_of_file(&bench, bench.peer);
    tear_down(&bench);
}

/* What had ended before the relay began. */
TEST(relay, ends_from_before)
{
    struct bench bench;
    set_up(&bench, &(struct relay_setup){.first = "rest", .n_first = 4, .down_ended = true});
    check_heard(&bench, bench.local, "rest");
    check_end_of_file(&bench, bench.local);
    check_quiet(&bench);
    CHECK_INT(shutdown(bench.local, SHUT_WR), 0);
    wait_end(&bench, RELAY_DONE);
    tear_down(&bench);

    set_up(&bench, &(struct relay_setup){.up_ended = true});
    CHECK_INT(send(bench.local, "x", 1, MSG_NOSIGNAL), -1);
    CHECK_INT(errno, EPIPE);
    say(bench.peer, "down");
    check_heard(&bench, bench.local, "down");
    CHECK_INT(shutdown(bench.peer, SHUT_WR), 0);
    wait_end(&bench, RELAY_DONE);
    tear_down(&bench);

    /* nothing but to be waited for: that the local side goes */
    set_up(&bench, &(struct relay_setup){.down_ended = true});
    check_end_of_file(&bench, bench.local);
    close(bench.local);
    bench.local = -1;
    wait_end(&bench, RELAY_DONE);
    tear_down(&bench);
}

TEST(relay, the_local_side_goes)
{
    struct bench bench;
    set_up(&bench, &(struct relay_setup){.room = NULL});
    say(bench.peer, "nobody reads this");
    for (int i = 0; i < 20; i++)
        spin(&bench);
    say(bench.local, "last words");
    close(bench.local);
    bench.local = -1;
    wait_end(&bench, RELAY_LOCAL_GONE);
    check_heard(&bench, bench.peer, "last words");
    CHECK_INT(bench.n_out, 10);
    tear_down(&bench);
}

/* It has ended sending before, and is noticed to be gone without anything to read or to write. */
TEST(relay, the_local_side_goes_after_its_end)
{
    struct bench bench;
    set_up(&bench, &(struct relay_setup){.room = NULL});
    CHECK_INT(shutdown(bench.local, SHUT_WR), 0);
    check_end_of_file(&bench, bench.peer);
    check_quiet(&bench);
    close(bench.local);
    bench.local = -1;
    wait_end(&bench, RELAY_LOCAL_GONE);
    tear_down(&bench);
}

/* Fill it until neither side takes any more; returns how much the local side has sent. */
static size_t fill_up(struct bench *bench)
{
    static char block[65536];
    size_t sent = 0;
    for (int64_t last = now_ms(); now_ms() < last + 50;) {
        ssize_t n = send(bench->local, block, sizeof(block), MSG_NOSIGNAL | MSG_DONTWAIT);
        spin(bench);
        if (n > 0) {
            sent += (size_t)n;
            last = now_ms();
        }
    }
    return sent;
}

TEST(relay, nothing_that_was_accepted_is_lost)
{
    static char block[65536];
    struct bench bench;
    set_up(&bench, &(struct relay_setup){.room = NULL});
    size_t sent = fill_up(&bench), heard = 0;
    CHECK(sent > 100000);
    close(bench.local);
    bench.local = -1;
    ssize_t n;
    do { /* for longer than the close_timeout, but never without progress for so long */
        n = hear(&bench, bench.peer, block, sizeof(block));
        CHECK(n > 0);
        heard += (size_t)n;
        struct timespec pause = {.tv_nsec = 5000000};
        nanosleep(&pause, NULL);
    } while (heard < sent);
    CHECK_INT(heard, sent);
    wait_end(&bench, RELAY_LOCAL_GONE);
    tear_down(&bench);
}

TEST(relay, a_peer_that_stands_still)
{
    struct bench bench;
    set_up(&bench, &(struct relay_setup){.room = NULL});
    fill_up(&bench);
    int64_t start = now_ms();
    check_quiet(&bench); /* as long as the local side is there it may take for ever */
    close(bench.local);
    bench.local = -1;
    wait_end(&bench, RELAY_STUCK);
    CHECK(now_ms() >= start + CLOSE_MS);
    tear_down(&bench);
}

static void abort_peer(struct bench *bench)
{
    const struct linger reset = {.l_onoff = 1, .l_linger = 0};
    CHECK_INT(setsockopt(bench->peer, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)), 0);
    close(bench->peer);
    bench->peer = -1;
}

TEST(relay, the_stream_fails)
{
    struct bench bench;
    set_up(&bench, &(struct relay_setup){.room = NULL});
    say(bench.peer, "before");
    check_heard(&bench, bench.local, "before");
    abort_peer(&bench);
    wait_end(&bench, RELAY_FAILED);
    CHECK_INT(stream_error(bench.stream)->sys_errno, ECONNRESET);
    check_end_of_file(&bench, bench.local);
    tear_down(&bench);
}

/* A peer that does not want to hear more says so, and resets. */
TEST(relay, the_last_word_before_a_reset)
{
    struct bench bench;
    set_up(&bench, &(struct relay_setup){.room = NULL});
    fill_up(&bench);
    say(bench.peer, "413 too much");
    abort_peer(&bench);
    check_heard(&bench, bench.local, "413 too much");
    wait_end(&bench, RELAY_FAILED);
    CHECK_INT(stream_error(bench.stream)->sys_errno, ECONNRESET);
    tear_down(&bench);
}

/* It fails while the local side has not taken all: that comes first. */
TEST(relay, the_stream_fails_with_a_rest)
{
    static char block[65536];
    struct bench bench;
    size_t sent = 0, heard = 0;
    set_up(&bench, &(struct relay_setup){.room = NULL});
    for (int64_t last = now_ms(); now_ms() < last + 50;) {
        ssize_t n = send(bench.peer, block, sizeof(block), MSG_NOSIGNAL | MSG_DONTWAIT);
        spin(&bench);
        if (n > 0) {
            sent += (size_t)n;
            last = now_ms();
        }
    }
    uint64_t read_in = bench.n_in; /* the relay has read so much, and keeps what does not fit */
    CHECK(read_in > 0 && read_in < sent);
    say(bench.local, "in vain");
    abort_peer(&bench);
    for (;;) {
        ssize_t n = hear(&bench, bench.local, block, sizeof(block));
        if (n <= 0)
            break;
        heard += (size_t)n;
    }
    wait_end(&bench, RELAY_FAILED);
    CHECK(heard >= read_in);
    CHECK_INT(heard, bench.n_in);
    tear_down(&bench);
}

/* Both directions at once, in odd pieces, through buffers that are always full. */
TEST(relay, every_byte)
{
    enum { N = 3000000 };
    struct bench bench;
    uint8_t data[10007];
    size_t sent[2] = {0}, heard[2] = {0};
    set_up(&bench, &(struct relay_setup){.room = NULL});
    int fds[2] = {bench.local, bench.peer};
    for (int64_t end = now_ms() + 20000; heard[0] < N || heard[1] < N;) {
        CHECK(now_ms() < end);
        for (size_t i = 0; i < 2; i++) {
            size_t n = 1 + sent[i] * 7919 % sizeof(data);
            if (n > N - sent[i])
                n = N - sent[i];
            for (size_t j = 0; j < n; j++)
                data[j] = (uint8_t)((sent[i] + j) * 31 % 251 + i);
            ssize_t done = send(fds[i], data, n, MSG_NOSIGNAL | MSG_DONTWAIT);
            sent[i] += done > 0 ? (size_t)done : 0;
            if (sent[i] == N && n > 0)
                CHECK_INT(shutdown(fds[i], SHUT_WR), 0);
            /* slower than it is sent to */
            done = recv(fds[1 - i], data, 1 + heard[1 - i] * 104729 % 9000, MSG_DONTWAIT);
            for (ssize_t j = 0; j < done; j++)
                CHECK(data[j] == (uint8_t)((heard[1 - i] + (size_t)j) * 31 % 251 + i));
            heard[1 - i] += done > 0 ? (size_t)done : 0;
        }
        spin(&bench);
    }
    wait_end(&bench, RELAY_DONE);
    CHECK_INT(bench.n_in, N);
    CHECK_INT(bench.n_out, N);
    tear_down(&bench);
}
