#pragma once
/*
 * tls_internal: what the tls* files share and nobody else sees, for OpenSSL stays in them.
 *
 * Threads:   as tls_engine and trust.
 * Ownership: nothing of its own.
 */
#include <openssl/ssl.h>

#include "net/tls_engine.h"
#include "net/tls_gather.h"

struct tls_engine {
    SSL *ssl;
    bool verify;
    bool server;
    bool drained;       /* the last read found nothing complete */
    bool write_blocked; /* a record is half sent */
    bool notified;      /* close_notify is out */
    bool end_waits;     /* close_notify was found behind data */
    bool failed;
    bool ahead;                     /* the handshake reads by tls_ahead_set() */
    bool much;                      /* stream_expect_much() */
    struct tls_gather *gather;      /* the write BIO's, after the handshake; NULL: no memory */
    struct net_error *failure;      /* the failure, when it was found behind data */
    struct net_error *verify_error; /* where verification tells its failure, during a handshake */
    const unsigned char *alpn;      /* a server's, during a handshake; wire form, the best first */
    unsigned n_alpn;
};

SSL_CTX *trust_context(const struct trust *trust); /* borrowed */
/* Is a key of the chain pinned, or nothing pinned at all? */
bool trust_chain_pinned(const struct trust *trust, const STACK_OF(X509) * chain);
/* Show this identity. Returns 0, or -EINVAL: the profile's security level does not allow it. */
NODISCARD int identity_present(const struct identity *identity, SSL *ssl);

/* RFC 2253 text of a distinguished name, ASCII with escapes, cut where it does not fit. */
void tls_name_text(const X509_NAME *name, char *text, size_t n_text);
/* Fill *error from OpenSSL's error queue (emptied by this) after a call failed with SSL_ERROR_SSL
 * or SSL_ERROR_SYSCALL. stage: NET_STAGE_TLS or NET_STAGE_IO. */
void tls_error_fill(struct net_error *error, enum net_stage stage, int ssl_error, int sys_errno);

/* Read those bytes first, then the socket; takes *bytes. Returns 0 or -ENOMEM. */
NODISCARD int tls_ahead_set(SSL *ssl, int fd, char **bytes, size_t n);

/* ---- names ---- */

struct tls_name {
    char text[256];         /* A-labels without the dot of the root; "": none */
    struct address address; /* n_bytes 0: none */
};

/* Returns 0 with *ret_fault NULL, or why the name cannot be used; or -ENOMEM. */
NODISCARD int tls_name_parse(struct tls_name *ret_name, const char *server_name, bool verify,
                             const char **ret_fault);
/* What the certificate is for, "a.example, *.b.example, 192.0.2.1", as far as it fits. */
void tls_certificate_names(const X509 *certificate, char *buffer, size_t n_buffer);

/* ---- callbacks for OpenSSL ---- */

/* A server chooses among what the client offers (RFC 7301 section 3.2). */
int tls_choose_alpn(SSL *ssl, const unsigned char **ret_chosen, unsigned char *ret_n_chosen,
                    const unsigned char *offered, unsigned n_offered, void *unused);

/* trust: the struct trust of the context */
int tls_verify_chain(X509_STORE_CTX *store, void *trust);
int tls_verify_callback(int ok, X509_STORE_CTX *store);
