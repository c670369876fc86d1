/* The n-th allocation of a call fails, for each n: an error, no crash, and the connection goes on
 * or says why not. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED
#endif
#endif

#include <errno.h>
#include <poll.h>

#include "fake.h"

/* Allocations that still succeed in this thread; below 0: all. */
static _Thread_local long budget = -1;

#ifndef SANITIZED

extern void *__libc_malloc(size_t n);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *old, size_t n);

static bool refuse(void)
{
    if (budget < 0)
        return false;
    if (budget > 0) {
        budget--;
        return false;
    }
    errno = ENOMEM;
    return true;
}

void *malloc(size_t n)
{
    return refuse() ? NULL : __libc_malloc(n);
}

void *calloc(size_t n, size_t size)
{
    return refuse() ? NULL : __libc_calloc(n, size);
}

void *realloc(void *old, size_t n)
{
    return refuse() ? NULL : __libc_realloc(old, n);
}
#endif

static void serve_list(int fd, struct fake *fake)
{
    FILE *in = fdopen(dup(fd), "r");
    char *line = NULL;
    size_t n = 0;
    (void)fake;
    while (fake_line(in, &line, &n))
        fake_answer(
            fd, fake_id(line),
            "{\"sockets\":[{\"socket\":1,\"state\":\"connected\",\"session\":1,\"uid\":0,\"pid\":1,"
            "\"secure\":false,\"verified\":false,\"bytes_in\":0,\"bytes_out\":0,\"age_ms\":5}]}");
    free(line);
    fclose(in);
}

static void on_list(struct tcpb *broker, int64_t id, struct tcpb_reply *reply,
                    const struct tcpb_error *error, void *userdata)
{
    int32_t *code = userdata;
    (void)broker;
    (void)id;
    *code = reply ? 0 : error->code;
}

static int call_typed_list(struct tcpb *broker, struct tcpb_error *error)
{
    struct tcpb_reply *reply = NULL;
    const struct tcpb_broker_list_result *result = NULL;
    int r = tcpb_broker_list(broker, NULL, &reply, &result, error);
    CHECK(r || result->sockets.n_items == 1);
    tcpb_reply_free(reply);
    return r;
}

static int call_raw(struct tcpb *broker, struct tcpb_error *error)
{
    return tcpb_call(broker, "TCPGetMyAddr", "[0,true]", NULL, error);
}

static int submit(struct tcpb *broker, struct tcpb_error *error)
{
    int32_t code = 1000;
    int r = tcpb_submit(broker, "Broker.List", NULL, on_list, &code, NULL, error);
    if (r)
        return r;
    struct pollfd fd = {.fd = tcpb_get_fd(broker), .events = POLLIN};
    while (code == 1000) {
        CHECK_INT(poll(&fd, 1, 20000), 1);
        (void)tcpb_process(broker, error);
    }
    error->code = code;
    return code;
}

static void starve(int (*ask)(struct tcpb *, struct tcpb_error *))
{
#ifdef SANITIZED
    SKIP("the sanitizer has malloc for itself; the debug preset runs this");
#endif
    int r = -1;
    for (long n = 0; r != 0; n++) {
        struct fake fake;
        struct tcpb_error error;
        fake_start(&fake, serve_list, NULL);
        struct tcpb *broker = fake_open(&fake);
        budget = n;
        r = ask(broker, &error);
        budget = -1;
        if (r)
            CHECK_INT(r, TCPB_LOCAL_MEMORY);
        int again = call_typed_list(broker, &error);
        CHECK(again == 0 || again == TCPB_LOCAL_MEMORY);
        tcpb_close(broker);
        fake_stop(&fake);
        CHECK(n < 1000);
    }
}

TEST(memory, typed)
{
    starve(call_typed_list);
}

TEST(memory, raw)
{
    starve(call_raw);
}

TEST(memory, submitted)
{
    starve(submit);
}
