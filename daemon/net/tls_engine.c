#include "net/tls_internal.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    RECORD_MAX = SSL3_RT_MAX_PLAIN_LENGTH + SSL3_RT_MAX_ENCRYPTED_OVERHEAD + SSL3_RT_HEADER_LENGTH,
    MUCH_RECORDS = 4, /* read at a time when much is expected */
};

/* An address is only ever compared with iPAddress entries, and never sent. */
static int set_name(struct tls_engine *engine, const struct tls_name *name)
{
    X509_VERIFY_PARAM *param = SSL_get0_param(engine->ssl);

    if (name->address.n_bytes) {
        const struct address *address = &name->address;
        int r = address_family(address) == AF_INET
                    ? X509_VERIFY_PARAM_set1_ip(param, (const void *)&address->v4.sin_addr, 4)
                    : X509_VERIFY_PARAM_set1_ip(param, (const void *)&address->v6.sin6_addr, 16);
        return r == 1 ? 0 : -ENOMEM;
    }
    if (!name->text[0])
        return 0; /* not to be verified */
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS |
                                               X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
    if (X509_VERIFY_PARAM_set1_host(param, name->text, 0) != 1 ||
        SSL_set_tlsext_host_name(engine->ssl, name->text) != 1)
        return -ENOMEM;
    return 0;
}

static bool alpn_sound(const unsigned char *alpn, size_t n_alpn)
{
    if (n_alpn > UINT16_MAX)
        return false;
    for (size_t i = 0; i < n_alpn; i += 1u + alpn[i])
        if (alpn[i] == 0 || alpn[i] >= n_alpn - i)
            return false;
    return true;
}

static int set_alpn(struct tls_engine *engine, const struct trust *trust,
                    const struct tls_request *request)
{
    const unsigned char *alpn = request->alpn;
    size_t n_alpn = request->n_alpn;

    if (n_alpn == 0)
        alpn = trust_alpn(trust, &n_alpn);
    if (n_alpn == 0)
        return 0;
    if (!alpn_sound(alpn, n_alpn))
        return -EINVAL;
    if (engine->server) {
        engine->alpn = alpn;
        engine->n_alpn = (unsigned)n_alpn;
        return 0;
    }
    /* unlike the rest of OpenSSL: 0 is success */
    return SSL_set_alpn_protos(engine->ssl, alpn, (unsigned)n_alpn) == 0 ? 0 : -ENOMEM;
}

