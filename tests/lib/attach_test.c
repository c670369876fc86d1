/* Descriptors that come with answers: whose they are, and that none is left open. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>

#include "fake.h"
#include "lib/connection.h"
#include "proto/fds.h"

enum { STREAMS = 12 };

/* The daemon's ends of the streams; what is written to streams[i] is read from the descriptor that
 * belongs to the i-th request. */
struct streams {
    int ours[STREAMS], theirs[STREAMS];
    const char *result; /* of each answer; NULL: as TCPAttach has it */
    bool without;       /* no descriptor is sent */
    bool backwards;     /* answer the last request first, with other answers between */
    size_t n_wanted;    /* requests to wait for */
};

static void make_streams(struct streams *streams, size_t n)
{
    memset(streams, 0, sizeof(*streams));
    streams->n_wanted = n;
    for (size_t i = 0; i < n; i++) {
        int pair[2];
        char mark = (char)('a' + i);
        CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
        CHECK_INT(write(pair[0], &mark, 1), 1);
        streams->ours[i] = pair[0];
        streams->theirs[i] = pair[1];
    }
}

/* Are all other copies of it closed? Those of the fake and of the kernel are a moment later. */
static bool is_closed(const struct streams *streams, size_t i)
{
    struct pollfd fd = {.fd = streams->ours[i], .events = POLLIN};
    char byte;
    if (poll(&fd, 1, 10000) != 1)
        return false;
    /* the reset: the mark was not read */
    ssize_t n = recv(fd.fd, &byte, 1, MSG_DONTWAIT);
    return n == 0 || (n < 0 && errno == ECONNRESET);
}

