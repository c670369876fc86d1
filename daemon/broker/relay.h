#pragma once
/*
 * relay: bytes between a stream and a local socket, both ways, as they are: without JSON, without
 * another thread, and without a timer while both sides are there. What can be read is read (up to
 * 64 KiB at once, so several TLS records) and written in one go; only what the other side does not
 * take at once is kept, and nothing more is read for it until that is gone. The end of one side is
 * carried on to the other as a half close.
 *
 * A peer that speaks TLS 1.2 cannot half close: the local end of file becomes close_notify and FIN,
 * and what the peer still sends is delivered (RFC 5246 section 7.2.1 lets it stop at once).
 *
 * Threads:   the loop's own only (asserted).
 * Ownership: relay_new/relay_free. It owns the local fd; the stream is borrowed, and whoever owns
 * it calls relay_on_ready() from its on_ready.
 * Errors:    -errno from relay_new(). How it ended is told by on_end.
 * Limits:    room->n_scratch bytes are kept for each direction at most, and as much in records on
 * their way out; none while nothing waits.
 */
#include "broker/socket.h"

struct relay;

enum relay_end {
    RELAY_DONE,       /* both sides have ended, all was passed on */
    RELAY_LOCAL_GONE, /* all that the local side had sent was passed on, and its end; nobody takes
                         what the peer may still send */
    RELAY_FAILED,     /* the stream has failed, stream_error() tells why; all that came was passed
                         on. Without bytes that it sent in vain the local side cannot tell this
                         from an orderly end. */
    RELAY_STUCK,      /* the local side is gone, and the peer has not taken any of what that had
                         sent for a whole close_timeout */
    RELAY_CUT,        /* the local side was cut off, or cannot be used any more: the peer must not
                         take that for an orderly end of what it was sent */
};

struct relay_setup {
    const struct socket_room *room;
    struct stream *stream;
    int local;         /* connected; made non-blocking, and taken when relay_new() has worked */
    const char *first; /* what was read from the stream already; copied */
    size_t n_first;
    bool down_ended; /* so was its end */
    bool up_ended;   /* sending to the stream was ended already */
    uint64_t *n_in;  /* counts what comes from the stream */
    uint64_t *n_out; /* … goes to it */
    /* called once, never by relay_new(); the relay may be freed in it */
    void (*on_end)(void *context, enum relay_end end);
    void *context;
};

NODISCARD int relay_new(struct relay **ret_relay, const struct relay_setup *setup);
/* When it is freed the local side shall see a reset, if it is TCP. NULL is fine. */
void relay_reset(struct relay *relay);
/* Closes the local fd; NULL is fine, returns NULL. */
struct relay *relay_free(struct relay *relay);
/* The stream is ready; may call on_end. */
void relay_on_ready(struct relay *relay, unsigned ready);
/* Has nobody the other end any more? To be asked in on_end. */
/* Was the peer's end there before the local side's? */
bool relay_peer_first(const struct relay *relay);
bool relay_is_alone(const struct relay *relay);
