#pragma once
/*
 * fields: what a JSON object looks like as a C struct, as a table, and the two functions that go
 * between them.
 *
 * One table serves both directions: the daemon reads params and writes results with it, the library
 * writes params and reads results. The tables are expanded from methods.def (proto/methods.h; the
 * library expands them once more over the structs of <tcpbroker.h>).
 *
 * Threads:   any; no shared state.
 * Ownership: what fields_read() puts into a struct points into the JSON tree (or its arena) and
 * lives as long as that. Errors:    FIELDS_E_INVALID with the details in struct field_fault; < 0
 * -errno (-ENOMEM). Limits:    as the table says.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/writer.h"

struct json;
struct json_arena;

enum { FIELDS_MAX = 256 }; /* members of a table */

enum {
    FIELDS_E_INVALID =
        1, /* a member is missing, unknown or wrong; struct field_fault tells which */
};

/* C type of the struct member in brackets. */
enum field_type {
    FIELD_BOOL,    /* [bool] */
    FIELD_INT,     /* [int64_t] min..max */
    FIELD_MS,      /* [int64_t] milliseconds, min..max */
    FIELD_NUMBER,  /* [double] */
    FIELD_STRING,  /* [const char *] NUL-terminated, min..max bytes, no NUL inside */
    FIELD_HOST,    /* [const char *] the same; never empty, no leading dot, no blank or control
                      character */
    FIELD_PORT,    /* [const char *] decimal number min..max, or a service name of 1..64 bytes;
                      integers are accepted */
    FIELD_ENUM,    /* [int64_t] index into the words of extra */
    FIELD_TEXT,    /* [struct proto_bytes] text of min..max bytes; JSON string on the wire */
    FIELD_BASE64,  /* [struct proto_bytes] bytes; base64 on the wire (RFC 4648 section 4, padded,
                      strict) */
    FIELD_THREAD,  /* [struct proto_thread] string of 1..64 bytes or an integer */
    FIELD_ID,      /* [struct proto_id] string, integer or null */
    FIELD_STRINGS, /* [struct proto_strings] min..max items */
    FIELD_OBJECT,  /* [the sub struct itself] */
    FIELD_OBJECTS, /* [struct proto_objects] array of sub structs */
};

struct proto_bytes {
    const char *data;
    size_t n_bytes;
};

struct proto_strings {
    const char *const *items;
    size_t n_items;
};

struct proto_objects {
    const void *items; /* n_items structs of the field's sub table */
    size_t n_items;
};

/* A thread label. text != NULL: that string; text == NULL: the integer. */
struct proto_thread {
    const char *text;
    int64_t number;
};

enum proto_id_kind { PROTO_ID_ABSENT = 0, PROTO_ID_NULL, PROTO_ID_INTEGER, PROTO_ID_STRING };

/* A JSON-RPC id. Integers are exact within +-2^53; others are refused, as they could not be echoed
 * unchanged. */
struct proto_id {
    enum proto_id_kind kind;
    int64_t number;
    const char *text; /* PROTO_ID_STRING */
};

enum field_flags {
    FIELD_REQUIRED = 1 << 0,
    FIELD_OPTIONAL = 1 << 1, /* the struct has a bool has_<name> */
    FIELD_POSITIONAL = 1 << 2,
};

#define FIELD_NO_PRESET INT64_MIN

struct field_table;

struct field {
    const char *name; /* on the wire */
    enum field_type type;
    unsigned flags;
    size_t offset;     /* of the member */
    size_t has_offset; /* of has_<name>; SIZE_MAX for required members */
    int64_t preset; /* value of an absent optional BOOL, INT, MS or ENUM; FIELD_NO_PRESET: none */
    int64_t min, max;
    const char *extra;             /* words of an ENUM, else an alias of name, or NULL */
    const struct field_table *sub; /* OBJECT, OBJECTS */
    const char *doc;
};

struct field_table {
    const char *name; /* "tcp_connect_params" */
    size_t size;      /* of the struct */
    const struct field *fields;
    size_t n_fields;
};

/* What was wrong with which member. The texts live as long as the JSON tree and the table. */
struct field_fault {
    char param[128]; /* the member as the client wrote it (cut when longer), or as the table has it
                        when missing */
    char expected[256]; /* "integer 1..65535 or a service name", "no such member; did you mean
                           timeout_ms?" */
};

enum fields_mode {
    FIELDS_STRICT,  /* unknown members are refused; arrays are accepted by position */
    FIELDS_LENIENT, /* unknown members are ignored (results may grow) */
};

/*
 * Fill *target (table->size bytes, cleared first) from value: an object, an array (STRICT: by
 * position), or NULL (absent, the same as an empty object). Absent optional members with a preset
 * get it (has_<name> stays false). Memory that the struct needs beside the tree (lists, decoded
 * base64) comes from arena. Returns 0, FIELDS_E_INVALID (fault filled) or -ENOMEM.
 */
__attribute__((warn_unused_result)) int fields_read(const struct field_table *table,
                                                    const struct json *value,
                                                    struct json_arena *arena, enum fields_mode mode,
                                                    void *target, struct field_fault *fault);

/* Write the struct as a JSON object. Absent optional members are left out. Errors are the writer's
 * (sticky). */
void fields_write(const struct field_table *table, const void *source, struct writer *writer);

/* "integer 1..65535", "boolean", ... : what a member may be, in words; the same in errors,
 * documents and help. */
void field_describe(const struct field *field, char *text, size_t n_text);

/* The nearest name to word among the table's members and their aliases, or NULL when none is near.
 */
const char *fields_nearest(const struct field_table *table, const char *word);
