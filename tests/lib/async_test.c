/* Submitted requests, alone and mixed with blocking calls. */
#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>

#include "fake.h"

static void serve_plain(int fd, struct fake *fake)
{
    FILE *in = fdopen(dup(fd), "r");
    char *line = NULL;
    size_t n = 0;
    (void)fake;
    while (fake_line(in, &line, &n))
        fake_answer(fd, fake_id(line), "{\"sockets\":[]}");
    free(line);
    fclose(in);
}

struct count {
    int done, failed;
    int32_t code;
    int64_t last_id;
};

static void on_done(struct tcpb *broker, int64_t id, struct tcpb_reply *reply,
                    const struct tcpb_error *error, void *userdata)
{
    struct count *count = userdata;
    (void)broker;
    count->last_id = id;
    if (reply && tcpb_reply_result(reply)) {
        count->done++;
    } else if (error) {
        count->failed++;
        count->code = error->code;
    }
}

static void loop_until(struct tcpb *broker, struct count *count, int wanted)
{
    struct pollfd fd = {.fd = tcpb_get_fd(broker), .events = (short)tcpb_get_events(broker)};
    CHECK(fd.fd >= 0 && (fcntl(fd.fd, F_GETFD) & FD_CLOEXEC));
    while (count->done + count->failed < wanted) {
        CHECK_INT(poll(&fd, 1, 20000), 1);
        if (tcpb_process(broker, NULL))
            break;
    }
}

TEST(async, callbacks_come_from_process)
{
    struct fake fake;
    struct count count = {0};
    int64_t id = 0;
    fake_start(&fake, serve_plain, NULL);
    struct tcpb *broker = fake_open(&fake);
    for (int i = 0; i < 100; i++)
        CHECK_INT(tcpb_submit(broker, "Broker.List", NULL, on_done, &count, &id, NULL), 0);
    CHECK_INT(count.done, 0);
    loop_until(broker, &count, 100);
    CHECK_INT(count.done, 100);
    CHECK_INT(count.last_id, id);
    tcpb_close(broker);
    fake_stop(&fake);
}

/* The blocking call reads the submitted ones' answers; the descriptor must tell. */
TEST(async, answers_read_by_a_blocking_call)
{
    struct fake fake;
    struct count count = {0};
    fake_start(&fake, serve_plain, NULL);
    struct tcpb *broker = fake_open(&fake);
    struct pollfd fd = {.fd = tcpb_get_fd(broker), .events = POLLIN};
    CHECK_INT(poll(&fd, 1, 0), 0);
    CHECK_INT(tcpb_submit(broker, "Broker.List", NULL, on_done, &count, NULL, NULL), 0);
    CHECK_INT(tcpb_call(broker, "Broker.List", NULL, NULL, NULL), 0);
    CHECK_INT(count.done, 0);
    CHECK_INT(poll(&fd, 1, 0), 1);
    CHECK_INT(tcpb_process(broker, NULL), 0);
    CHECK_INT(count.done, 1);
    CHECK_INT(poll(&fd, 1, 0), 0);
    tcpb_close(broker);
    fake_stop(&fake);
}

static void serve_nothing(int fd, struct fake *fake)
{
    char byte;
    (void)fake;
    while (read(fd, &byte, 1) > 0) {
    }
}

TEST(async, close_completes_what_runs)
{
    struct fake fake;
    struct count count = {0};
    fake_start(&fake, serve_nothing, NULL);
    struct tcpb *broker = fake_open(&fake);
    CHECK_INT(tcpb_submit(broker, "Broker.List", NULL, on_done, &count, NULL, NULL), 0);
    CHECK_INT(tcpb_submit(broker, "Broker.List", NULL, on_done, &count, NULL, NULL), 0);
    tcpb_close(broker);
    CHECK_INT(count.failed, 2);
    CHECK_INT(count.code, TCPB_LOCAL_CLOSED);
    fake_stop(&fake);
}

static void serve_close(int fd, struct fake *fake)
{
    char byte;
    (void)fake;
    CHECK_INT(read(fd, &byte, 1), 1);
}

TEST(async, a_lost_connection_is_told)
{
    struct fake fake;
    struct count count = {0};
    fake_start(&fake, serve_close, NULL);
    struct tcpb *broker = fake_open(&fake);
    CHECK_INT(tcpb_submit(broker, "Broker.List", NULL, on_done, &count, NULL, NULL), 0);
    loop_until(broker, &count, 1);
    CHECK_INT(count.failed, 1);
    CHECK_INT(count.code, TCPB_LOCAL_LOST);
    CHECK_INT(tcpb_process(broker, NULL), TCPB_LOCAL_LOST);
    CHECK_INT(tcpb_submit(broker, "Broker.List", NULL, on_done, &count, NULL, NULL),
              TCPB_LOCAL_LOST);
    tcpb_close(broker);
    CHECK_INT(count.failed, 1);
    fake_stop(&fake);
}

