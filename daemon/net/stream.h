#pragma once
/*
 * stream: a connected byte stream on one loop, plain or TLS, behind one table of functions. Reading
 * and writing are tried at once, on the caller's buffers, without queues; when they would block the
 * caller asks to be told.
 *
 * A struct connection is the same thing at rest, plain data that may be posted to another thread:
 * stream_export() and stream_import() are the only way from one loop to another.
 *
 * Threads:   a stream on its loop's thread (asserted); a connection by whoever holds it.
 * Ownership: stream_import() takes *connection and nulls it; stream_export() takes *stream and
 * nulls it. The fd and the TLS state belong to the stream or connection. Errors:    STREAM_E_*;
 * after STREAM_E_FAILED stream_error() tells why (sys_errno or TLS), and every later call says the
 * same.
 */
#include <stdbool.h>
#include <stddef.h>
#include <sys/uio.h>

#include "loop/loop.h"
#include "net/address.h"
#include "net/error.h"

enum {
    STREAM_E_AGAIN = 1,     /* would block: stream_interest(), then wait for on_ready */
    STREAM_E_END,           /* reading: the peer's orderly end (FIN; close_notify with TLS) */
    STREAM_E_FAILED,        /* stream_error() */
    STREAM_E_NO_HALF_CLOSE, /* stream_shutdown(): not possible on this TLS version (1.2) */
};

/* What is known of a TLS session after its handshake. Freed with free(). */
struct tls_facts {
    bool verified;
    bool resumed;
    bool has_peer;
    const char *version;
    const char *cipher;
    const char *alpn;        /* "": none; printable ASCII, whatever the peer sent */
    const char *server_name; /* "": none sent */
    const char *subject;     /* these four: "" without has_peer */
    const char *issuer;
    const char *not_after; /* RFC 3339 */
    const char *sha256;
    const char *identity; /* the name of what we had to show; "": nothing */
    char texts[];         /* all of the above: one allocation, no larger than it must be */
};

struct tls_engine; /* net/tls_engine.h: an SSL, after its handshake */

struct connection {
    int fd; /* connected, non-blocking, close-on-exec */
    struct address local, remote;
    struct tls_engine *tls;  /* NULL: plain */
    struct tls_facts *facts; /* NULL: plain */
    char *ahead;             /* on the way to a handshake as server: what was read already; owned */
    size_t n_ahead;
};
struct connection *
connection_free(struct connection *connection); /* closes the fd; no close_notify */

struct stream;
enum stream_ready { STREAM_READABLE = 1, STREAM_WRITABLE = 2 }; /* bits */

/* on_ready: what was asked for by stream_interest() is possible now (or has failed: the call then
 * tells). */
NODISCARD int stream_import(struct stream **ret_stream, struct connection **connection,
                            struct loop *loop, void (*on_ready)(void *context, unsigned ready),
                            void *context);
NODISCARD int stream_export(struct stream **stream, struct connection **ret_connection);
/* Close the fd now. graceful: TLS sends close_notify if that is possible without waiting. NULL is
 * fine, returns NULL. With bytes unread (TLS 1.3 session tickets are some) the kernel sends RST and
 * what the peer has not read yet is lost: use stream_finish(), then read to the end, when it
 * counts.
 */
struct stream *stream_free(struct stream *stream, bool graceful);
/* The same with a reset: the peer sees RST (SO_LINGER 0). */
struct stream *stream_abort(struct stream *stream);

/* Read up to n bytes. Returns 0 with *ret_n > 0, or STREAM_E_AGAIN, STREAM_E_END, STREAM_E_FAILED.
 */
NODISCARD int stream_read(struct stream *stream, void *buffer, size_t n, size_t *ret_n);
/* TLS may hold decrypted or undecrypted bytes that the socket does not show any more: true when
 * another read is worth trying although nothing is readable; so it may be right after a dial. After
 * AGAIN it is false; after a read that returned less than asked it is false too, unless an end or a
 * failure was found behind the data. stream_interest(READABLE) while it is true, and a short read
 * that leaves it true, bring on_ready. */
bool stream_pending(const struct stream *stream);
/* Has the peer sent something that was not read yet? Plain streams only. 0: bytes; STREAM_E_AGAIN:
 * nothing; STREAM_E_END: its end. Nothing is taken, and an error is left for the next call. */
NODISCARD int stream_peek(const struct stream *stream);
/* Write up to n bytes; *ret_n may be less than n. Returns 0 with *ret_n > 0, or STREAM_E_AGAIN
 * (*ret_n 0), STREAM_E_FAILED. After a write on TLS that took less than n, the next one must begin
 * with the bytes not taken (they may have moved) and be no shorter; until all is taken, shutdown,
 * finish and export are not possible, reading and freeing are. */
NODISCARD int stream_write(struct stream *stream, const void *data, size_t n, size_t *ret_n);
/* How many bytes of what was written (of TLS: as they are on the wire) the peer's system has not
 * taken yet. */
size_t stream_unacknowledged(const struct stream *stream);
/* End sending: FIN; with TLS 1.3 close_notify (and no FIN). Returns 0, STREAM_E_AGAIN,
 * STREAM_E_NO_HALF_CLOSE, STREAM_E_FAILED. */
NODISCARD int stream_shutdown(struct stream *stream);
/* Complete end of sending, before the stream is read to its end and closed: close_notify (any
 * version), then FIN. Returns 0, STREAM_E_AGAIN or STREAM_E_FAILED. */
NODISCARD int stream_finish(struct stream *stream);

/* Many bytes are to pass through: TLS reads and writes several records at a time from now on. */
void stream_expect_much(struct stream *stream);

/* What to wait for: bits of stream_ready; 0: nothing. Level-triggered; cheap when nothing changes.
 * Returns 0 or -errno. */
NODISCARD int stream_interest(struct stream *stream, unsigned ready);

const struct net_error *
stream_error(const struct stream *stream); /* stage, cause, sys_errno, library, alert */
/* What goes through its socket is what is read and written here: it is plain, or TLS that the
 * kernel speaks, and nothing was read ahead. */
bool stream_bare(const struct stream *stream);
/* The descriptor, which stays the stream's: for a second one of the same socket, or shutdown(2). */
int stream_fd(const struct stream *stream);
const struct address *stream_local(const struct stream *stream);
const struct address *stream_remote(const struct stream *stream);
const struct tls_facts *stream_tls(const struct stream *stream); /* NULL: plain */
