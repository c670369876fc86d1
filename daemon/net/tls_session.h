#pragma once
/*
 * tls_session: the TLS sessions of a client that may be resumed, each under the key that says for
 * what. It is told the time and stores copies; what a session may be used for, and when it goes, is
 * decided here, and nowhere else.
 *
 * TLS 1.3 tickets are used once (RFC 8446 appendix C.4): taking one removes it. A TLS 1.2 session
 * is used until its end, and one for each key is enough.
 *
 * What is stored is a copy, and what is taken is one's own. A session inside an SSL is written to:
 * SSL_free() without close_notify makes it useless, for instance, and an aborted connection must
 * not do that to a ticket that others will use.
 *
 * Early data (0-RTT) is never sent, whatever a ticket allows: it can be replayed by who has
 * recorded it (RFC 8446 section 8), and the broker cannot know for which requests that would
 * matter.
 *
 * Threads:   any. One mutex, a leaf, for a look-up in memory; nothing is freed and nothing of
 * OpenSSL's but a reference count is touched while it is held.
 * Ownership: copies belong to the store; what is taken to the caller.
 * Errors:    only tls_sessions_new() has one, -ENOMEM. Whatever else finds no memory ends as a
 * session that is not there, which costs a full handshake.
 * Limits:    capacity sessions, BYTES_EACH for each of them on average; a quarter of that, and
 * KEY_MAX sessions, for one key, so that no server pushes out all others. The least recently used
 * goes.
 */
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/assert.h"

enum { TLS_SESSION_KEY_MAX = 64, TLS_SESSION_BYTES_EACH = 8192 };

/* A digest of all that must be the same: SSL_set_session_id_context() takes just as much. */
struct tls_session_key {
    unsigned char bytes[32];
};

struct tls_session_now {
    int64_t up_ms;  /* a clock that never jumps and does not stop while the machine sleeps */
    int64_t wall_s; /* the one that certificates are written in */
};
struct tls_session_now tls_session_now(void);

/* How long what was verified holds: of the handshake in which that was, and of all that it was
 * resumed by since. A chain of resumptions does not extend it. */
struct tls_session_terms {
    int64_t until_up_ms;     /* exclusive */
    int64_t from_s, until_s; /* wall clock, both inclusive */
};

struct tls_session_item {
    SSL_SESSION *session;
    struct tls_session_terms terms;
    const void *origin;  /* the connection that it came by; only compared */
    int64_t lifetime_ms; /* what the server grants it from now on */
    size_t n_bytes;      /* what it is accounted for */
    bool once;           /* TLS 1.3 */
};

struct tls_sessions;

NODISCARD int tls_sessions_new(struct tls_sessions **ret_sessions, size_t capacity);
struct tls_sessions *tls_sessions_free(struct tls_sessions *sessions);
/* Empty it, and let nothing in any more. */
void tls_sessions_close(struct tls_sessions *sessions);

/* Store a copy. Not if it is over, or too large. */
void tls_sessions_put(struct tls_sessions *sessions, const struct tls_session_key *key,
                      const struct tls_session_item *item, struct tls_session_now now);
/* The newest for the key, with its terms; NULL: none. SSL_SESSION_free() it. */
SSL_SESSION *tls_sessions_take(struct tls_sessions *sessions, const struct tls_session_key *key,
                               struct tls_session_now now, struct tls_session_terms *ret_terms);
/* Forget all of the key. */
void tls_sessions_drop(struct tls_sessions *sessions, const struct tls_session_key *key);
/* Forget those of the key that came by that connection, or have the session's id. NULL: nothing is
 * like it. An address may have belonged to another connection before: its sessions go too then. */
void tls_sessions_drop_like(struct tls_sessions *sessions, const struct tls_session_key *key,
                            const void *origin, const SSL_SESSION *session);

size_t tls_sessions_count(struct tls_sessions *sessions);