static bool is_open(const struct streams *streams, size_t i)
{
    char byte;
    return recv(streams->ours[i], &byte, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

static void drop_streams(struct streams *streams)
{
    for (size_t i = 0; i < streams->n_wanted; i++)
        close(streams->ours[i]);
}

static void answer_with(int fd, long long id, struct streams *streams, size_t i)
{
    struct fds_queue queue = {0};
    char line[256];
    int n = snprintf(line, sizeof(line), "{\"jsonrpc\":\"2.0\",\"id\":%lld,\"result\":%s}\n", id,
                     streams->result ? streams->result : "{\"fds\":1,\"direct\":false}");
    CHECK_INT(fds_reserve(&queue), 0);
    if (streams->without)
        close(streams->theirs[i]);
    else
        fds_add(&queue, 0, streams->theirs[i]);
    (void)fds_send(&queue, fd, 0, line, (size_t)n); /* the client may be gone */
    fds_deinit(&queue);
}

static void serve_streams(int fd, struct fake *fake)
{
    struct streams *streams = fake->userdata;
    FILE *in = fdopen(dup(fd), "r");
    long long ids[STREAMS];
    char *line = NULL;
    size_t n = 0, asked = 0;
    while (asked < streams->n_wanted && fake_line(in, &line, &n)) {
        if (!strstr(line, "attach") && !strstr(line, "TCPAttach")) {
            fake_answer(fd, fake_id(line), "{\"sockets\":[]}");
            continue;
        }
        ids[asked] = fake_id(line);
        if (!streams->backwards)
            answer_with(fd, ids[asked], streams, asked);
        asked++;
    }
    for (size_t i = streams->backwards ? asked : 0; i-- > 0;)
        answer_with(fd, ids[i], streams, i);
    while (fake_line(in, &line, &n)) /* until the client closes */
        fake_answer(fd, fake_id(line), "{\"sockets\":[]}");
    free(line);
    fclose(in);
}

static void check_stream(int fd, char mark)
{
    char byte = 0;
    CHECK(fd >= 0);
    CHECK(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    CHECK_INT(read(fd, &byte, 1), 1);
    CHECK_INT(byte, mark);
}

TEST(attach, the_descriptor_is_the_callers)
{
    struct fake fake;
    struct streams streams;
    bool direct = true;
    int fd = -1;
    make_streams(&streams, 1);
    fake_start(&fake, serve_streams, &streams);
    struct tcpb *broker = fake_open(&fake);
    CHECK_INT(tcpb_attach(broker, 7, &fd, &direct, NULL), 0);
    CHECK(!direct);
    check_stream(fd, 'a');
    tcpb_close(broker);
    fake_stop(&fake);
    CHECK(is_open(&streams, 0)); /* it outlives the connection */
    close(fd);
    CHECK(is_closed(&streams, 0));
    drop_streams(&streams);
}

TEST(attach, connect_attach)
{
    struct fake fake;
    struct streams streams;
    struct tcpb_tcp_connect_params params = {.hostname = "h", .port = "1"};
    const struct tcpb_tcp_connect_result *result;
    struct tcpb_reply *reply = NULL;
    int fd = -1;
    make_streams(&streams, 2);
    streams.result = "{\"remote_address\":\"::1\",\"remote_port\":1,\"local_address\":\"::1\","
                     "\"local_port\":2,\"timing_us\":{\"resolve\":0,\"connect\":1,\"handshake\":0,"
                     "\"total\":2},\"fds\":1,\"direct\":true}";
    fake_start(&fake, serve_streams, &streams);
    struct tcpb *broker = fake_open(&fake);
    CHECK_INT(tcpb_connect_attach(broker, &params, &fd, &reply, &result, NULL), 0);
    CHECK(!result->has_socket && result->has_direct && result->direct);
    CHECK(strcmp(result->remote_address, "::1") == 0);
    CHECK_INT(tcpb_reply_take_fd(reply), -1);
    tcpb_reply_free(reply);
    check_stream(fd, 'a');
    close(fd);
    CHECK_INT(tcpb_connect_attach(broker, &params, &fd, NULL, NULL, NULL), 0);
    check_stream(fd, 'b');
    close(fd);
    CHECK_INT(tcpb_connect_attach(broker, &params, NULL, NULL, NULL, NULL), TCPB_LOCAL_ARGUMENT);
    CHECK_INT(tcpb_connect_attach(broker, &params, &fd, NULL, &result, NULL), TCPB_LOCAL_ARGUMENT);
    CHECK_INT(tcpb_attach(broker, 7, NULL, NULL, NULL), TCPB_LOCAL_ARGUMENT);
    tcpb_close(broker);
    fake_stop(&fake);
    CHECK(is_closed(&streams, 0) && is_closed(&streams, 1));
    drop_streams(&streams);
}

TEST(attach, a_reply_closes_what_nobody_takes)
{
    struct fake fake;
    struct streams streams;
    struct tcpb_tcp_attach_params params = {.socket = 7};
    struct tcpb_reply *reply = NULL;
    make_streams(&streams, 4);
    fake_start(&fake, serve_streams, &streams);
    struct tcpb *broker = fake_open(&fake);
    CHECK_INT(tcpb_tcp_attach(broker, &params, &reply, NULL, NULL), 0);
    CHECK(is_open(&streams, 0));
    tcpb_reply_free(reply);
    CHECK(is_closed(&streams, 0));
    CHECK_INT(tcpb_tcp_attach(broker, &params, NULL, NULL, NULL), 0);
    CHECK(is_closed(&streams, 1));
    CHECK_INT(tcpb_call(broker, "TCPAttach", "[7]", NULL, NULL), 0);
    CHECK(is_closed(&streams, 2));
    CHECK_INT(tcpb_exchange(broker, "TCPAttach", "[7]", &reply, NULL), 0);
    int fd = tcpb_reply_take_fd(reply);
    CHECK_INT(tcpb_reply_take_fd(reply), -1);
    tcpb_reply_free(reply);
    check_stream(fd, 'd');
    close(fd);
    tcpb_close(broker);
    fake_stop(&fake);
    drop_streams(&streams);
}

TEST(attach, an_answer_without_a_descriptor)
{
    struct fake fake;
    struct streams streams;
    struct tcpb_error error;
    int fd = -1;
    make_streams(&streams, 1);
    streams.without = true;
    fake_start(&fake, serve_streams, &streams);
    struct tcpb *broker = fake_open(&fake);
    CHECK_INT(tcpb_attach(broker, 7, &fd, NULL, &error), TCPB_LOCAL_PROTOCOL);
    CHECK_INT(fd, -1);
    CHECK_INT(tcpb_call(broker, "Broker.List", NULL, NULL, NULL), 0);
    tcpb_close(broker);
    fake_stop(&fake);
    drop_streams(&streams);
}

struct taken {
    int fds[STREAMS];
    size_t n, n_kept;
};

static void on_attached(struct tcpb *broker, int64_t id, struct tcpb_reply *reply,
                        const struct tcpb_error *error, void *userdata)
{
    struct taken *taken = userdata;
    (void)broker;
    (void)id;
    CHECK(reply != NULL && error == NULL);
    bool keep = taken->n < taken->n_kept;
    taken->fds[taken->n++] = keep ? tcpb_reply_take_fd(reply) : -1;
}

/* By the event loop, answered in another order than asked: each answer has its own. What the
 * callback does not take is closed. */
TEST(attach, order_in_the_event_loop)
{
    enum { N = 10, KEPT = 7 };
    struct fake fake;
    struct streams streams;
    struct taken taken = {.n_kept = KEPT};
    make_streams(&streams, N);
    streams.backwards = true;
    fake_start(&fake, serve_streams, &streams);
    struct tcpb *broker = fake_open(&fake);
    struct pollfd fd = {.fd = tcpb_get_fd(broker), .events = POLLIN};
    for (size_t i = 0; i < N; i++)
        CHECK_INT(tcpb_submit(broker, "TCPAttach", "[7]", on_attached, &taken, NULL, NULL), 0);
    while (taken.n < N) {
        CHECK_INT(poll(&fd, 1, 20000), 1);
        CHECK_INT(tcpb_process(broker, NULL), 0);
    }
    for (size_t i = 0; i < N; i++) {
        if (i < KEPT) {
            check_stream(taken.fds[i], (char)('a' + N - 1 - i));
            close(taken.fds[i]);
        }
        CHECK(is_closed(&streams, N - 1 - i));
    }
    tcpb_close(broker);
    fake_stop(&fake);
    drop_streams(&streams);
}

static void on_closed(struct tcpb *broker, int64_t id, struct tcpb_reply *reply,
                      const struct tcpb_error *error, void *userdata)
{
    (void)broker;
    (void)id;
    (void)reply;
    (void)error;
    ++*(int *)userdata;
}

/* Answered, but the callback was never called by tcpb_process(); and not even read. */
TEST(attach, nothing_is_left_open_by_close)
{
    struct fake fake;
    struct streams streams;
    int n = 0;
    make_streams(&streams, 6);
    fake_start(&fake, serve_streams, &streams);
    struct tcpb *broker = fake_open(&fake);
    for (size_t i = 0; i < 6; i++) {
        CHECK_INT(tcpb_submit(broker, "TCPAttach", "[7]", on_closed, &n, NULL, NULL), 0);
        if (i == 2) /* reads the answers before it, too */
            CHECK_INT(tcpb_call(broker, "Broker.List", NULL, NULL, NULL), 0);
    }
    tcpb_close(broker);
    fake_stop(&fake);
    CHECK_INT(n, 6);
    for (size_t i = 0; i < 6; i++)
        CHECK(is_closed(&streams, i));
    drop_streams(&streams);
}

/* No descriptor is free: that one is lost, and told; the next ones are what they should be. */
TEST(attach, no_descriptors_left)
{
    struct fake fake;
    struct streams streams;
    struct rlimit limit, low;
    struct tcpb_error error;
    int fd = -1;
    make_streams(&streams, 2);
    for (size_t i = 0; i < 2; i++) { /* where closing them leaves no gap below the limit */
        int high = fcntl(streams.theirs[i], F_DUPFD_CLOEXEC, 500);
        CHECK(high >= 0);
        close(streams.theirs[i]);
        streams.theirs[i] = high;
    }
    fake_start(&fake, serve_streams, &streams);
    struct tcpb *broker = fake_open(&fake);
    CHECK_INT(tcpb_call(broker, "Broker.List", NULL, NULL, NULL), 0); /* the fake has its own now */
    CHECK_INT(getrlimit(RLIMIT_NOFILE, &limit), 0);
    low = limit;
    int lowest = dup(broker->fd);
    low.rlim_cur = (rlim_t)lowest + 1;
    CHECK_INT(setrlimit(RLIMIT_NOFILE, &low), 0);
    CHECK_INT(tcpb_attach(broker, 7, &fd, NULL, &error), TCPB_LOCAL_SYSTEM);
    CHECK_INT(error.sys_errno, EMFILE);
    CHECK(strstr(error.message, "ulimit") != NULL);
    CHECK_INT(setrlimit(RLIMIT_NOFILE, &limit), 0);
    CHECK(is_closed(&streams, 0));
    CHECK_INT(tcpb_attach(broker, 7, &fd, NULL, &error), 0);
    check_stream(fd, 'b');
    close(fd);
    close(lowest);
    tcpb_close(broker);
    fake_stop(&fake);
    drop_streams(&streams);
}
