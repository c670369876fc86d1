#pragma once
/*
 * methods: what methods.def, errors.def and stats.def expand to for the daemon: ids, structs, tables.
 *
 * Threads:   any; constant data.
 * Ownership: static.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/fields.h"

/* C type of a member, by field type */
#define PROTO_CTYPE_BOOL    bool
#define PROTO_CTYPE_INT     int64_t
#define PROTO_CTYPE_MS      int64_t
#define PROTO_CTYPE_NUMBER  double
#define PROTO_CTYPE_STRING  const char *
#define PROTO_CTYPE_HOST    const char *
#define PROTO_CTYPE_PORT    const char *
#define PROTO_CTYPE_ENUM    int64_t
#define PROTO_CTYPE_TEXT    struct proto_bytes
#define PROTO_CTYPE_BASE64  struct proto_bytes
#define PROTO_CTYPE_THREAD  struct proto_thread
#define PROTO_CTYPE_ID      struct proto_id
#define PROTO_CTYPE_STRINGS struct proto_strings

/* optional members have a has_<name> before them */
#define PROTO_HAS_REQ(name)
#define PROTO_HAS_REQ_POS(name)
#define PROTO_HAS_OPT(name)     bool has_##name;
#define PROTO_HAS_OPT_POS(name) bool has_##name;

/* ---- structs: struct proto_<object>, struct proto_<method>_params, struct proto_<method>_result ---- */
/* unused_ keeps a struct without members legal C. */
#define OBJECT_BEGIN(object)                            struct proto_##object {
#define OBJECT_END(object)                              };
#define METHOD_BEGIN(ID, object, wire, traits, summary) struct proto_##object##_params { char unused_;
#define METHOD_RESULT(ID, object)                       }; struct proto_##object##_result { char unused_;
#define METHOD_END(ID, object)                          };
#define F_AS(owner, TYPE, name, wire, flags, preset, min, max, extra, doc) \
    PROTO_HAS_##flags(name) PROTO_CTYPE_##TYPE name;
#define FO(owner, object, name, flags, doc) PROTO_HAS_##flags(name) struct proto_##object name;
#define FL(owner, object, name, flags, doc) PROTO_HAS_##flags(name) struct proto_objects name;
#include "proto/methods.def"
#include "proto/undef.h"

/* ---- ids ---- */
enum method {
    METHOD_UNKNOWN = 0,
#include "proto/define_none.h"
#undef METHOD_BEGIN
#define METHOD_BEGIN(ID, object, wire, traits, summary) METHOD_##ID,
#include "proto/methods.def"
#include "proto/undef.h"
    METHOD_N
};

/* every params struct fits in here, and every result struct in the other */
union method_params {
#include "proto/define_none.h"
#undef METHOD_BEGIN
#define METHOD_BEGIN(ID, object, wire, traits, summary) struct proto_##object##_params object;
#include "proto/methods.def"
#include "proto/undef.h"
};

/* ---- tables ---- */
enum method_traits {
    METHOD_IMMEDIATE = 1 << 0, /* never waits */
    METHOD_ADMIN     = 1 << 1, /* root or an administrator only */
    METHOD_NEW       = 1 << 2, /* makes what lives on: refused while the broker drains */
};

struct method_info {
    const char *name; /* "TCPConnect" */
    unsigned traits;
    const struct field_table *params;
    const struct field_table *result;
    const char *summary;
};

/* METHOD_UNKNOWN has a name, "?", and no tables. */
extern const struct method_info method_infos[METHOD_N];
enum method method_by_name(const char *name);    /* exact; METHOD_UNKNOWN when there is none */
const char *method_nearest(const char *name);    /* one with a similar name, or NULL */

extern const struct field_table proto_error_object_table;
extern const struct field_table proto_event_table; /* params of the notification Broker.Event */

/* ---- errors ---- */
enum error_stage {
    STAGE_REQUEST,
    STAGE_POLICY,
    STAGE_RESOLVE,
    STAGE_CONNECT,
    STAGE_TLS,
    STAGE_IO,
    STAGE_BROKER,
    STAGE_N
};
const char *error_stage_name(enum error_stage stage); /* "request", ... */

/* WIRE_ECONNREFUSED, ...: an index into error_infos; its code is there */
enum wire_error {
    WIRE_NONE = 0,
#define ERROR(symbol, code, stage, retryable, text) WIRE_##symbol,
#include "proto/errors.def"
#undef ERROR
    WIRE_N
};

struct error_info {
    int32_t code;
    const char *symbol;
    enum error_stage stage;
    bool retryable;
    const char *text;
};
extern const struct error_info error_infos[WIRE_N];
const struct error_info *error_by_code(int64_t code); /* NULL: not ours */
