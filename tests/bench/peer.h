#pragma once
/*
 * peer: a byte stream to the origin. The direct side makes it by itself, plain or with OpenSSL and
 * full verification; a descriptor that somebody else has connected is a plain one.
 *
 * Threads:   one at a time for each peer.
 * Ownership: peer_context() gives the SSL_CTX to the caller; peers borrow it.
 * Errors:    end the process.
 */
#include <openssl/ssl.h>
#include <stdint.h>

struct peer {
    int fd;
    SSL *ssl; /* NULL: plain */
};

/* A client's context: verification on, trusting ca_file and, when asked for, the system's store. */
SSL_CTX *peer_context(const char *ca_file, int system_store);

/* The same for connections that resume: what peers take from and leave in their slot. */
SSL_CTX *peer_context_resuming(const char *ca_file, int system_store);

/* context NULL: plain. With TLS the certificate must be good for the address. */
void peer_open(struct peer *peer, SSL_CTX *context, const char *address, uint16_t port);
/* context as made by peer_context_resuming(). The session in *session, if there is one, is used up,
 * since a ticket of TLS 1.3 is good for once; the peer's newest is put there, until it is closed.
 */
void peer_open_resuming(struct peer *peer, SSL_CTX *context, SSL_SESSION **session,
                        const char *address, uint16_t port);
/* Takes fd. */
void peer_wrap(struct peer *peer, int fd);
void peer_write(struct peer *peer, const char *data, size_t n);
void peer_read(struct peer *peer, char *data, size_t n);
void peer_close(struct peer *peer);
