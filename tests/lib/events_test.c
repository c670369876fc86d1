/* Notifications: told by tcpb_process(), ignored by who has not asked, never taken for an answer.
 */
#include <poll.h>

#include "fake.h"

#define EVENT(number)                                                                              \
    "{\"jsonrpc\":\"2.0\",\"method\":\"Broker.Event\",\"params\":{\"event\":\"close\",\"time\":"   \
    "\"2026-01-01T00:00:00.000Z\",\"socket\":" #number                                             \
    ",\"reason\":\"client_closed\",\"later\":[1]}}\n"

static void write_text(int fd, const char *text)
{
    CHECK(fake_write(fd, text, strlen(text)));
}

/* Two events, the answer, one more; and something of a later version. */
static void serve_around(int fd, struct fake *fake)
{
    FILE *in = fdopen(dup(fd), "r");
    char *line = NULL;
    size_t n = 0;
    (void)fake;
    while (fake_line(in, &line, &n)) {
        write_text(fd, EVENT(1) EVENT(2));
        write_text(fd, "{\"jsonrpc\":\"2.0\",\"method\":\"Broker.Weather\",\"params\":[]}\n");
        write_text(fd, "{\"jsonrpc\":\"2.0\",\"method\":\"Broker.Event\"}\n");
        fake_answer(fd, fake_id(line), "{\"classes\":[]}");
        write_text(fd, EVENT(3));
    }
    free(line);
    fclose(in);
}

struct told {
    int n;
    int64_t sockets[8];
    int64_t lost;
};

static void on_event(struct tcpb *broker, const struct tcpb_event *event, const char *json,
                     void *userdata)
{
    struct told *told = userdata;
    (void)broker;
    if (event->has_lost) {
        told->lost += event->lost;
        return;
    }
    CHECK(event->has_socket && event->has_reason && !event->has_hostname);
    CHECK_STRING(event->event, "close");
    CHECK_STRING(event->reason, "client_closed");
    CHECK(strstr(json, "\"later\":[1]") != NULL);
    if (told->n < 8)
        told->sockets[told->n] = event->socket;
    told->n++;
}

static void process_until(struct tcpb *broker, struct told *told, int wanted)
{
    struct pollfd fd = {.fd = tcpb_get_fd(broker), .events = POLLIN};
    while (told->n + told->lost < wanted) {
        CHECK_INT(poll(&fd, 1, 20000), 1);
        CHECK_INT(tcpb_process(broker, NULL), 0);
    }
}

TEST(events, told_by_process)
{
    struct fake fake;
    struct told told = {0};
    fake_start(&fake, serve_around, NULL);
    struct tcpb *broker = fake_open(&fake);
    CHECK_INT(tcpb_on_event(broker, on_event, &told, NULL), 0);
    CHECK_INT(tcpb_broker_events(broker, NULL, NULL, NULL, NULL), 0);
    CHECK_INT(told.n, 0);
    process_until(broker, &told, 3);
    for (int i = 0; i < 3; i++)
        CHECK_INT(told.sockets[i], i + 1);
    CHECK_INT(told.lost, 0);
    tcpb_close(broker);
    fake_stop(&fake);
}

TEST(events, ignored_by_who_has_not_asked)
{
    struct fake fake;
    struct told told = {0};
    fake_start(&fake, serve_around, NULL);
    struct tcpb *broker = fake_open(&fake);
    for (int i = 0; i < 20; i++)
        CHECK_INT(tcpb_broker_events(broker, NULL, NULL, NULL, NULL), 0);
    CHECK_INT(tcpb_on_event(broker, on_event, &told, NULL), 0);
    CHECK_INT(tcpb_on_event(broker, NULL, NULL, NULL), 0);
    CHECK_INT(tcpb_broker_events(broker, NULL, NULL, NULL, NULL), 0);
    CHECK_INT(tcpb_process(broker, NULL), 0);
    CHECK_INT(told.n, 0);
    tcpb_close(broker);
    fake_stop(&fake);
}

/* What nobody fetches does not pile up; nor is it leaked at the end. */
static void serve_many(int fd, struct fake *fake)
{
    FILE *in = fdopen(dup(fd), "r");
    char *line = NULL;
    size_t n = 0;
    (void)fake;
    while (fake_line(in, &line, &n)) {
        for (int i = 0; i < 5000; i++)
            write_text(fd, EVENT(7));
        fake_answer(fd, fake_id(line), "{\"classes\":[]}");
    }
    free(line);
    fclose(in);
}

TEST(events, too_many_are_counted)
{
    struct fake fake;
    struct told told = {0};
    fake_start(&fake, serve_many, NULL);
    struct tcpb *broker = fake_open(&fake);
    CHECK_INT(tcpb_on_event(broker, on_event, &told, NULL), 0);
    CHECK_INT(tcpb_broker_events(broker, NULL, NULL, NULL, NULL), 0);
    process_until(broker, &told, 5000);
    CHECK_INT(told.n, 4096);
    CHECK_INT(told.lost, 904);
    CHECK_INT(tcpb_broker_events(broker, NULL, NULL, NULL, NULL), 0);
    tcpb_close(broker);
    fake_stop(&fake);
}
