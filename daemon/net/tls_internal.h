#pragma once
/*
 * tls_internal: what the tls* files share and nobody else sees, for OpenSSL stays in them.
 *
 * Threads:   as tls_engine and trust.
 * Ownership: nothing of its own.
 */
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "net/tls_chain.h"
#include "net/tls_engine.h"
#include "net/tls_session.h"
#include "net/tls_gather.h"

struct tls_engine {
    SSL *ssl;
    bool verify;
    bool explain;
    bool server;
    bool anonymous;     /* as server: a client without a certificate is fine */
    bool drained;       /* the last read found nothing complete */
    bool write_blocked; /* a record is half sent */
    bool notified;      /* close_notify is out */
    bool end_waits;     /* close_notify was found behind data */
    bool asked;         /* a server has asked for our certificate */
    bool failed;
    bool kernel_wish;               /* during a handshake: the kernel shall encrypt if it can */
    bool kernel_sends;              /* it does what is sent */
    bool ahead;                     /* the handshake reads by tls_ahead_set() */
    bool much;                      /* stream_expect_much() */
    struct tls_gather *gather;      /* the write BIO's, after the handshake; NULL: no memory */
    struct net_error *failure;      /* the failure, when it was found behind data */
    struct net_error *verify_error; /* where verification tells its failure, during a handshake */
    const unsigned char *alpn;      /* a server's, during a handshake; wire form, the best first */
    unsigned n_alpn;
    struct tls_chain *chain;        /* explain: until it is taken */
    SSL_SESSION *offered;           /* for resumption, during a handshake */
    struct tls_session_terms terms; /* of sessions of this connection; all 0: they cannot be kept */
};

SSL_CTX *trust_context(const struct trust *trust); /* borrowed */
/* Is a key of the chain pinned, or nothing pinned at all? */
bool trust_chain_pinned(const struct trust *trust, const STACK_OF(X509) * chain);
/* Show this identity. Returns 0, -ENOMEM, or -EINVAL: the profile's security level does not allow
 * it. */
NODISCARD int identity_present(const struct identity *identity, SSL *ssl);

/* RFC 2253 text of a distinguished name, ASCII with escapes, cut where it does not fit. */
void tls_name_text(const X509_NAME *name, char *text, size_t n_text);
/* RFC 3339; "" when it is no time. */
void tls_time_text(const ASN1_TIME *time, char *text, size_t n_text);
void tls_sha256_text(const X509 *certificate, char text[65]);
/* What ALPN has agreed on, printable ASCII whatever the peer sent, or "". */
void tls_alpn_text(const SSL *ssl, char *text, size_t n_text);
/* Fill *error from OpenSSL's error queue (emptied by this) after a call failed with SSL_ERROR_SSL
 * or SSL_ERROR_SYSCALL. stage: NET_STAGE_TLS or NET_STAGE_IO. */
void tls_error_fill(struct net_error *error, const struct tls_engine *engine, enum net_stage stage,
                    int ssl_error, int sys_errno);

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
/* One of them, printable ASCII without blanks. Returns false for a kind that no server has. */
bool tls_general_name_text(const GENERAL_NAME *name, char *text, size_t n_text);

/* ---- callbacks for OpenSSL ---- */

/* A server chooses among what the client offers (RFC 7301 section 3.2). */
int tls_choose_alpn(SSL *ssl, const unsigned char **ret_chosen, unsigned char *ret_n_chosen,
                    const unsigned char *offered, unsigned n_offered, void *unused);

/* A server asks for a client certificate. */
int tls_on_certificate_asked(SSL *ssl, void *unused);
/* trust: the struct trust of the context */
int tls_verify_chain(X509_STORE_CTX *store, void *trust);
int tls_verify_callback(int ok, X509_STORE_CTX *store);
/* What was verified, well or not. */
NODISCARD int tls_chain_new(struct tls_chain **ret_chain, const SSL *ssl, X509_STORE_CTX *store);

/* ---- the kernel encrypts ---- */

/* Before a handshake; when it is complete; writing when engine->kernel_sends. */
void tls_kernel_wish(struct tls_engine *engine);
void tls_kernel_done(struct tls_engine *engine);
NODISCARD int tls_kernel_write(struct tls_engine *engine, const void *data, size_t n, size_t *ret_n,
                               struct net_error *ret_error);

/* ---- resumption ---- */

/* Give a context its store. capacity or time_ms 0: none, and no session is ever offered. */
NODISCARD int tls_resume_set_up(SSL_CTX *context, size_t capacity, int64_t time_ms);
/* No session is resumed after that time (wall clock), whatever else allows it: that of a revocation
 * list's nextUpdate, for instance. Before the context is shared. */
void tls_resume_bound(SSL_CTX *context, int64_t until_s);
/* No new connection is made with this context: empty its store. Those there are live on. */
void tls_resume_close(SSL_CTX *context);

/* Before a handshake: offer what is there for it. */
void tls_resume_offer(struct tls_engine *engine, const struct tls_request *request,
                      const struct tls_name *name, const struct address *remote);
/* Inside a full handshake, which has shown these; NULL: they were not looked at. */
void tls_resume_verified(struct tls_engine *engine, const STACK_OF(X509) * chain);
/* The handshake is complete. */
void tls_resume_done(struct tls_engine *engine);
/* It was not completed (NET_STAGE_TLS): nothing that is there for it is offered again. Or the
 * connection has failed later (NET_STAGE_IO): if TLS itself has, and not the network below, its
 * sessions are forgotten. */
void tls_resume_failed(struct tls_engine *engine, enum net_stage stage, enum net_cause cause);
