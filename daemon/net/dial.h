#pragma once
/*
 * dial: making connections, or making one secure. A struct dial is a job that travels: io thread ->
 * dial thread (racing the addresses by RFC 8305, TCP, TLS handshake, verification) -> io thread,
 * carrying a struct connection or a struct net_error back.
 *
 * Threads:   dialer_post() and dial_cancel(): any thread (dial_cancel() only by the one that posted
 * it and has not got it back). dialers_new/stop/free: control thread. What happens in between runs
 * on dial threads only. Ownership: the struct dial belongs to the dial thread from post to delivery
 * of its `done` mail, which comes exactly once, also when cancelled or when the dialers are
 * stopped. Its addresses are moved into it; the trust snapshot is a reference it holds. Errors: in
 * dial->error (cause NET_OK: dial->connection is set). Limits:    NET_ATTEMPTS_MAX addresses are
 * tried.
 */
#include "loop/loop.h"
#include "net/backoff.h"
#include "net/error.h"
#include "net/identity.h"
#include "net/stream.h"
#include "net/tcp_options.h"
#include "net/tls_chain.h"
#include "net/trust.h"

struct dialers;
struct dialer; /* one dial thread */

/* How connections are made. */
struct dial_settings {
    int64_t stagger_ms; /* RFC 8305 section 8: Connection Attempt Delay */
    struct tcp_options tcp;
    struct backoff_settings backoff;
    int nice; /* added to the threads' niceness, 0..19; counts for dialers_new() only */
};

struct dial {
    struct mail done; /* set done.deliver before posting */
    void *context;    /* the poster's */
    struct loop *reply_to;
    /* what to do */
    struct address *addresses; /* as the resolver gave them, port set, malloc()ed, owned */
    size_t n_addresses;
    int family;           /* AF_UNSPEC, AF_INET, AF_INET6: others are left out */
    struct address local; /* connect from here; n_bytes 0: any */
    int64_t deadline_us;  /* on loop_clock_us() */
    /* TLS, as in struct tls_request */
    bool secure, server, verify, anonymous, min_tls13;
    bool hand_out;
    bool explain; /* bring the chain along; tls_engine.h says what else it means */
    char
        server_name[256]; /* name or literal to verify and to send as SNI (literals are not sent) */
    unsigned char alpn[TRUST_ALPN_MAX]; /* wire form: length-prefixed names (RFC 7301 3.1) */
    size_t n_alpn;
    struct identity *identity; /* a reference, or NULL */
    bool own_settings;         /* else settings are the dialers' */
    struct dial_settings settings;
    struct trust *trust; /* a reference; secure only */
    /* for starting TLS on a connection that is there: nothing is dialled, the addresses are not
     * needed; owned, lost when the handshake fails */
    struct connection *upgrade;
    /* what came of it */
    struct connection *connection; /* owned; taken by the receiver */
    struct net_error error;
    struct tls_chain *chain; /* explain: owned; NULL: the server has shown none */
    int64_t connect_us, handshake_us;
    int64_t queue_us;   /* until a dial thread took it on; 0: none was needed */
    int64_t resolve_us; /* the poster's: how long the look-up took */
    bool pooled;        /* the poster's: nothing was dialled, the connection was there */
    /* inside */
    struct mail work; /* the way to the dial thread */
    struct mail cancel;
    struct dialer *dialer;
    int64_t posted_us;
    void *race;
    _Atomic int cancel_state;
};

NODISCARD int dialers_new(struct dialers **ret_dialers, unsigned n_threads,
                          const struct dial_settings *settings);
/* The loops, for the watchdog. */
size_t dialers_count(const struct dialers *dialers);
struct loop *dialers_loop(const struct dialers *dialers, size_t index);
/* Which destinations keep refusing; any thread. */
struct backoff *dialers_backoff(const struct dialers *dialers);
/* All running jobs come back cancelled; then the threads end and are joined. */
void dialers_stop(struct dialers *dialers);
struct dialers *dialers_free(struct dialers *dialers);

/* Takes *dial and nulls it. Cannot fail: whatever goes wrong comes back in the dial. */
void dialer_post(struct dialers *dialers, struct dial **dial);
/* Ask for a job to be given up. It comes back through `done` soon, with NET_CANCELLED unless it was
 * finished already. */
void dial_cancel(struct dial *dial);
struct dial *
dial_free(struct dial *dial); /* closes a connection nobody took, drops the reference */
