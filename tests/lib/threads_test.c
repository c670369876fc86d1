/* Many threads over one connection. */
#include "fake.h"

enum { THREADS = 64, CALLS = 200, HELD = 32 };

/* Answers in an order of its own: holds up to HELD requests back and answers the last first. The
 * result repeats the request's thread and max_bytes. */
static void serve_shuffled(int fd, struct fake *fake)
{
    FILE *in = fdopen(dup(fd), "r");
    char *line = NULL, *held[HELD];
    size_t n = 0;
    int n_held = 0, waiting, served = 0;
    (void)fake;
    while (fake_line(in, &line, &n)) {
        held[n_held++] = strdup(line);
        served++;
        /* the last requests of a round come when all threads wait: answer when no more can come */
        waiting = THREADS < HELD ? THREADS : HELD;
        if (n_held < waiting && served + n_held < THREADS * CALLS - HELD * 4 && served % 7)
            continue;
        while (n_held > 0) {
            char *request = held[--n_held], label[64] = "", result[256];
            const char *p = strstr(request, "\"thread\":\"");
            long long bytes = 0;
            if (p)
                sscanf(p + 10, "%63[^\"]", label);
            if ((p = strstr(request, "\"max_bytes\":")))
                bytes = atoll(p + 12);
            snprintf(result, sizeof(result), "{\"received\":%lld,\"data\":\"%s\",\"later\":[1,{}]}",
                     bytes, label);
            fake_answer(fd, fake_id(request), result);
            free(request);
        }
    }
    free(line);
    fclose(in);
}

struct worker {
    struct tcpb *broker;
    pthread_t thread;
    int number, wrong;
    char label[64];
};

static void *work(void *userdata)
{
    struct worker *worker = userdata;
    snprintf(worker->label, sizeof(worker->label), "%s", tcpb_thread_label());
    for (int i = 0; i < CALLS; i++) {
        struct tcpb_tcp_receive_params params = {
            .socket = 1, .has_max_bytes = true, .max_bytes = worker->number * 1000 + i + 1};
        const struct tcpb_tcp_receive_result *result;
        struct tcpb_reply *reply = NULL;
        struct tcpb_error error;
        if (tcpb_tcp_receive(worker->broker, &params, &reply, &result, &error) ||
            result->received != params.max_bytes || !result->has_data ||
            result->data.n_bytes != strlen(worker->label) ||
            memcmp(result->data.data, worker->label, result->data.n_bytes) != 0)
            worker->wrong++;
        tcpb_reply_free(reply);
    }
    return NULL;
}

TEST(threads, answers_out_of_order)
{
    static struct worker workers[THREADS];
    struct fake fake;
    fake_start(&fake, serve_shuffled, NULL);
    struct tcpb *broker = fake_open(&fake);
    memset(workers, 0, sizeof(workers));
    for (int i = 0; i < THREADS; i++) {
        workers[i].broker = broker;
        workers[i].number = i;
        CHECK_INT(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(workers[i].thread, NULL);
    for (int i = 0; i < THREADS; i++) {
        CHECK_INT(workers[i].wrong, 0);
        for (int k = 0; k < i; k++)
            CHECK(strcmp(workers[i].label, workers[k].label) != 0);
    }
    CHECK(tcpb_close(broker) == NULL);
    fake_stop(&fake);
}

/* Reads all that comes before it answers any of it, then dies in the middle of a line. */
static void serve_and_die(int fd, struct fake *fake)
{
    FILE *in = fdopen(dup(fd), "r");
    char *line = NULL;
    size_t n = 0;
    (void)fake;
    for (int i = 0; i < 8; i++)
        CHECK(fake_line(in, &line, &n));
    (void)fake_write(fd, "{\"jsonrpc\":\"2.0\",\"id\":", 22);
    shutdown(fd, SHUT_RDWR);
    free(line);
    fclose(in);
}

static void *call_dead(void *userdata)
{
    struct worker *worker = userdata;
    struct tcpb_error error;
    int r = tcpb_call(worker->broker, "TCPReceive", "{\"socket\":1}", NULL, &error);
    worker->wrong = r != TCPB_LOCAL_LOST || error.code != r || !error.retryable || !*error.message;
    return NULL;
}

TEST(threads, dead_daemon_ends_all_calls)
{
    struct worker workers[8] = {0};
    struct fake fake;
    struct tcpb_error error;
    fake_start(&fake, serve_and_die, NULL);
    struct tcpb *broker = fake_open(&fake);
    for (int i = 0; i < 8; i++) {
        workers[i].broker = broker;
        CHECK_INT(pthread_create(&workers[i].thread, NULL, call_dead, &workers[i]), 0);
    }
    for (int i = 0; i < 8; i++)
        pthread_join(workers[i].thread, NULL);
    for (int i = 0; i < 8; i++)
        CHECK_INT(workers[i].wrong, 0);
    CHECK_INT(tcpb_call(broker, "Broker.List", NULL, NULL, &error),
              TCPB_LOCAL_LOST); /* and stays dead */
    tcpb_close(broker);
    fake_stop(&fake);
}
