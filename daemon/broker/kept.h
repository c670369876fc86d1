#pragma once
/*
 * kept: what outlives the process: durable sessions and their sockets as plain values, and these as
 * bytes. The bytes are read by the next daemon, which may be an older or a newer one, so they begin
 * with a version and end with a checksum; descriptors travel beside them and are found by number.
 *
 * Layout, in the host's byte order (it never leaves the host): 8 bytes magic, u32 version, u32 0,
 * u64 length of the body, u64 checksum of the body (FNV-1a), the body: u32 next number, u64 next
 * session, records that begin with their tag, and a zero.
 *
 * Threads:   any; values.
 * Ownership: a struct kept owns its records, a record its strings, bytes and descriptor.
 * Errors:    KEPT_E_*; -ENOMEM. A decoder that refuses has made nothing.
 * Limits:    a socket without bytes read ahead takes KEPT_SOCKET_MAX bytes at most.
 */
#include "broker/session.h"
#include "proto/writer.h"

enum {
    KEPT_E_FORMAT = 1, /* not ours, cut off, or damaged */
    KEPT_E_VERSION,    /* of another version */
};
enum { KEPT_VERSION = 1, KEPT_HOSTNAME_MAX = 255, KEPT_WHY_MAX = 127 };
/* Encoded alone. */
enum { KEPT_SOCKET_MAX = 768 };

enum kept_kind {
    KEPT_UNBOUND = 1,
    KEPT_BOUND,
    KEPT_LISTENING,
    KEPT_OPEN,
    KEPT_LOST, /* it is there to tell why it is lost */
};

struct keep_item;

struct kept_socket {
    struct list link; /* kept->sockets, or session->sockets */
    uint32_t number;
    uint64_t session;
    enum kept_kind kind;
    int family;
    bool shut, ended, non_blocking;
    struct label owner;
    char *hostname; /* NULL: none */
    struct address local, remote;
    uint64_t bytes_in, bytes_out;
    int64_t born_us; /* of the monotonic clock, which goes on while the host runs */
    int lost_errno;
    char why[KEPT_WHY_MAX + 1]; /* LOST: in words */
    char *ahead;                /* read, not yet taken */
    size_t n_ahead;
    /* not encoded */
    int fd;                 /* -1: none */
    bool stored;            /* the store has it already */
    struct keep_item *item; /* broker/keep.h; NULL: none */
};

struct kept_session {
    struct list link;
    uint64_t id;
    uid_t uid;
    gid_t gid;
    pid_t pid;
    int64_t lease_ms;
    struct session_deadlines deadlines;
    struct token token;
    struct list sockets; /* after kept_group() */
};

struct kept {
    uint32_t next_number;
    uint64_t next_session;
    struct list sessions, sockets;
};

void kept_init(struct kept *kept);
void kept_deinit(struct kept *kept);
/* Closes its descriptor. NULL is fine, returns NULL. */
struct kept_socket *kept_socket_free(struct kept_socket *socket);
struct kept_session *kept_session_free(struct kept_session *session);

/* Append; writer_failed() tells when memory ran out. */
void kept_encode(const struct kept *kept, struct writer *writer);
/* Add what the bytes tell; the next numbers only grow. Returns 0, KEPT_E_* or -ENOMEM. */
NODISCARD int kept_decode(struct kept *kept, const void *bytes, size_t n);
/* Put each socket under its session. Those left in kept->sockets have none, or their number is
 * another one's too; of twins among the sessions the second one is freed. Returns 0 or -ENOMEM. */
NODISCARD int kept_group(struct kept *kept);
