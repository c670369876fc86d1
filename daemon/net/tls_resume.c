/*
 * tls_resume: what stands between OpenSSL and the store of sessions (tls_session.h). Each context,
 * which is one trust profile in one generation, has a store of its own, so no ticket can get from
 * one to another; a reload makes new contexts, and so begins with empty stores.
 *
 * Whether a session may be offered must be known before the peer has said a word, and a resumed
 * handshake shows no certificate. So the key is a digest of all that decided what was verified and
 * with whom it was spoken, and is the session's id context as well: OpenSSL then refuses by itself
 * to go on with a session of another key.
 */
#include "net/tls_internal.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "net/tls_session.h"

/* With a larger one the ClientHello would not fit into one record (RFC 8446 section 5.1), which is
 * more than many servers can take. */
enum { TICKET_MAX = 12 * 1024 };

struct resume {
    struct tls_sessions *sessions;
    int64_t time_ms;
    int64_t until_s;
};

/* ---- the store of a context ---- */

static pthread_once_t index_once = PTHREAD_ONCE_INIT;
static int ex_data_index = -1;

static void on_context_free(void *context, void *data, CRYPTO_EX_DATA *all, int index, long argl,
                            void *argp)
{
    struct resume *resume = data;

    (void)context, (void)all, (void)index, (void)argl, (void)argp;
    if (resume)
        tls_sessions_free(resume->sessions);
    free(resume);
}

static void make_index(void)
{
    ex_data_index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, on_context_free);
}

static struct resume *resume_of_context(const SSL_CTX *context)
{
    return ex_data_index < 0 ? NULL : SSL_CTX_get_ex_data(context, ex_data_index);
}

static struct resume *resume_of(const struct tls_engine *engine)
{
    return resume_of_context(SSL_get_SSL_CTX(engine->ssl));
}

static int on_new_session(SSL *ssl, SSL_SESSION *session);

int tls_resume_set_up(SSL_CTX *context, size_t capacity, int64_t time_ms)
{
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    if (capacity == 0 || time_ms <= 0)
        return 0;
    pthread_once(&index_once, make_index);
    struct resume *resume = calloc(1, sizeof(*resume));
    if (!resume)
        return -ENOMEM;
    resume->time_ms = time_ms;
    resume->until_s = INT64_MAX;
    int r = tls_sessions_new(&resume->sessions, capacity);
    if (r == 0 && SSL_CTX_set_ex_data(context, ex_data_index, resume) != 1)
        r = -ENOMEM;
    if (r) {
        tls_sessions_free(resume->sessions);
        free(resume);
        return r;
    }
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(context, on_new_session);
    return 0;
}

void tls_resume_bound(SSL_CTX *context, int64_t until_s)
{
    struct resume *resume = resume_of_context(context);
    if (resume && until_s < resume->until_s)
        resume->until_s = until_s;
}

void tls_resume_close(SSL_CTX *context)
{
    const struct resume *resume = context ? resume_of_context(context) : NULL;
    if (resume)
        tls_sessions_close(resume->sessions);
}

/* ---- the key ---- */

static bool add(EVP_MD_CTX *digest, const void *data, size_t n)
{
    /* the length before it, so that no two lists of parts are the same bytes */
    const uint64_t length = n;
    return EVP_DigestUpdate(digest, &length, sizeof(length)) == 1 &&
           (n == 0 || EVP_DigestUpdate(digest, data, n) == 1);
}

static bool add_address(EVP_MD_CTX *digest, const struct address *address)
{
    uint16_t port = address_port(address);

    if (address_family(address) == AF_INET)
        return add(digest, &address->v4.sin_addr, sizeof(address->v4.sin_addr)) &&
               add(digest, &port, sizeof(port));
    return add(digest, &address->v6.sin6_addr, sizeof(address->v6.sin6_addr)) &&
           add(digest, &port, sizeof(port)) &&
           add(digest, &address->v6.sin6_scope_id, sizeof(address->v6.sin6_scope_id));
}

