/* Answers as they should not be, and requests that should not be sent. */
#include <sys/wait.h>

#include "fake.h"

/* Reads a request, writes the text of userdata with %lld replaced by the id, then closes. */
static void serve_text(int fd, struct fake *fake)
{
    FILE *in = fdopen(dup(fd), "r");
    char *line = NULL, *text;
    size_t n = 0;
    while (fake_line(in, &line, &n)) {
        const char *format = fake->userdata, *hole = strstr(format, "%lld");
        int before = hole ? (int)(hole - format) : (int)strlen(format);
        CHECK(asprintf(&text, "%.*s%.0lld%s\n", before, format, hole ? fake_id(line) : 0,
                       hole ? hole + 4 : "") > 0);
        (void)fake_write(fd, text, strlen(text));
        free(text);
        if (!hole)
            break;
    }
    free(line);
    fclose(in);
}

static int answer_with(const char *text, struct tcpb_error *error)
{
    struct fake fake;
    struct tcpb_reply *reply = NULL;
    fake_start(&fake, serve_text, (void *)(size_t)text);
    struct tcpb *broker = fake_open(&fake);
    int r = tcpb_call(broker, "Broker.Hello", NULL, &reply, error);
    CHECK((r == 0) == (reply != NULL));
    tcpb_reply_free(reply);
    tcpb_close(broker);
    fake_stop(&fake);
    return r;
}

TEST(faults, garbage_is_a_protocol_error)
{
    static const char *const texts[] = {
        "hello",
        "{\"jsonrpc\":\"2.0\",\"id\":999,\"result\":{}}",
        "{\"jsonrpc\":\"2.0\",\"id\":\"1\",\"result\":{}}",
        "{\"jsonrpc\":\"2.0\",\"id\":null,\"result\":{}}",
        "{\"jsonrpc\":\"2.0\",\"id\":%lld,\"result\":{}",
        "{\"jsonrpc\":\"2.0\",\"id\":%lld,\"result\":{}} x",
        "{\"jsonrpc\":\"2.0\",\"id\":%lld,\"result\":{},\"id\":7}",
        "{\"jsonrpc\":\"2.0\",\"id\":%lld,\"nothing\":1}",
        "{\"jsonrpc\":\"2.0\",\"id\":%lld,\"result\":\"\xff\"}",
        "{\"id\":1}",
        "[1]",
        "{}",
    };
    struct tcpb_error error;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        int r = answer_with(texts[i], &error);
        if (r != TCPB_LOCAL_PROTOCOL)
            fprintf(stderr, "%s: %d %s\n", texts[i], r, error.message);
        CHECK_INT(r, TCPB_LOCAL_PROTOCOL);
        CHECK_STRING(error.symbol, "PROTOCOL");
        CHECK_STRING(error.stage, "client");
    }
}

TEST(faults, errors_of_the_daemon)
{
    struct tcpb_error error;
    CHECK_INT(answer_with(
                  "{\"id\":%lld,\"error\":{\"code\":-10061,\"message\":\"no\",\"data\":{\"symbol\":"
                  "\"ECONNREFUSED\","
                  "\"stage\":\"connect\",\"retryable\":true,\"sent\":7,\"retry_after_ms\":1500,"
                  "\"new\":[]}},"
                  "\"jsonrpc\":\"2.0\"}",
                  &error),
              TCPB_E_ECONNREFUSED);
    CHECK_STRING(error.symbol, "ECONNREFUSED");
    CHECK_STRING(error.stage, "connect");
    CHECK_STRING(error.message, "no");
    CHECK(error.retryable);
    CHECK_INT(error.sent, 7);
    CHECK_INT(error.retry_after_ms, 1500);
    /* without data, and without id: the only request it can be about */
    CHECK_INT(answer_with("{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":-32600,\"message\":"
                          "\"line too long\"}}",
                          &error),
              TCPB_E_INVALID_REQUEST);
    CHECK_STRING(error.symbol, "INVALID_REQUEST");
    CHECK_INT(error.sent, -1);
    CHECK_INT(error.retry_after_ms, 0);
    CHECK_INT(answer_with("{\"id\":%lld,\"error\":{\"code\":-10061,\"message\":\"no\",\"data\":{"
                          "\"symbol\":\"ECONNREFUSED\",\"stage\":\"connect\",\"retryable\":true,"
                          "\"retry_after_ms\":4294967296}},\"jsonrpc\":\"2.0\"}",
                          &error),
              TCPB_E_ECONNREFUSED);
    CHECK(error.retry_after_ms == UINT32_MAX);
    /* a positive code must not look like one of the library's own */
    CHECK(
        answer_with("{\"jsonrpc\":\"2.0\",\"id\":%lld,\"error\":{\"code\":3,\"message\":\"odd\"}}",
                    &error) < 0);
}

