#pragma once
/*
 * net_fixture: what the tests of the net layer share: loops that run on the test's own thread,
 * a certificate authority made in memory, a TLS server on a thread.
 *
 * Threads: the test's, unless said otherwise. MUST() is for other threads: it ends the process.
 */
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "loop/loop.h"
#include "net/dial.h"
#include "net/stream.h"
#include "net/trust.h"

#define MUST(condition)                                                                            \
    ((condition)                                                                                   \
         ? (void)0                                                                                 \
         : (fprintf(stderr, "%s:%d: must hold: %s\n", __FILE__, __LINE__, #condition), abort()))

struct loop *fixture_loop(void); /* belongs to the calling thread, which pumps it */
void fixture_loop_free(struct loop *loop);
/* Run the loop until *done; ends the process after 20 s. */
void fixture_pump(struct loop *loop, const bool *done);
/* One iteration that does not wait. */
void fixture_spin(struct loop *loop);

/* Call body() in a child process that may change itself for good (limits, namespaces, filters): it
 * checks with MUST(), and ends after 20 s. Returns 0, FIXTURE_SKIPPED when body() gave that, or
 * else what went wrong. */
enum { FIXTURE_SKIPPED = 77 };
int fixture_child(int (*body)(void));

/* A listening socket on 127.0.0.1. */
int fixture_listen(struct address *ret_address, int backlog);
/* Two connected TCP sockets; a non-blocking, b blocking. */
void fixture_pair(int *ret_a, int *ret_b);
struct connection *fixture_connection(int fd);

struct fixture_ca {
    EVP_PKEY *key;
    X509 *certificate;
};
void fixture_ca_init(struct fixture_ca *ca, const char *name);
void fixture_ca_deinit(struct fixture_ca *ca);
EVP_PKEY *fixture_key(void);
/* names: as in subjectAltName: "DNS:localhost,IP:127.0.0.1"; days: from now, may be negative */
X509 *fixture_issue(const struct fixture_ca *ca, EVP_PKEY *key, const char *names, int days);
/* A new folder under /tmp with the certificate in it; fixture_remove() removes both. */
void fixture_folder(char path[64], const X509 *certificate);
void fixture_write(const char *folder, const char *name, const char *text);
void fixture_write_pem(const char *folder, const char *name, const X509 *certificate);
void fixture_remove(const char *path);
struct trust *fixture_trust(const char *folder);

/* A TLS server that accepts connections one after the other and calls serve() with each (after the
 * handshake, on its own thread). */
struct fixture_server {
    struct address address;
    int listener;
    SSL_CTX *context;
    pthread_t thread;
    void (*serve)(struct fixture_server *server, SSL *ssl, int fd);
    int n_connections; /* ends after so many */
};
void fixture_server_start(struct fixture_server *server, const struct fixture_ca *ca,
                          const char *names, int days, int max_version, int n_connections,
                          void (*serve)(struct fixture_server *server, SSL *ssl, int fd));
void fixture_server_join(struct fixture_server *server);

struct dialers *fixture_dialers(unsigned n_threads);
void fixture_dialers_free(struct dialers *dialers);
/* A job, and running one to its end; *dial stays the caller's. */
struct fixture_job {
    struct dial *dial;
    bool done;
    int n_done;
};
void fixture_job_init(struct fixture_job *job, struct loop *reply_to,
                      const struct address *addresses, size_t n, int64_t timeout_ms);
void fixture_job_secure(struct fixture_job *job, struct trust *trust, const char *server_name,
                        bool verify);
void fixture_job_post(struct fixture_job *job, struct dialers *dialers);
void fixture_job_run(struct fixture_job *job, struct dialers *dialers);