static bool make_key(struct tls_session_key *ret_key, const struct tls_request *request,
                     const struct tls_name *name, const struct address *remote)
{
    const char *identity = request->identity ? identity_name(request->identity) : "";
    const unsigned char flags[] = {request->verify, request->min_tls13};
    unsigned n = 0;

    EVP_MD_CTX *digest = EVP_MD_CTX_new();
    bool complete = digest && EVP_DigestInit_ex(digest, EVP_sha256(), NULL) == 1 &&
                    add(digest, flags, sizeof(flags)) &&
                    add(digest, name->text, strlen(name->text)) &&
                    (name->address.n_bytes == 0 || add_address(digest, &name->address)) &&
                    add_address(digest, remote) && add(digest, identity, strlen(identity)) &&
                    add(digest, request->alpn, request->n_alpn) &&
                    EVP_DigestFinal_ex(digest, ret_key->bytes, &n) == 1;
    EVP_MD_CTX_free(digest);
    return complete && n == sizeof(ret_key->bytes);
}

static bool key_of(const SSL_SESSION *session, struct tls_session_key *ret_key)
{
    unsigned n = 0;
    const unsigned char *bytes = session ? SSL_SESSION_get0_id_context(session, &n) : NULL;
    if (n != sizeof(ret_key->bytes))
        return false;
    memcpy(ret_key->bytes, bytes, n);
    return true;
}

/* ---- a handshake ---- */

void tls_resume_offer(struct tls_engine *engine, const struct tls_request *request,
                      const struct tls_name *name, const struct address *remote)
{
    const struct resume *resume = resume_of(engine);
    struct tls_session_key key;

    if (!resume || address_family(remote) == AF_UNSPEC || !make_key(&key, request, name, remote) ||
        SSL_set_session_id_context(engine->ssl, key.bytes, sizeof(key.bytes)) != 1)
        return;
    struct tls_session_terms terms;
    SSL_SESSION *session = tls_sessions_take(resume->sessions, &key, tls_session_now(), &terms);
    if (!session)
        return;
    if (SSL_SESSION_is_resumable(session) != 1 || SSL_set_session(engine->ssl, session) != 1) {
        SSL_SESSION_free(session);
        return;
    }
    engine->offered = session;
    engine->terms = terms;
}

static int64_t wall_time(const ASN1_TIME *time, int64_t otherwise)
{
    struct tm parts;
    return ASN1_TIME_to_tm(time, &parts) == 1 ? timegm(&parts) : otherwise;
}

void tls_resume_verified(struct tls_engine *engine, const STACK_OF(X509) * chain)
{
    const struct resume *resume = resume_of(engine);

    if (engine->server)
        return;
    /* also without a store: who keeps the connection asks how long it holds */
    struct tls_session_terms *terms = &engine->terms;
    *terms = (struct tls_session_terms){
        .until_up_ms = tls_session_now().up_ms + (resume ? resume->time_ms : 0),
        .from_s = INT64_MIN,
        .until_s = resume ? resume->until_s : INT64_MAX,
    };
    for (int i = 0; i < sk_X509_num(chain); i++) {
        const X509 *certificate = sk_X509_value(chain, i);
        int64_t from_s = wall_time(X509_get0_notBefore(certificate), INT64_MAX);
        int64_t until_s = wall_time(X509_get0_notAfter(certificate), INT64_MIN);
        if (from_s > terms->from_s)
            terms->from_s = from_s;
        if (until_s < terms->until_s)
            terms->until_s = until_s;
    }
}

/* What it costs to keep beside the ticket: the certificates as they came, and the structs. */
static size_t weight(const SSL *ssl)
{
    const STACK_OF(X509) *chain = SSL_get_peer_cert_chain(ssl);
    size_t n = 1024;

    for (int i = 0; i < sk_X509_num(chain); i++) {
        int n_certificate = i2d_X509(sk_X509_value(chain, i), NULL);
        n += n_certificate > 0 ? (size_t)n_certificate : 0;
    }
    return n;
}

