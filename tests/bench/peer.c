#include "bench/peer.h"

#include "bench/common.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <unistd.h>

__attribute__((noreturn)) static void die_tls(const char *what)
{
    char text[256];
    ERR_error_string_n(ERR_get_error(), text, sizeof text);
    bench_die("%s: %s", what, text);
}

SSL_CTX *peer_context(const char *ca_file, int system_store)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    if (context == NULL || SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) != 1 ||
        SSL_CTX_load_verify_file(context, ca_file) != 1 ||
        (system_store && SSL_CTX_set_default_verify_paths(context) != 1))
        die_tls("SSL_CTX");
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    return context;
}

static int keep_session(SSL *ssl, SSL_SESSION *session)
{
    SSL_SESSION **slot = SSL_get_app_data(ssl);
    SSL_SESSION_free(*slot);
    *slot = session;
    return 1;
}

SSL_CTX *peer_context_resuming(const char *ca_file, int system_store)
{
    SSL_CTX *context = peer_context(ca_file, system_store);
    SSL_CTX_set_session_cache_mode(context,
                                   SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL_STORE);
    SSL_CTX_sess_set_new_cb(context, keep_session);
    return context;
}

void peer_open(struct peer *peer, SSL_CTX *context, const char *address, uint16_t port)
{
    peer_open_resuming(peer, context, NULL, address, port);
}

void peer_open_resuming(struct peer *peer, SSL_CTX *context, SSL_SESSION **session,
                        const char *address, uint16_t port)
{
    *peer = (struct peer){.fd = bench_dial(address, port)};
    if (context == NULL)
        return;
    peer->ssl = SSL_new(context);
    if (peer->ssl == NULL || SSL_set_fd(peer->ssl, peer->fd) != 1 ||
        X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(peer->ssl), address) != 1)
        die_tls("SSL_new");
    if (session != NULL) {
        SSL_set_app_data(peer->ssl, session);
        if (*session != NULL && SSL_set_session(peer->ssl, *session) != 1)
            die_tls("SSL_set_session");
        SSL_SESSION_free(*session);
        *session = NULL;
    }
    if (SSL_connect(peer->ssl) != 1)
        die_tls("TLS connect");
}

void peer_wrap(struct peer *peer, int fd)
{
    *peer = (struct peer){.fd = fd};
}

void peer_write(struct peer *peer, const char *data, size_t n)
{
    if (peer->ssl == NULL)
        bench_write(peer->fd, data, n);
    else if (SSL_write(peer->ssl, data, (int)n) != (int)n)
        die_tls("SSL_write");
}

void peer_read(struct peer *peer, char *data, size_t n)
{
    if (peer->ssl == NULL) {
        bench_read(peer->fd, data, n);
        return;
    }
    while (n > 0) {
        int got = SSL_read(peer->ssl, data, (int)n);
        if (got <= 0)
            die_tls("SSL_read");
        data += got;
        n -= (size_t)got;
    }
}

void peer_close(struct peer *peer)
{
    /* Without this OpenSSL takes the connection for broken, and its session is never resumed. */
    if (peer->ssl != NULL)
        SSL_set_shutdown(peer->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(peer->ssl);
    close(peer->fd);
    *peer = (struct peer){.fd = -1};
}
