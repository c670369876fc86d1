#pragma once
/*
 * tls_engine: one TLS session, as client or as server, on a connected, non-blocking socket: an SSL,
 * with every call classified. It does not wait and knows no loop.
 *
 * SIGPIPE must be ignored by the process: OpenSSL writes with write(2).
 *
 * Threads:   one at a time; it may move between calls, with everything it has buffered.
 * Ownership: the connection owns it and the fd; the trust snapshot and what the request points to
 * are needed until the handshake is over.
 * Errors:    TLS_E_*; -ENOMEM, and from tls_engine_new() -EINVAL. After TLS_E_FAILED *ret_error
 * tells why and nothing more must be called but tls_engine_free().
 * Limits:    as client, sessions are resumed as tls_session.h says: a ticket is taken from the
 * store of the snapshot in tls_engine_new(), and put there when it comes.
 */
#include "net/error.h"
#include "net/identity.h"
#include "net/stream.h"
#include "net/trust.h"

enum {
    TLS_E_WANT_READ = 1, /* again when the socket is readable */
    TLS_E_WANT_WRITE,    /* … writable */
    TLS_E_END,           /* close_notify was received */
    TLS_E_FAILED,
    TLS_E_IDENTITY, /* from tls_engine_new(): the security level does not allow the identity */
};

struct tls_request {
    bool server;    /* we are the server; server_name has no meaning then */
    bool verify;    /* the server's chain and name; as server: ask for a client's chain */
    bool anonymous; /* as server, verify: a client without a certificate is fine, too */
    bool min_tls13;
    bool explain; /* keep the chain for tls_engine_take_chain(); verify it also when unverified, and
                     tell in the handshake's error what would have been wrong, although it succeeds.
                     Needs a full handshake: who resumes a session is shown no certificates */
    bool hand_out; /* as client: let the kernel encrypt, if it and the profile allow that in both
                      directions; tls_engine_in_kernel() tells */
    const char *server_name;         /* name or address; may be "" when verify is false */
    const unsigned char *alpn;       /* wire form; to offer, or as server to choose from */
    size_t n_alpn;                   /* 0: what the trust profile says */
    const struct identity *identity; /* to show; NULL: none; a server must have one */
};

/* Whether a server name may be used for verification and SNI: an address, or what host names are
 * made of, not empty (but when unverified), without a leading dot, at most 253 bytes. Names in
 * UTF-8 are converted (IDNA 2008). Returns NULL, or why not. */
const char *tls_server_name_fault(const char *server_name, bool verify);

/* The new engine is in connection->tls; takes connection->ahead. */
NODISCARD int tls_engine_new(struct connection *connection, struct trust *trust,
                             const struct tls_request *request);
struct tls_engine *tls_engine_free(struct tls_engine *engine);

/* Returns 0 when it is complete (and verified, if that was asked for). */
NODISCARD int tls_engine_handshake(struct tls_engine *engine, struct net_error *ret_error);
/* Fills the buffer as far as that is possible without waiting. Returns 0 with *ret_n > 0. */
NODISCARD int tls_engine_read(struct tls_engine *engine, void *buffer, size_t n, size_t *ret_n,
                              struct net_error *ret_error);
/* Returns 0 with 0 < *ret_n <= n. After WANT_*, and after a part was taken, the next call must
 * begin with the bytes not taken and must not be shorter than what remained. */
NODISCARD int tls_engine_write(struct tls_engine *engine, const void *data, size_t n, size_t *ret_n,
                               struct net_error *ret_error);
/* Send close_notify. A record that is half sent must be finished first, by tls_engine_write(). */
NODISCARD int tls_engine_close_notify(struct tls_engine *engine, struct net_error *ret_error);
/* stream_expect_much() */
void tls_engine_expect_much(struct tls_engine *engine);
/* Another read is worth trying although the socket shows nothing. */
bool tls_engine_pending(const struct tls_engine *engine);
/* A record is half sent. */
bool tls_engine_write_blocked(const struct tls_engine *engine);
/* The kernel encrypts and decrypts, and nothing that came is here: the socket could be handed out.
 * That is TLS 1.2 with AES-GCM or ChaCha20-Poly1305; with TLS 1.3 the library would leave receiving
 * to itself, and the kernel could not change keys when the peer does, so there it is not even
 * tried. */
bool tls_engine_in_kernel(const struct tls_engine *engine);
bool tls_engine_can_half_close(const struct tls_engine *engine); /* TLS 1.3, RFC 8446 6.1 */

/* explain: the chain, when the server has shown one; the caller's, with free(). NULL: there is none
 * (any more). */
struct tls_chain *tls_engine_take_chain(struct tls_engine *engine);

/* Of a verified connection: the wall time (seconds since the epoch) at which the first certificate
 * of the chain ends, that of the session it was resumed from included. */
int64_t tls_engine_until(const struct tls_engine *engine);

/* What is known after the handshake; identity: what the request had, NULL: none. */
NODISCARD int tls_facts_new(struct tls_facts **ret_facts, const struct tls_engine *engine,
                            const struct identity *identity);
