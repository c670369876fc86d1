#include "net/tls_internal.h"

#include <errno.h>
#include <openssl/err.h>
#include <stdio.h>
#include <string.h>

/* The peer's alerts are reasons from here on (openssl/ssl.h: SSL_AD_REASON_OFFSET). */
static bool is_alert(unsigned long code)
{
    int reason = ERR_GET_REASON(code);
    return ERR_GET_LIB(code) == ERR_LIB_SSL && reason >= SSL_AD_REASON_OFFSET &&
           reason <= SSL_AD_REASON_OFFSET + 255;
}

static void alert_text(unsigned long code, char *text, size_t n_text)
{
    const char *words = SSL_alert_desc_string_long(ERR_GET_REASON(code) - SSL_AD_REASON_OFFSET);
    if (!words || strcmp(words, "unknown") == 0)
        words = ERR_reason_error_string(code);
    snprintf(text, n_text, "%s", words ? words : "unknown");
}

/* What OpenSSL's words mean for somebody who wants the connection to work. */
static const char *hint(unsigned long code)
{
    if (ERR_GET_LIB(code) != ERR_LIB_SSL)
        return NULL;
    switch (ERR_GET_REASON(code)) {
    case SSL_R_WRONG_VERSION_NUMBER:
    case SSL_R_HTTP_REQUEST:
    case SSL_R_HTTPS_PROXY_REQUEST:
    case SSL_R_PACKET_LENGTH_TOO_LONG:
    case SSL_R_RECORD_LENGTH_MISMATCH:
        return "the peer does not speak TLS on this port";
    case SSL_R_UNEXPECTED_EOF_WHILE_READING:
        return "the peer closed the connection without ending TLS";
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_NO_PROTOCOLS_AVAILABLE:
        return "no common TLS version";
    case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
        return "the client sent no certificate";
    case SSL_R_NO_APPLICATION_PROTOCOL:
        return "no common protocol (ALPN)";
    case SSL_R_NO_SHARED_CIPHER:
        return "no common cipher suite";
    default:
        return NULL;
    }
}

static void library_text(unsigned long code, const char *data, char *text, size_t n_text)
{
    const char *words = ERR_reason_error_string(code), *help = hint(code);
    if (!words)
        words = "unknown error";
    if (help)
        snprintf(text, n_text, "%s (%s)", help, words);
    else if (data && *data)
        snprintf(text, n_text, "%s: %s", words, data);
    else
        snprintf(text, n_text, "%s", words);
}

/* Alerts by which a server refuses a certificate, or the lack of one (RFC 8446 section 6.2); older
 * ones say handshake_failure. */
static bool is_about_certificate(unsigned long code)
{
    if (!is_alert(code))
        return false;
    switch (ERR_GET_REASON(code) - SSL_AD_REASON_OFFSET) {
    case SSL_AD_HANDSHAKE_FAILURE:
    case SSL_AD_BAD_CERTIFICATE:
    case SSL_AD_UNSUPPORTED_CERTIFICATE:
    case SSL_AD_CERTIFICATE_REVOKED:
    case SSL_AD_CERTIFICATE_EXPIRED:
    case SSL_AD_CERTIFICATE_UNKNOWN:
    case SSL_AD_UNKNOWN_CA:
    case SSL_AD_ACCESS_DENIED:
    case SSL_AD_CERTIFICATE_REQUIRED:
        return true;
    default:
        return false;
    }
}

/* The server has asked for a client certificate: that is probably what it is about. Older servers
 * give no alert, and in TLS 1.3 the answer comes when our handshake is over. */
static void add_identity(struct net_error *error, const struct tls_engine *engine,
                         unsigned long code)
{
    bool silent = error->stage == NET_STAGE_TLS && !code;
    if (engine->server || !engine->asked || !(silent || is_about_certificate(code)))
        return;
    size_t n = strlen(error->library);
    snprintf(error->library + n, sizeof(error->library) - n, "; %s",
             SSL_get_certificate(engine->ssl)
                 ? "the server does not seem to accept the certificate of the identity"
                 : "the server asks for a client certificate: name one by the parameter identity");
}

/* Empties the queue. Lack of memory may be anywhere in it: what failed for it adds its own. */
static bool lacked_memory(void)
{
    bool lacked = false;
    for (unsigned long code; (code = ERR_get_error());)
        lacked |= ERR_GET_REASON(code) == ERR_R_MALLOC_FAILURE;
    return lacked;
}

void tls_error_fill(struct net_error *error, const struct tls_engine *engine, enum net_stage stage,
                    int ssl_error, int sys_errno)
{
    const char *data = NULL;
    int flags = 0;
    /* the oldest error is the cause, later ones are what followed; but a certificate that was not
     * accepted is that, whatever its signature or an extension of it did to the library */
    unsigned long code = ERR_peek_error_all(NULL, NULL, NULL, &data, &flags);
    unsigned long last = ERR_peek_last_error();
    bool refused = stage == NET_STAGE_TLS && ERR_GET_LIB(last) == ERR_LIB_SSL &&
                   ERR_GET_REASON(last) == SSL_R_CERTIFICATE_VERIFY_FAILED;

    /* a handshake's error keeps the attempts that led to it; later ones begin anew */
    if (stage != NET_STAGE_TLS)
        memset(error, 0, sizeof(*error));
    error->stage = stage;
    error->cause = stage == NET_STAGE_TLS ? NET_TLS_HANDSHAKE : NET_TLS_IO;
    error->sys_errno = 0;
    error->alert[0] = '\0';
    error->library[0] = '\0';
    if (ssl_error == SSL_ERROR_SYSCALL && sys_errno != 0) {
        error->cause = NET_SYSTEM;
        error->sys_errno = sys_errno;
    } else if (!code) {
        snprintf(error->library, sizeof(error->library),
                 "the peer closed the connection without ending TLS");
    } else {
        if (refused)
            error->cause = NET_TLS_VERIFY;
        if (is_alert(code))
            alert_text(code, error->alert, sizeof(error->alert));
        library_text(code, flags & ERR_TXT_STRING ? data : NULL, error->library,
                     sizeof(error->library));
    }
    if (error->cause == NET_TLS_HANDSHAKE || error->cause == NET_TLS_IO)
        add_identity(error, engine, code);
    if (lacked_memory()) {
        error->cause = NET_SYSTEM;
        error->sys_errno = ENOMEM;
    }
}