TEST(faults, notifications_are_ignored)
{
    struct tcpb_error error;
    CHECK_INT(answer_with("{\"jsonrpc\":\"2.0\",\"method\":\"News\",\"params\":{}}\n"
                          "{\"jsonrpc\":\"2.0\",\"id\":%lld,\"result\":{}}",
                          &error),
              0);
}

/* Tells what it was asked: the request itself is the result. */
static void serve_echo(int fd, struct fake *fake)
{
    FILE *in = fdopen(dup(fd), "r");
    char *line = NULL;
    size_t n = 0;
    (void)fake;
    while (fake_line(in, &line, &n)) {
        line[strcspn(line, "\n")] = 0;
        fake_answer(fd, fake_id(line), line);
    }
    free(line);
    fclose(in);
}

static void check_params(struct tcpb *broker, const char *method, const char *params,
                         const char *wanted)
{
    struct tcpb_reply *reply = NULL;
    struct tcpb_error error;
    char text[512];
    int r = tcpb_call(broker, method, params, &reply, &error);
    if (r)
        fprintf(stderr, "%s\n", error.message);
    CHECK_INT(r, 0);
    const char *found = strstr(tcpb_reply_json(reply), "\"params\":");
    CHECK(found != NULL);
    snprintf(text, sizeof(text), "\"params\":%s}", wanted);
    CHECK_STRING(found, text);
    tcpb_reply_free(reply);
}

TEST(faults, the_label_is_filled_in)
{
    struct fake fake;
    char wanted[256];
    const char *label = tcpb_thread_label();
    fake_start(&fake, serve_echo, NULL);
    struct tcpb *broker = fake_open(&fake);
    snprintf(wanted, sizeof(wanted), "{\"thread\":\"%s\"}", label);
    check_params(broker, "TCPGetMyAddr", NULL, wanted);
    check_params(broker, "TCPGetMyAddr", "{}", wanted);
    snprintf(wanted, sizeof(wanted), "{ \"socket\":1 ,\"thread\":\"%s\"}", label);
    check_params(broker, "TCPReceive", "{\n\"socket\":1\n}\r\n", wanted);
    snprintf(wanted, sizeof(wanted), "{\"socket\":1,\"data\":\"}\",\"thread\":\"%s\"}", label);
    check_params(broker, "TCPSend", "[1,\"}\"]", wanted);
    check_params(broker, "TCPSend", "{\"socket\":1,\"thread\":7}", "{\"socket\":1,\"thread\":7}");
    check_params(broker, "TCPSend", "[\"wrong\"]",
                 "[\"wrong\"]");                      /* the daemon tells what is wrong */
    check_params(broker, "Broker.Hello", "{}", "{}"); /* takes none */
    check_params(broker, "No.Such", "[ 1 ]", "[ 1 ]");
    tcpb_close(broker);
    fake_stop(&fake);
}

