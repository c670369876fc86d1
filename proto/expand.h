/*
 * expand: methods.def as field tables. The includer defines FIELD_STRUCT(shape), the struct type of a shape ("timing",
 * "tcp_connect_params"), and gets `static const struct field_table <shape>_table` for each. For the daemon's structs that
 * is proto/methods.c; the library does the same over the structs of <tcpbroker.h>. No include guard.
 */
#define NONE FIELD_NO_PRESET

#define EXPAND_FLAGS_REQ     FIELD_REQUIRED
#define EXPAND_FLAGS_REQ_POS (FIELD_REQUIRED | FIELD_POSITIONAL)
#define EXPAND_FLAGS_OPT     FIELD_OPTIONAL
#define EXPAND_FLAGS_OPT_POS (FIELD_OPTIONAL | FIELD_POSITIONAL)

#define EXPAND_HAS_REQ(shape, member)     SIZE_MAX
#define EXPAND_HAS_REQ_POS(shape, member) SIZE_MAX
#define EXPAND_HAS_OPT(shape, member)     offsetof(FIELD_STRUCT(shape), has_##member)
#define EXPAND_HAS_OPT_POS(shape, member) offsetof(FIELD_STRUCT(shape), has_##member)

/* The last, empty entry keeps a list without members legal C; it is not counted. */
#define EXPAND_BEGIN(shape) static const struct field shape##_fields[] = {
#define EXPAND_END(shape)                                                                          \
    {                                                                                              \
        .name = NULL                                                                               \
    }                                                                                              \
    }                                                                                              \
    ;                                                                                              \
    static const struct field_table shape##_table = {                                              \
        .name     = #shape,                                                                        \
        .size     = sizeof(FIELD_STRUCT(shape)),                                                   \
        .fields   = shape##_fields,                                                                \
        .n_fields = sizeof(shape##_fields) / sizeof(shape##_fields[0]) - 1};

#define OBJECT_BEGIN(object)                            EXPAND_BEGIN(object)
#define OBJECT_END(object)                              EXPAND_END(object)
#define METHOD_BEGIN(ID, object, wire, traits, summary) EXPAND_BEGIN(object##_params)
#define METHOD_RESULT(ID, object)                                                                  \
    EXPAND_END(object##_params)                                                                    \
    EXPAND_BEGIN(object##_result)
#define METHOD_END(ID, object) EXPAND_END(object##_result)

#define EXPAND_MEMBER(owner, member, member_flags, member_doc)                                     \
    .flags = EXPAND_FLAGS_##member_flags, .offset = offsetof(FIELD_STRUCT(owner), member),         \
    .has_offset = EXPAND_HAS_##member_flags(owner, member), .doc = (member_doc)

#define F_AS(owner, TYPE, member, wire, member_flags, member_preset, lowest, highest, more,        \
             member_doc)                                                                           \
    {.name   = (wire),                                                                             \
     .type   = FIELD_##TYPE,                                                                       \
     .preset = (member_preset),                                                                    \
     .min    = (lowest),                                                                           \
     .max    = (highest),                                                                          \
     .extra  = (more),                                                                             \
     EXPAND_MEMBER(owner, member, member_flags, member_doc)},
#define FO(owner, object, member, member_flags, member_doc)                                        \
    {.name   = #member,                                                                            \
     .type   = FIELD_OBJECT,                                                                       \
     .preset = NONE,                                                                               \
     .sub    = &object##_table,                                                                    \
     EXPAND_MEMBER(owner, member, member_flags, member_doc)},
#define FL(owner, object, member, member_flags, member_doc)                                        \
    {.name   = #member,                                                                            \
     .type   = FIELD_OBJECTS,                                                                      \
     .preset = NONE,                                                                               \
     .max    = INT32_MAX,                                                                          \
     .sub    = &object##_table,                                                                    \
     EXPAND_MEMBER(owner, member, member_flags, member_doc)},

#include "proto/methods.def"
#include "proto/undef.h"

#undef NONE
#undef EXPAND_FLAGS_REQ
#undef EXPAND_FLAGS_REQ_POS
#undef EXPAND_FLAGS_OPT
#undef EXPAND_FLAGS_OPT_POS
#undef EXPAND_HAS_REQ
#undef EXPAND_HAS_REQ_POS
#undef EXPAND_HAS_OPT
#undef EXPAND_HAS_OPT_POS
#undef EXPAND_BEGIN
#undef EXPAND_END
#undef EXPAND_MEMBER