static bool may_be_kept(const struct tls_engine *engine, SSL_SESSION *session)
{
    return SSL_SESSION_is_resumable(session) == 1 &&
           (!engine->verify || SSL_SESSION_get0_peer(session));
}

static void put(const struct tls_engine *engine, SSL_SESSION *session)
{
    const struct resume *resume = resume_of(engine);
    const unsigned char *ticket;
    size_t n_ticket = 0;
    struct tls_session_key key;

    SSL_SESSION_get0_ticket(session, &ticket, &n_ticket);
    if (!resume || !key_of(session, &key) || !may_be_kept(engine, session) || n_ticket > TICKET_MAX)
        return;
    bool once = SSL_SESSION_get_protocol_version(session) >= TLS1_3_VERSION;
    unsigned long hint_s = SSL_SESSION_get_ticket_lifetime_hint(session);
    /* 0 means: not at all (RFC 8446 section 4.6.1); before 1.3: nothing is said (RFC 5077 section
     * 3.3) */
    const struct tls_session_item item = {
        .session = session,
        .terms = engine->terms,
        .origin = engine,
        .lifetime_ms = hint_s || once ? (int64_t)hint_s * 1000 : resume->time_ms,
        .n_bytes = n_ticket + weight(engine->ssl),
        .once = once,
    };
    tls_sessions_put(resume->sessions, &key, &item, tls_session_now());
}

/* On the dial thread at the end of a handshake (TLS 1.2), or whenever a ticket comes (TLS 1.3):
 * inside a read, on an io thread. */
static int on_new_session(SSL *ssl, SSL_SESSION *session)
{
    const struct tls_engine *engine = SSL_get_app_data(ssl);

    if (engine && !SSL_is_server(ssl)) {
        ERR_set_mark(); /* nothing that goes wrong here is a failure of the read */
        put(engine, session);
        ERR_pop_to_mark();
    }
    return 0; /* the reference stays OpenSSL's: a copy was made */
}

static void forget_offered(struct tls_engine *engine)
{
    SSL_SESSION_free(engine->offered);
    engine->offered = NULL;
}

void tls_resume_done(struct tls_engine *engine)
{
    SSL_SESSION *session = SSL_get_session(engine->ssl);
    struct tls_session_key key;

    if (!engine->offered)
        return;
    if (SSL_SESSION_get_protocol_version(engine->offered) < TLS1_3_VERSION &&
        key_of(engine->offered, &key)) {
        bool reused = SSL_session_reused(engine->ssl) == 1;
        unsigned n_offered, n;
        const unsigned char *offered = SSL_SESSION_get_id(engine->offered, &n_offered);
        const unsigned char *id = session ? SSL_SESSION_get_id(session, &n) : NULL;
        bool same = id && n == n_offered && memcmp(id, offered, n) == 0;
        if (!reused || !same)
            tls_sessions_drop_like(resume_of(engine)->sessions, &key, NULL, engine->offered);
        /* a ticket for a ticket, which OpenSSL does not tell of (RFC 5077 section 3.3) */
        if (reused && !same && session)
            put(engine, session);
    }
    forget_offered(engine);
}

void tls_resume_failed(struct tls_engine *engine, enum net_stage stage, enum net_cause cause)
{
    struct tls_session_key key;

    if (stage == NET_STAGE_TLS) {
        if (engine->offered && key_of(engine->offered, &key))
            tls_sessions_drop(resume_of(engine)->sessions, &key);
        forget_offered(engine);
        return;
    }
    const SSL_SESSION *session = SSL_get_session(engine->ssl);
    if (cause == NET_TLS_IO && resume_of(engine) && key_of(session, &key))
        tls_sessions_drop_like(resume_of(engine)->sessions, &key, engine, session);
}
