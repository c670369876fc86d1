/*
 * typed: the wrapper functions of <tcpbroker.h>, one for each method of the table, and the
 * proof that the public structs are laid out as the table's own, so that the field tables of proto/
 * work on them.
 */
#include "lib/call.h"
#include "lib/tcpbroker.h"

/* ---- wrappers ---- */

#include "proto/define_none.h"
#undef METHOD_BEGIN
#define METHOD_BEGIN(ID, object, wire, traits, summary)                                            \
    int tcpb_##object(struct tcpb *broker, const struct tcpb_##object##_params *params,            \
                      struct tcpb_reply **ret_reply,                                               \
                      const struct tcpb_##object##_result **ret_result, struct tcpb_error *error)  \
    {                                                                                              \
        const void *result = NULL;                                                                 \
        int r = call_typed(broker, METHOD_##ID, params, ret_reply, ret_result ? &result : NULL,    \
                           error);                                                                 \
        if (r == 0 && ret_result)                                                                  \
            *ret_result = result;                                                                  \
        return r;                                                                                  \
    }
#include "proto/methods.def"
#include "proto/undef.h"

/* ---- layout ---- */

#define SAME_SIZE(object)                                                                          \
    _Static_assert(sizeof(struct tcpb_##object) == sizeof(struct proto_##object),                  \
                   "size of struct tcpb_" #object);
#define SAME_MEMBER(object, name)                                                                  \
    _Static_assert(offsetof(struct tcpb_##object, name) ==                                         \
                           offsetof(struct proto_##object, name) &&                                \
                       sizeof(((struct tcpb_##object *)0)->name) ==                                \
                           sizeof(((struct proto_##object *)0)->name),                             \
                   "struct tcpb_" #object "." #name);

SAME_SIZE(bytes)
SAME_MEMBER(bytes, data)
SAME_MEMBER(bytes, n_bytes)
SAME_SIZE(strings)
SAME_MEMBER(strings, items)
SAME_MEMBER(strings, n_items)
SAME_SIZE(objects)
SAME_MEMBER(objects, items)
SAME_MEMBER(objects, n_items)
SAME_SIZE(thread)
SAME_MEMBER(thread, text)
SAME_MEMBER(thread, number)
SAME_SIZE(id)
SAME_MEMBER(id, kind)
SAME_MEMBER(id, number)
SAME_MEMBER(id, text)
_Static_assert((int)TCPB_ID_ABSENT == PROTO_ID_ABSENT && (int)TCPB_ID_NULL == PROTO_ID_NULL &&
                   (int)TCPB_ID_INTEGER == PROTO_ID_INTEGER &&
                   (int)TCPB_ID_STRING == PROTO_ID_STRING,
               "kinds of ids");

#include "proto/define_none.h"
#undef OBJECT_BEGIN
#undef METHOD_BEGIN
#undef F_AS
#undef FO
#undef FL
#define OBJECT_BEGIN(object) SAME_SIZE(object)
#define METHOD_BEGIN(ID, object, wire, traits, summary)                                            \
    SAME_SIZE(object##_params) SAME_SIZE(object##_result)
#define F_AS(owner, TYPE, name, wire, flags, preset, min, max, extra, doc)                         \
    SAME_##flags(owner, name) SAME_MEMBER(owner, name)
#define FO(owner, object, name, flags, doc) SAME_##flags(owner, name) SAME_MEMBER(owner, name)
#define FL(owner, object, name, flags, doc) SAME_##flags(owner, name) SAME_MEMBER(owner, name)
#define SAME_REQ(owner, name)
#define SAME_REQ_POS(owner, name)
#define SAME_OPT(owner, name)     SAME_MEMBER(owner, has_##name)
#define SAME_OPT_POS(owner, name) SAME_MEMBER(owner, has_##name)
#include "proto/methods.def"
#include "proto/undef.h"
