/*
 * tls_kernel: the kernel encrypts and decrypts (Linux Documentation/networking/tls.rst), so that a
 * socket can be handed out. OpenSSL gives it the keys during the handshake, if it was allowed to.
 */
#include <errno.h>
#include <sys/socket.h>

#include "net/tls_internal.h"

/* Allowed when it is known that TLS 1.2 is spoken, and not before: with TLS 1.3 OpenSSL 3.0 would
 * let the kernel send, but not receive, which is of no use here, and keep the old keys there when
 * they are changed. That is soon enough, as no key is in use before the server has chosen. */
static void on_step(const SSL *ssl, int where, int result)
{
    const struct tls_engine *engine = SSL_get_app_data(ssl);

    (void)result;
    if (where != SSL_CB_CONNECT_LOOP)
        return;
    if (SSL_version(ssl) == TLS1_2_VERSION)
        SSL_set_options(engine->ssl, SSL_OP_ENABLE_KTLS);
    else
        SSL_clear_options(engine->ssl, SSL_OP_ENABLE_KTLS);
}

void tls_kernel_wish(struct tls_engine *engine)
{
    engine->kernel_wish = true;
    SSL_set_info_callback(engine->ssl, on_step);
    /* what is read ahead the kernel could not decrypt, nor who has the socket */
    SSL_set_read_ahead(engine->ssl, 0);
}

void tls_kernel_done(struct tls_engine *engine)
{
    engine->kernel_wish = false;
    engine->kernel_sends = BIO_get_ktls_send(SSL_get_wbio(engine->ssl));
    SSL_set_info_callback(engine->ssl, NULL);
    SSL_set_read_ahead(engine->ssl, 1); /* of no effect where the kernel decrypts */
}

bool tls_engine_in_kernel(const struct tls_engine *engine)
{
    return engine->kernel_sends && BIO_get_ktls_recv(SSL_get_rbio(engine->ssl)) &&
           !SSL_has_pending(engine->ssl) && !engine->failed && !engine->notified &&
           !engine->end_waits;
}

/* Without OpenSSL: of what the kernel did not take at once OpenSSL 3.0 keeps the caller's pointer,
 * also where SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER says that the bytes may have moved. */
int tls_kernel_write(struct tls_engine *engine, const void *data, size_t n, size_t *ret_n,
                     struct net_error *ret_error)
{
    ssize_t put;

    do
        put = send(SSL_get_wfd(engine->ssl), data, n, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (put < 0 && errno == EINTR);
    if (put >= 0) {
        *ret_n = (size_t)put;
        return 0;
    }
    if (errno == EAGAIN || errno == EWOULDBLOCK)
        return TLS_E_WANT_WRITE;
    engine->failed = true;
    *ret_error = (struct net_error){.stage = NET_STAGE_IO, .cause = NET_SYSTEM, .sys_errno = errno};
    tls_resume_failed(engine, NET_STAGE_IO, NET_SYSTEM);
    return TLS_E_FAILED;
}