int tls_choose_alpn(SSL *ssl, const unsigned char **ret_chosen, unsigned char *ret_n_chosen,
                    const unsigned char *offered, unsigned n_offered, void *unused)
{
    const struct tls_engine *engine = SSL_get_app_data(ssl);
    unsigned char *chosen = NULL;

    (void)unused;
    if (engine->n_alpn == 0)
        return SSL_TLSEXT_ERR_NOACK;
    if (SSL_select_next_proto(&chosen, ret_n_chosen, engine->alpn, engine->n_alpn, offered,
                              n_offered) != OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL; /* no_application_protocol */
    *ret_chosen = chosen;
    return SSL_TLSEXT_ERR_OK;
}

/* What is shown was set before; without an identity, nothing is. */
int tls_on_certificate_asked(SSL *ssl, void *unused)
{
    struct tls_engine *engine = SSL_get_app_data(ssl);
    (void)unused;
    engine->asked = true;
    return 1;
}

static int set_client(struct tls_engine *engine, const struct tls_request *request,
                      const struct address *remote)
{
    struct tls_name name;
    const char *fault;
    int r = tls_name_parse(&name, request->server_name, request->verify, &fault);

    if (r || fault)
        return r ? r : -EINVAL;
    SSL_set_verify(engine->ssl, request->verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE,
                   tls_verify_callback);
    SSL_set_connect_state(engine->ssl);
    r = set_name(engine, &name);
    if (r == 0 && !request->explain) /* a resumed session shows no chain */
        tls_resume_offer(engine, request, &name, remote);
    return r;
}

/* Sessions are not resumed: each client shows anew who it is, and no ticket key has to be kept. */
static int set_server(struct tls_engine *engine, const struct tls_request *request)
{
    SSL *ssl = engine->ssl;
    int mode = SSL_VERIFY_NONE;

    if (request->verify)
        mode = SSL_VERIFY_PEER | (request->anonymous ? 0 : SSL_VERIFY_FAIL_IF_NO_PEER_CERT);
    SSL_set_verify(ssl, mode, tls_verify_callback);
    SSL_set_options(ssl, SSL_OP_NO_TICKET);
    SSL_set_accept_state(ssl);
    return SSL_set_num_tickets(ssl, 0) == 1 ? 0 : -ENOMEM;
}

static int set_socket(struct tls_engine *engine, struct connection *connection)
{
    if (SSL_set_fd(engine->ssl, connection->fd) != 1)
        return -ENOMEM;
    if (!connection->ahead)
        return 0;
    engine->ahead = true;
    return tls_ahead_set(engine->ssl, connection->fd, &connection->ahead, connection->n_ahead);
}

static int set_up(struct tls_engine *engine, const struct trust *trust,
                  const struct tls_request *request, struct connection *connection)
{
    SSL *ssl = engine->ssl;

    if (SSL_set_app_data(ssl, engine) != 1)
        return -ENOMEM; /* what is called back would not find it */
    if (request->hand_out && !engine->server && trust_ktls(trust))
        tls_kernel_wish(engine);
    if (request->min_tls13 && SSL_set_min_proto_version(ssl, TLS1_3_VERSION) != 1)
        return -EINVAL;
    int r = engine->server ? set_server(engine, request)
                           : set_client(engine, request, &connection->remote);
    if (r == 0)
        r = set_alpn(engine, trust, request);
    if (r)
        return r;
    r = request->identity ? identity_present(request->identity, ssl) : 0;
    if (r)
        return r == -EINVAL ? TLS_E_IDENTITY : r;
    return set_socket(engine, connection);
}

int tls_engine_new(struct connection *connection, struct trust *trust,
                   const struct tls_request *request)
{
    ASSERT(!connection->tls && (request->identity || !request->server));
    struct tls_engine *engine = calloc(1, sizeof(*engine));
    if (!engine)
        return -ENOMEM;
    engine->verify = request->verify;
    engine->explain = request->explain;
    engine->server = request->server;
    engine->anonymous = request->anonymous;
    engine->ssl = SSL_new(trust_context(trust));
    int r = engine->ssl ? set_up(engine, trust, request, connection) : -ENOMEM;
    ERR_clear_error();
    if (r) {
        tls_engine_free(engine);
        return r;
    }
    connection->tls = engine;
    return 0;
}

struct tls_engine *tls_engine_free(struct tls_engine *engine)
{
    if (!engine)
        return NULL;
    if (engine->offered) /* given up half-way: the peer may have hung because of it */
        tls_resume_failed(engine, NET_STAGE_TLS, NET_CANCELLED);
    SSL_free(engine->ssl); /* the fd is not its own (BIO_NOCLOSE) */
    free(engine->failure);
    free(engine->chain);
    free(engine);
    return NULL;
}

struct tls_chain *tls_engine_take_chain(struct tls_engine *engine)
{
    struct tls_chain *chain = engine->chain;
    engine->chain = NULL;
    return chain;
}

/* What the return value of an SSL call means. errno must be as the call left it. */
static int classify(struct tls_engine *engine, int r, enum net_stage stage,
                    struct net_error *ret_error)
{
    int sys_errno = errno, ssl_error = SSL_get_error(engine->ssl, r);

    switch (ssl_error) {
    case SSL_ERROR_NONE:
        return 0;
    case SSL_ERROR_WANT_READ:
        return TLS_E_WANT_READ;
    case SSL_ERROR_WANT_WRITE:
        return TLS_E_WANT_WRITE;
    case SSL_ERROR_ZERO_RETURN:
        if (stage == NET_STAGE_IO)
            return TLS_E_END;
        sys_errno = 0;
        break;
    default:
        break;
    }
    engine->failed = true;
    tls_error_fill(ret_error, engine, stage, ssl_error, sys_errno);
    tls_resume_failed(engine, stage, ret_error->cause);
    return TLS_E_FAILED;
}

static void before_call(void)
{
    ERR_clear_error();
    errno = 0;
}

/* A failure that was found behind data already given out, or once more the one already told. */
static int fail_again(const struct tls_engine *engine, struct net_error *ret_error)
{
    if (engine->failure)
        *ret_error = *engine->failure;
    else
        *ret_error =
            (struct net_error){.stage = NET_STAGE_IO, .cause = NET_SYSTEM, .sys_errno = ENOMEM};
    return TLS_E_FAILED;
}

/* OpenSSL verifies what it is shown, and there are handshakes in which nothing is: anonymous
 * ciphers. What must not be is looked for here once more, whatever has led to it. */
static bool is_proven(const struct tls_engine *engine, struct net_error *ret_error)
{
    X509 *peer = SSL_get1_peer_certificate(engine->ssl);
    bool shown = peer != NULL;
    long verdict = SSL_get_verify_result(engine->ssl);

    X509_free(peer);
    if (!engine->verify || (shown && verdict == X509_V_OK) ||
        (!shown && engine->server && engine->anonymous))
        return true;
    ret_error->stage = NET_STAGE_TLS;
    ret_error->cause = NET_TLS_VERIFY;
    ret_error->verify_code = shown ? verdict : X509_V_ERR_UNSPECIFIED;
    ret_error->verify_depth = 0;
    ret_error->of_client = engine->server;
    snprintf(ret_error->verify_text, sizeof(ret_error->verify_text), "%s",
             shown ? X509_verify_cert_error_string(verdict) : "no certificate was shown");
    return false;
}

int tls_engine_handshake(struct tls_engine *engine, struct net_error *ret_error)
{
    ASSERT(!engine->failed);
    before_call();
    engine->verify_error = ret_error;
    int r = classify(engine, SSL_do_handshake(engine->ssl), NET_STAGE_TLS, ret_error);
    engine->verify_error = NULL;
    /* a peer's last words of a handshake answer ours, so what was read before them is used up */
    if (r == 0 && engine->ahead && SSL_set_rfd(engine->ssl, SSL_get_wfd(engine->ssl)) != 1) {
        engine->failed = true;
        *ret_error =
            (struct net_error){.stage = NET_STAGE_TLS, .cause = NET_SYSTEM, .sys_errno = ENOMEM};
        return TLS_E_FAILED;
    }
    if (r == 0 && !is_proven(engine, ret_error)) {
        engine->failed = true;
        tls_resume_failed(engine, NET_STAGE_TLS, NET_TLS_VERIFY);
        return TLS_E_FAILED;
    }
    if (r == 0 && engine->kernel_wish)
        tls_kernel_done(engine);
    if (r == 0)
        tls_resume_done(engine);
    /* without memory for it OpenSSL writes to the socket by itself; so does the kernel */
    if (r == 0 && !engine->kernel_sends &&
        tls_gather_new(&engine->gather, engine->ssl, SSL_get_wfd(engine->ssl)) != 0)
        engine->gather = NULL;
    return r;
}

int tls_engine_read(struct tls_engine *engine, void *buffer, size_t n, size_t *ret_n,
                    struct net_error *ret_error)
{
    size_t filled = 0, got;
    int r = 0;

    if (engine->failed)
        return fail_again(engine, ret_error);
    /* SSL_read() gives one record at most; what read-ahead has fetched beyond it comes along, so
     * that a short read means that no data is left */
    do {
        before_call();
        r = classify(engine, SSL_read_ex(engine->ssl, (char *)buffer + filled, n - filled, &got),
                     NET_STAGE_IO, ret_error);
        if (r == 0)
            filled += got;
    } while (r == 0 && filled < n && SSL_has_pending(engine->ssl));
    engine->drained = r != 0;
    engine->end_waits = r == TLS_E_END && filled > 0;
    if (filled == 0)
        return r;
    if (r == TLS_E_FAILED) {
        engine->failure = malloc(sizeof(*engine->failure));
        if (engine->failure)
            *engine->failure = *ret_error;
    }
    *ret_n = filled;
    return 0;
}

void tls_engine_expect_much(struct tls_engine *engine)
{
    /* its buffer is given back whenever it is empty (SSL_MODE_RELEASE_BUFFERS) */
    SSL_set_default_read_buffer_len(engine->ssl, (size_t)MUCH_RECORDS * RECORD_MAX);
    engine->much = true;
}

/* One record after the other (SSL_MODE_ENABLE_PARTIAL_WRITE), as far as it goes. */
static int write_records(struct tls_engine *engine, const char *data, size_t n, size_t *ret_taken,
                         struct net_error *ret_error)
{
    size_t put;
    int r;

    *ret_taken = 0;
    do {
        before_call();
        r = classify(engine, SSL_write_ex(engine->ssl, data + *ret_taken, n - *ret_taken, &put),
                     NET_STAGE_IO, ret_error);
        if (r)
            break;
        *ret_taken += put;
        if (engine->gather)
            tls_gather_mark(engine->gather, put);
    } while (*ret_taken < n && (!engine->gather || tls_gather_has_room(engine->gather)));
    return r;
}

/* What of the collected records goes out is added to *taken; the others count as not taken, as they
 * must be asked for again. */
static int flush_gathered(struct tls_engine *engine, size_t *taken, struct net_error *ret_error)
{
    size_t n_out;
    int r = tls_gather_flush(engine->gather, &n_out);

    *taken += n_out;
    if (r >= 0)
        return r == 0 ? 0 : TLS_E_WANT_WRITE;
    engine->failed = true;
    *ret_error = (struct net_error){.stage = NET_STAGE_IO, .cause = NET_SYSTEM, .sys_errno = -r};
    return TLS_E_FAILED;
}

static int write_gathered(struct tls_engine *engine, const char *data, size_t n, size_t *ret_taken,
                          struct net_error *ret_error)
{
    struct net_error ignored; /* the first one counts */
    size_t put;

    *ret_taken = 0;
    for (;;) {
        int r = flush_gathered(engine, ret_taken, ret_error);
        if (*ret_taken == n && r != TLS_E_FAILED)
            return 0; /* what may still wait behind it is OpenSSL's own */
        if (r)
            return r;
        size_t left = n - *ret_taken;
        tls_gather_begin(engine->gather, engine->much && left > SSL3_RT_MAX_PLAIN_LENGTH);
        r = write_records(engine, data + *ret_taken, left, &put, ret_error);
        tls_gather_end(engine->gather);
        if (r) {
            (void)flush_gathered(engine, ret_taken, &ignored);
            return r;
        }
    }
}

int tls_engine_write(struct tls_engine *engine, const void *data, size_t n, size_t *ret_n,
                     struct net_error *ret_error)
{
    size_t taken;

    if (engine->failed)
        return fail_again(engine, ret_error);
    if (engine->kernel_sends)
        return tls_kernel_write(engine, data, n, ret_n, ret_error);
    int r = engine->gather ? write_gathered(engine, data, n, &taken, ret_error)
                           : write_records(engine, data, n, &taken, ret_error);
    engine->write_blocked = r == TLS_E_WANT_READ || r == TLS_E_WANT_WRITE;
    if (taken == 0)
        return r;
    if (r == TLS_E_FAILED) {
        engine->failure = malloc(sizeof(*engine->failure));
        if (engine->failure)
            *engine->failure = *ret_error;
    }
    *ret_n = taken;
    return 0;
}

int tls_engine_close_notify(struct tls_engine *engine, struct net_error *ret_error)
{
    size_t none = 0;

    if (engine->failed)
        return fail_again(engine, ret_error);
    ASSERT(!engine->write_blocked);
    if (engine->notified) /* a second SSL_shutdown() would read */
        return engine->gather ? flush_gathered(engine, &none, ret_error) : 0;
    /* the answer to a KeyUpdate may have had no room; SSL_shutdown() refuses before it is out */
    before_call();
    int r = SSL_in_init(engine->ssl) ? SSL_do_handshake(engine->ssl) : 1;
    if (r <= 0)
        return classify(engine, r, NET_STAGE_IO, ret_error);
    before_call();
    r = SSL_shutdown(engine->ssl);
    if (r < 0)
        return classify(engine, r, NET_STAGE_IO, ret_error);
    engine->notified = true;
    return engine->gather ? flush_gathered(engine, &none, ret_error) : 0;
}

bool tls_engine_pending(const struct tls_engine *engine)
{
    if (engine->failed || engine->end_waits)
        return true;
    return !engine->drained && SSL_has_pending(engine->ssl);
}

bool tls_engine_write_blocked(const struct tls_engine *engine)
{
    return engine->write_blocked;
}

int64_t tls_engine_until(const struct tls_engine *engine)
{
    return engine->terms.until_s;
}

bool tls_engine_can_half_close(const struct tls_engine *engine)
{
    return SSL_version(engine->ssl) >= TLS1_3_VERSION;
}