/* Answers everything at length before it reads on, so both directions fill up. */
static char padding[200000];

static void serve_stubborn(int fd, struct fake *fake)
{
    int small = 4096;
    FILE *in = fdopen(dup(fd), "r");
    char *line = NULL;
    size_t n = 0;
    (void)fake;
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
    while (fake_line(in, &line, &n))
        fake_answer(fd, fake_id(line), padding);
    free(line);
    fclose(in);
}

static void on_any(struct tcpb *broker, int64_t id, struct tcpb_reply *reply,
                   const struct tcpb_error *error, void *userdata)
{
    int *done = userdata;
    (void)broker;
    (void)id;
    (void)error;
    *done += reply != NULL;
}

TEST(async, full_buffers_both_ways)
{
    struct fake fake;
    int done = 0;
    static char params[100100];
    memset(padding, 'x', sizeof(padding) - 1);
    padding[0] = padding[sizeof(padding) - 2] = '"';
    strcpy(params, "{\"socket\":1,\"data\":\"");
    memset(params + strlen(params), 'y', 100000);
    strcpy(params + strlen("{\"socket\":1,\"data\":\"") + 100000, "\"}");
    fake_start(&fake, serve_stubborn, NULL);
    struct tcpb *broker = fake_open(&fake);
    for (int i = 0; i < 40; i++)
        CHECK_INT(tcpb_submit(broker, "TCPSend", params, on_any, &done, NULL, NULL), 0);
    struct pollfd fd = {.fd = tcpb_get_fd(broker), .events = POLLIN};
    while (done < 20) {
        CHECK_INT(poll(&fd, 1, 20000), 1);
        CHECK_INT(tcpb_process(broker, NULL), 0);
    }
    CHECK_INT(tcpb_call(broker, "TCPSend", params, NULL, NULL),
              0); /* waits for what is queued before it */
    CHECK_INT(tcpb_process(broker, NULL), 0);
    CHECK_INT(done, 40);
    tcpb_close(broker);
    fake_stop(&fake);
}

/* Refuses a line for its length, as a daemon does that could not read its id, then answers the
 * other two. */
static void serve_refusal(int fd, struct fake *fake)
{
    static const char refusal[] =
        "{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":-32600,\"message\":\"too long\"}}\n";
    FILE *in = fdopen(dup(fd), "r");
    char *line = NULL;
    size_t n = 0;
    long long ids[3];
    (void)fake;
    for (int i = 0; i < 3; i++) {
        CHECK(fake_line(in, &line, &n));
        ids[i] = fake_id(line);
    }
    CHECK(fake_write(fd, refusal, sizeof(refusal) - 1));
    fake_answer(fd, ids[0], "{\"sockets\":[]}");
    fake_answer(fd, ids[2], "{\"sockets\":[]}");
    while (fake_line(in, &line, &n)) {
    }
    free(line);
    fclose(in);
}

TEST(async, a_refusal_without_id_is_that_of_the_longest)
{
    struct fake fake;
    struct count first = {0}, second = {0}, third = {0};
    fake_start(&fake, serve_refusal, NULL);
    struct tcpb *broker = fake_open(&fake);
    CHECK_INT(tcpb_submit(broker, "Broker.List", NULL, on_done, &first, NULL, NULL), 0);
    CHECK_INT(tcpb_submit(broker, "Broker.List", "{\"long\":\"1234567890\"}", on_done, &second,
                          NULL, NULL),
              0);
    CHECK_INT(tcpb_submit(broker, "Broker.List", NULL, on_done, &third, NULL, NULL), 0);
    loop_until(broker, &third, 1);
    CHECK_INT(first.done, 1);
    CHECK_INT(second.failed, 1);
    CHECK_INT(second.code, TCPB_E_INVALID_REQUEST);
    CHECK_INT(third.done, 1);
    tcpb_close(broker);
    fake_stop(&fake);
}

static atomic_bool stop;

static void *process_all_the_time(void *userdata)
{
    while (!atomic_load(&stop))
        (void)tcpb_process(userdata, NULL);
    return NULL;
}

/* A loop that reads under the noses of blocking calls: none may miss its answer. */
TEST(async, process_beside_blocking_calls)
{
    struct fake fake;
    pthread_t thread;
    fake_start(&fake, serve_plain, NULL);
    struct tcpb *broker = fake_open(&fake);
    atomic_store(&stop, false);
    CHECK_INT(pthread_create(&thread, NULL, process_all_the_time, broker), 0);
    for (int i = 0; i < 2000; i++)
        CHECK_INT(tcpb_call(broker, "Broker.List", NULL, NULL, NULL), 0);
    atomic_store(&stop, true);
    pthread_join(thread, NULL);
    tcpb_close(broker);
    fake_stop(&fake);
}
