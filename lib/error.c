#include "lib/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *symbol;
    bool retryable;
} locals[] = {
    [TCPB_LOCAL_NO_DAEMON] = {"NO_DAEMON", true}, [TCPB_LOCAL_NO_ACCESS] = {"NO_ACCESS", false},
    [TCPB_LOCAL_LOST] = {"LOST", true},           [TCPB_LOCAL_PROTOCOL] = {"PROTOCOL", false},
    [TCPB_LOCAL_MEMORY] = {"MEMORY", true},       [TCPB_LOCAL_ARGUMENT] = {"ARGUMENT", false},
    [TCPB_LOCAL_FORKED] = {"FORKED", false},      [TCPB_LOCAL_SYSTEM] = {"SYSTEM", true},
    [TCPB_LOCAL_CLOSED] = {"CLOSED", false},
};

static void copy_text(char *target, size_t n_target, const char *text)
{
    snprintf(target, n_target, "%s", text ? text : "");
}

int error_local(struct tcpb_error *error, enum tcpb_local_code code, int sys_errno,
                const char *format, ...)
{
    if (!error)
        return (int)code;
    va_list list;
    *error = (struct tcpb_error){.code = (int32_t)code,
                                 .sys_errno = sys_errno,
                                 .retryable = locals[code].retryable,
                                 .sent = -1};
    copy_text(error->symbol, sizeof(error->symbol), locals[code].symbol);
    copy_text(error->stage, sizeof(error->stage), "client");
    va_start(list, format);
    vsnprintf(error->message, sizeof(error->message), format, list);
    va_end(list);
    return (int)code;
}

/* Programs give the library structs of their own: those of programs that were built before must
 * still be right. */
_Static_assert(offsetof(struct tcpb_error, retry_after_ms) == 12 &&
                   offsetof(struct tcpb_error, sent) == 16,
               "retry_after_ms fills a gap");

int error_memory(struct tcpb_error *error)
{
    return error_local(error, TCPB_LOCAL_MEMORY, 0, "out of memory");
}

int error_copy(struct tcpb_error *error, const struct tcpb_error *from)
{
    if (error)
        *error = *from;
    return (int)from->code;
}

int error_wire(struct tcpb_error *error, const struct proto_error_object *object)
{
    struct tcpb_error wire = {.sent = -1};
    /* an answer that calls itself an error is one, whatever number a foreign daemon gives it */
    wire.code = object->code < 0 && object->code >= INT32_MIN ? (int32_t)object->code : -32603;
    copy_text(wire.message, sizeof(wire.message), object->message);
    const struct error_info *info = error_by_code(wire.code);
    if (object->has_data) {
        wire.retryable = object->data.retryable;
        copy_text(wire.symbol, sizeof(wire.symbol), object->data.symbol);
        copy_text(wire.stage, sizeof(wire.stage), object->data.stage);
        if (object->data.has_param)
            copy_text(wire.param, sizeof(wire.param), object->data.param);
        if (object->data.has_sent)
            wire.sent = object->data.sent;
        if (object->data.has_retry_after_ms)
            wire.retry_after_ms = object->data.retry_after_ms < UINT32_MAX
                                      ? (uint32_t)object->data.retry_after_ms
                                      : UINT32_MAX;
    } else {
        wire.retryable = info && info->retryable;
        copy_text(wire.symbol, sizeof(wire.symbol), info ? info->symbol : "UNKNOWN");
        copy_text(wire.stage, sizeof(wire.stage), info ? error_stage_name(info->stage) : "broker");
    }
    return error_copy(error, &wire);
}
