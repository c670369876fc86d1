#include "lib/reply.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/error.h"
#include "proto/writer.h"

struct tcpb_reply *reply_new(int64_t id, enum method method)
{
    struct tcpb_reply *reply = calloc(1, sizeof(*reply));
    if (!reply)
        return NULL;
    reply->id = id;
    reply->method = method;
    return reply;
}

struct tcpb_reply *tcpb_reply_free(struct tcpb_reply *reply)
{
    if (!reply)
        return NULL;
    if (reply->is_read)
        answer_deinit(&reply->answer);
    for (size_t i = 0; i < reply->n_fds; i++)
        close(reply->fds[i]);
    free(reply->json);
    free(reply->line);
    free(reply);
    return NULL;
}

void reply_add_fd(struct tcpb_reply *reply, int fd)
{
    if (fd < 0)
        reply->fd_lost = true;
    else if (reply->n_fds < REPLY_FDS_MAX)
        reply->fds[reply->n_fds++] = fd;
    else
        close(fd); /* no method has so many */
}

int tcpb_reply_take_fd(struct tcpb_reply *reply)
{
    if (reply->n_fds == 0)
        return -1;
    int fd = reply->fds[0];
    memmove(reply->fds, reply->fds + 1, --reply->n_fds * sizeof(*reply->fds));
    return fd;
}

int reply_take_fd(struct tcpb_reply *reply, int *ret_fd, struct tcpb_error *error)
{
    int fd = tcpb_reply_take_fd(reply);
    if (fd >= 0) {
        *ret_fd = fd;
        return 0;
    }
    return reply->fd_lost
               ? error_local(error, TCPB_LOCAL_SYSTEM, EMFILE,
                             "the descriptor of the stream could not be taken: this process has as "
                             "many open as it may; close some, or raise the limit (ulimit -n)")
               : error_local(error, TCPB_LOCAL_PROTOCOL, 0,
                             "the broker's answer came without a descriptor");
}

void reply_fill(struct tcpb_reply *reply, const char *line, size_t n)
{
    reply->line = malloc(n ? n : 1);
    if (!reply->line)
        return;
    memcpy(reply->line, line, n);
    reply->n_line = n;
}

bool reply_peek_id(const char *line, size_t n, int64_t *ret_id)
{
    static const char head[] = "{\"jsonrpc\":\"2.0\",\"id\":";
    const size_t n_head = sizeof(head) - 1;
    int64_t id = 0;
    size_t i = n_head;
    if (n < n_head || memcmp(line, head, n_head) != 0)
        return false;
    for (; i < n && line[i] >= '0' && line[i] <= '9' && i < n_head + 15; i++)
        id = id * 10 + (line[i] - '0');
    if (i == n_head || i >= n || line[i] != ',')
        return false;
    *ret_id = id;
    return true;
}

/* What tcpb_reply_json() gives. The result is copied out of the line to end it. */
static char *json_text(const struct answer *answer)
{
    if (answer->result)
        return strndup(answer->result_text, answer->n_result_text);
    struct writer writer = WRITER_INIT;
    fields_write(&proto_error_object_table, &answer->error, &writer);
    writer_raw(&writer, "", 1);
    if (!writer_failed(&writer))
        return writer.data;
    writer_deinit(&writer);
    return NULL;
}

int reply_read(struct tcpb_reply *reply, struct tcpb_error *error)
{
    if (!reply->line)
        return error_memory(error);
    int r = answer_parse(&reply->answer, reply->line, reply->n_line);
    if (r < 0)
        return error_memory(error);
    if (r > 0)
        return error_local(error, TCPB_LOCAL_PROTOCOL, 0,
                           "the broker's answer is not valid JSON-RPC: %.*s",
                           (int)(reply->n_line < 80 ? reply->n_line : 80), reply->line);
    reply->is_read = true;
    if (reply->answer.id.kind == PROTO_ID_INTEGER && reply->answer.id.number != reply->id)
        return error_local(error, TCPB_LOCAL_PROTOCOL, 0, "the broker's answer has two ids");
    reply->json = json_text(&reply->answer);
    return reply->json ? 0 : error_memory(error);
}

const char *tcpb_reply_json(const struct tcpb_reply *reply)
{
    return reply->json;
}

bool tcpb_reply_failed(const struct tcpb_reply *reply, struct tcpb_error *error)
{
    if (reply->answer.result)
        return false;
    error_wire(error, &reply->answer.error);
    return true;
}

int reply_result(struct tcpb_reply *reply, const void **ret_result, struct tcpb_error *error)
{
    const struct field_table *table = method_infos[reply->method].result;
    struct field_fault fault;
    if (!reply->result) {
        if (!reply->answer.result || !table)
            return error_local(error, TCPB_LOCAL_PROTOCOL, 0,
                               "the answer has no result of a known method");
        void *result = json_arena_alloc(&reply->answer.arena, table->size);
        if (!result)
            return error_memory(error);
        int r = fields_read(table, reply->answer.result, &reply->answer.arena, FIELDS_LENIENT,
                            result, &fault);
        if (r < 0)
            return error_memory(error);
        if (r > 0)
            return error_local(error, TCPB_LOCAL_PROTOCOL, 0,
                               "the result of %s does not fit: %s must be %s",
                               method_infos[reply->method].name, fault.param, fault.expected);
        reply->result = result;
    }
    *ret_result = reply->result;
    return 0;
}

const void *tcpb_reply_result(struct tcpb_reply *reply)
{
    const void *result = NULL;
    return reply_result(reply, &result, NULL) ? NULL : result;
}
