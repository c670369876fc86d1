/* Every allocation in turn fails: -ENOMEM, nothing lost, nothing half. */
#include <errno.h>

#include "proto/frame.h"
#include "proto/message.h"
#include "proto/openrpc.h"
#include "support/test.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif

#ifndef SANITIZED
void *__libc_malloc(size_t n);
void *__libc_realloc(void *memory, size_t n);
void __libc_free(void *memory);

static _Thread_local bool counting;
static _Thread_local size_t n_until_failure; /* 1: the next one fails */
static _Thread_local long n_living;

static bool fails(void)
{
    return counting && n_until_failure > 0 && --n_until_failure == 0;
}

/* In the executable these stand before the C library's, for libcjson too. */
__attribute__((visibility("default"))) void *malloc(size_t n)
{
    void *memory = fails() ? NULL : __libc_malloc(n);
    if (counting && memory)
        n_living++;
    return memory;
}

__attribute__((visibility("default"))) void *realloc(void *old, size_t n)
{
    void *memory = fails() ? NULL : __libc_realloc(old, n);
    if (counting && memory && !old)
        n_living++;
    return memory;
}

__attribute__((visibility("default"))) void free(void *memory)
{
    if (counting && memory)
        n_living--;
    __libc_free(memory);
}

static const char line[] =
    "[{\"jsonrpc\":\"2.0\",\"id\":\"x\",\"method\":\"TCPConnect\",\"params\":{\"hostname\":\"h\","
    "\"port\":1,\"alpn\":[\"a\",\"b\"]}},{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"TCPSend\","
    "\"params\":{\"socket\":1,\"data_base64\":\"AAAA\",\"q1\":1,\"q2\":1,\"q3\":1,\"q4\":1,\"q5\":"
    "1,"
    "\"q6\":1,\"q7\":1,\"q8\":1,\"q9\":1,\"q10\":1,\"q11\":1,\"q12\":1,\"q13\":1,\"q14\":1,"
    "\"q15\":1}}]";

static int decode(void)
{
    struct message *message;
    struct field_fault fault;
    union method_params params;
    int r = message_parse(&message, line, sizeof(line) - 1, 32);
    if (r != 0)
        return r;
    r = message_params(message, message_call(message, 0), &params, &fault);
    if (r == 0 && message_params(message, message_call(message, 1), &params, &fault) == -ENOMEM)
        r = -ENOMEM;
    message_unref(message);
    return r;
}

static int encode(void)
{
    struct writer writer = WRITER_INIT;
    struct proto_id id = {.kind = PROTO_ID_INTEGER, .number = 1};
    char text[3000];
    memset(text, '\n', sizeof(text));
    writer_array_begin(&writer);
    struct writer_mark mark = writer_mark(&writer);
    message_result_begin(&writer, &id);
    writer_text(&writer, text, sizeof(text));
    message_result_end(&writer);
    int r = writer_failed(&writer) ? -ENOMEM : 0;
    writer_rewind(&writer, mark);
    if (writer.n_data != mark.n_data)
        r = 1;
    writer_deinit(&writer);
    return r;
}

static int answer(void)
{
    static const char text[] =
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"error\":{\"code\":-1,\"message\":\"m\","
        "\"data\":{\"symbol\":\"S\",\"stage\":\"io\",\"retryable\":true,"
        "\"attempts\":[{\"address\":\"a\",\"error\":\"e\",\"ms\":1}]}}}";
    struct answer result;
    int r = answer_parse(&result, text, sizeof(text) - 1);
    if (r == 0)
        answer_deinit(&result);
    return r;
}

static int frame(void)
{
    struct frame in;
    char *space;
    size_t n;
    frame_init(&in, 1 << 20);
    int r = frame_space(&in, &space, &n);
    frame_deinit(&in);
    return r;
}

static int document(void)
{
    struct writer writer = WRITER_INIT;
    openrpc_write(&writer);
    int r = writer_failed(&writer) ? -ENOMEM : 0;
    writer_deinit(&writer);
    return r;
}

/* Fail the first, the second, ... allocation of work until there are not so many. */
static size_t exhaust(int (*work)(void))
{
    for (size_t i = 1; i < 10000; i++) {
        n_living = 0;
        n_until_failure = i;
        counting = true;
        int r = work();
        counting = false;
        CHECK_INT(n_living, 0);
        if (n_until_failure > 0) {
            CHECK_INT(r, 0);
            return i - 1;
        }
        CHECK_INT(r, -ENOMEM);
    }
    return 0;
}

TEST(memory, every_allocation_may_fail)
{
    CHECK(exhaust(decode) > 50);
    CHECK(exhaust(encode) >= 2);
    CHECK(exhaust(answer) > 10);
    CHECK(exhaust(document) > 5);
    CHECK_INT(exhaust(frame), 1);
}
#else
TEST(memory, every_allocation_may_fail)
{
    SKIP("the sanitizer has the allocator; the debug build runs this");
}
#endif