TEST(faults, bad_arguments_are_not_sent)
{
    static const char *const bad[] = {"",
                                      "{",
                                      "7",
                                      "null",
                                      "\"x\"",
                                      "{} {}",
                                      "{\"a\":1,\"a\":2}",
                                      "{\"a\":\"\xff\"}",
                                      "{\"a\":\"\\u0000\"}"};
    struct fake fake;
    struct tcpb_error error;
    struct tcpb_reply *reply = NULL;
    const struct tcpb_broker_hello_result *result;
    fake_start(&fake, serve_echo, NULL);
    struct tcpb *broker = fake_open(&fake);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        CHECK_INT(tcpb_call(broker, "Broker.Hello", bad[i], &reply, &error), TCPB_LOCAL_ARGUMENT);
    CHECK_INT(tcpb_call(broker, "", NULL, &reply, &error), TCPB_LOCAL_ARGUMENT);
    CHECK_INT(tcpb_call(broker, NULL, NULL, &reply, NULL), TCPB_LOCAL_ARGUMENT);
    CHECK_INT(tcpb_call(NULL, "Broker.Hello", NULL, &reply, &error), TCPB_LOCAL_ARGUMENT);
    CHECK_INT(tcpb_broker_hello(broker, NULL, NULL, &result, &error), TCPB_LOCAL_ARGUMENT);
    CHECK(reply == NULL);
    /* a result that is not one of this method */
    CHECK_INT(tcpb_broker_hello(broker, NULL, &reply, &result, &error), TCPB_LOCAL_PROTOCOL);
    CHECK(reply == NULL);
    tcpb_close(broker);
    fake_stop(&fake);
}

TEST(faults, no_daemon)
{
    struct tcpb *broker = NULL;
    struct tcpb_error error;
    char path[256];
    CHECK_INT(tcpb_open(&broker, "/tmp/no/such/socket", &error), TCPB_LOCAL_NO_DAEMON);
    CHECK(strstr(error.message, "tcpbroker.socket") != NULL);
    memset(path, 'x', sizeof(path));
    path[255] = 0;
    CHECK_INT(tcpb_open(&broker, path, &error), TCPB_LOCAL_ARGUMENT);
    CHECK(broker == NULL);
    CHECK(tcpb_close(NULL) == NULL);
    CHECK(tcpb_reply_free(NULL) == NULL);
}

static char *huge; /* a JSON string of HUGE bytes */
enum { HUGE = 8 * 1024 * 1024 };

static void serve_huge(int fd, struct fake *fake)
{
    FILE *in = fdopen(dup(fd), "r");
    char *line = NULL;
    size_t n = 0;
    (void)fake;
    while (fake_line(in, &line, &n))
        fake_answer(fd, fake_id(line), huge);
    free(line);
    fclose(in);
}

TEST(faults, huge_requests_and_answers)
{
    struct fake fake;
    struct tcpb_error error;
    struct tcpb_reply *reply = NULL;
    huge = malloc(HUGE + 3);
    memset(huge, 'a', HUGE + 2);
    huge[0] = huge[HUGE + 1] = '"';
    huge[HUGE + 2] = 0;
    fake_start(&fake, serve_huge, NULL);
    struct tcpb *broker = fake_open(&fake);
    struct tcpb_tcp_send_params params = {.socket = 1, .has_data = true, .data = {huge + 1, HUGE}};
    CHECK_INT(tcpb_tcp_send(broker, &params, &reply, NULL, &error), 0);
    CHECK_STRING(tcpb_reply_json(reply), huge);
    tcpb_reply_free(reply);
    tcpb_close(broker);
    fake_stop(&fake);
    free(huge);
}

TEST(faults, a_child_does_not_touch_its_parents_connection)
{
    struct fake fake;
    char label[64];
    int status = -1;
    snprintf(label, sizeof(label), "%s", tcpb_thread_label());
    fake_start(&fake, serve_echo, NULL);
    struct tcpb *broker = fake_open(&fake);
    CHECK_INT(tcpb_call(broker, "Broker.List", NULL, NULL, NULL), 0);
    pid_t child = fork();
    if (child == 0) {
        bool right = tcpb_call(broker, "Broker.List", NULL, NULL, NULL) == TCPB_LOCAL_FORKED &&
                     strcmp(tcpb_thread_label(), label) != 0 && tcpb_get_fd(broker) == -1;
        tcpb_close(broker);
        /* not _exit(): a leak checker would blame this process for memory of threads it does not
         * have */
        execl(right ? "/bin/true" : "/bin/false", "child", NULL);
        _exit(2);
    }
    CHECK_INT(waitpid(child, &status, 0), child);
    CHECK_INT(status, 0);
    CHECK_INT(tcpb_call(broker, "Broker.List", NULL, NULL, NULL), 0); /* the parent's works on */
    tcpb_close(broker);
    fake_stop(&fake);
}
