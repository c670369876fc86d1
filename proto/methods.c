#include <string.h>

#include "proto/methods.h"
#include "proto/text.h"

/* clang-format off: the expansion is not C that it could lay out */
#define FIELD_STRUCT(shape) struct proto_##shape
#include "proto/expand.h"
#undef FIELD_STRUCT
/* clang-format on */

const struct field_table proto_error_object_table = {
    .name = "error_object",
    .size = sizeof(struct proto_error_object),
    .fields = error_object_fields,
    .n_fields = sizeof(error_object_fields) / sizeof(error_object_fields[0]) - 1,
};

const struct field_table proto_event_table = {
    .name = "event",
    .size = sizeof(struct proto_event),
    .fields = event_fields,
    .n_fields = sizeof(event_fields) / sizeof(event_fields[0]) - 1,
};

/* the traits as methods.def spells them */
enum { IMMEDIATE = METHOD_IMMEDIATE, ADMIN = METHOD_ADMIN, NEW = METHOD_NEW };

const struct method_info method_infos[METHOD_N] = {
    [METHOD_UNKNOWN] = {.name = "?", .summary = "unknown"},
#include "proto/define_none.h"
#undef METHOD_BEGIN
#define METHOD_BEGIN(ID, object, wire, method_traits, method_summary)                              \
    [METHOD_##ID] = {.name = (wire),                                                               \
                     .traits = (method_traits),                                                    \
                     .params = &object##_params_table,                                             \
                     .result = &object##_result_table,                                             \
                     .summary = (method_summary)},
#include "proto/methods.def"
#include "proto/undef.h"
};

/* Lengths first: a name is then compared with hardly more than one candidate. */
static const unsigned char name_lengths[METHOD_N] = {
#include "proto/define_none.h"
#undef METHOD_BEGIN
#define METHOD_BEGIN(ID, object, wire, method_traits, method_summary)                              \
    [METHOD_##ID] = sizeof(wire) - 1,
#include "proto/methods.def"
#include "proto/undef.h"
};

enum method method_by_name(const char *name)
{
    size_t n = strlen(name);
    for (unsigned i = METHOD_UNKNOWN + 1; i < METHOD_N; i++)
        if (name_lengths[i] == n && memcmp(method_infos[i].name, name, n) == 0)
            return (enum method)i;
    return METHOD_UNKNOWN;
}

const char *method_nearest(const char *name)
{
    const char *nearest = NULL;
    size_t least = SIZE_MAX;

    for (unsigned i = METHOD_UNKNOWN + 1; i < METHOD_N; i++) {
        size_t distance = text_near(name, method_infos[i].name);
        if (distance < least) {
            least = distance;
            nearest = method_infos[i].name;
        }
    }
    return nearest;
}

const char *error_stage_name(enum error_stage stage)
{
    static const char *const names[STAGE_N] = {
        [STAGE_REQUEST] = "request", [STAGE_POLICY] = "policy", [STAGE_RESOLVE] = "resolve",
        [STAGE_CONNECT] = "connect", [STAGE_TLS] = "tls",       [STAGE_IO] = "io",
        [STAGE_BROKER] = "broker",
    };
    return (unsigned)stage < STAGE_N ? names[stage] : "broker";
}

const struct error_info error_infos[WIRE_N] = {
    [WIRE_NONE] = {.code = 0, .symbol = "NONE", .text = "no error"},
#define ERROR(name, number, where, again, words)                                                   \
    [WIRE_##name] = {.code = (number),                                                             \
                     .symbol = #name,                                                              \
                     .stage = STAGE_##where,                                                       \
                     .retryable = (again),                                                         \
                     .text = (words)},
#include "proto/errors.def"
#undef ERROR
};

const struct error_info *error_by_code(int64_t code)
{
    for (unsigned i = WIRE_NONE + 1; i < WIRE_N; i++)
        if (error_infos[i].code == code)
            return &error_infos[i];
    return NULL;
}
