/*
 * check_advice: what is wrong, and what would mend it. What is wrong with certificates:
 * check_verify.c.
 */
#include <stdarg.h>
#include <string.h>

#include "cli/check.h"
#include "proto/json.h"

struct check_finding *check_add(struct check *check, bool is_error)
{
    static struct check_finding lost;
    if (check->n_findings == CHECK_FINDINGS_MAX)
        return &lost;
    struct check_finding *finding = &check->findings[check->n_findings++];
    finding->is_error = is_error;
    finding->what[0] = finding->remedy[0] = '\0';
    return finding;
}

/* What does not fit is cut off, but not inside a character. */
__attribute__((format(printf, 2, 0))) static void fill(char text[CHECK_TEXT_MAX],
                                                       const char *format, va_list list)
{
    size_t valid;
    bool incomplete;
    vsnprintf(text, CHECK_TEXT_MAX, format, list);
    if (!json_utf8_valid(text, strlen(text), &valid, &incomplete))
        text[valid] = '\0';
}

void check_what(struct check_finding *finding, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    fill(finding->what, format, list);
    va_end(list);
}

void check_remedy(struct check_finding *finding, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    fill(finding->remedy, format, list);
    va_end(list);
}

/* ---- the handshake ---- */

static const struct {
    const char *words; /* of the alert (RFC 8446 section 6.2), as OpenSSL has them */
    const char *what, *remedy;
} alerts[] = {
    {"handshake failure", "the server and the broker found nothing that both accept",
     "does the server ask for a client certificate (--identity)? Else: does it speak "
     "TLS 1.2 or newer, with a cipher that tls.ciphers of the broker has?"},
    {"certificate required", "the server asks for a client certificate", "give it one: --identity"},
    {"bad certificate", "the server does not accept our client certificate, or wants one",
     "is it the right identity, and does the server know its CA?"},
    {"unsupported certificate", "the server does not accept this kind of client certificate",
     "is it the right identity, and is it made for clients (clientAuth)?"},
    {"certificate revoked", "the server says that our client certificate is revoked",
     "the identity needs a new certificate"},
    {"certificate expired", "the server says that our client certificate has expired",
     "renew the identity's certificate; is the server's clock right?"},
    {"certificate unknown", "the server does not accept our client certificate",
     "is it the right identity, and does the server know its CA?"},
    {"unknown CA", "the server does not know the CA of our client certificate",
     "is it the right identity, and does the server know its CA?"},
    {"access denied", "the server does not let this client in",
     "ask who runs the server; is it the right identity?"},
    {"protocol version", "the server does not speak a version of TLS that is accepted here",
     "TLS 1.2 is the oldest one that is; --min-tls and tls.min_version may ask for more"},
    {"insufficient security", "the server wants stronger ciphers than were offered",
     "look at tls.ciphers of the broker"},
    {"unrecognized name", "the server does not know the name it was asked for",
     "is the name right? --server-name gives another one"},
    {"no application protocol", "the server speaks none of the protocols offered by ALPN",
     "ask it for another one with --alpn, or leave that out"},
};

static void advise_alert(struct check *check, const char *alert)
{
    struct check_finding *finding = check_add(check, true);

    for (size_t i = 0; i < sizeof(alerts) / sizeof(alerts[0]); i++) {
        /* OpenSSL's words: "sslv3 alert handshake failure", "tlsv13 alert certificate required" */
        size_t n = strlen(alerts[i].words), n_alert = strlen(alert);
        if (n > n_alert || strcmp(alert + n_alert - n, alerts[i].words) != 0)
            continue;
        check_what(finding, "%s (its alert: %s)", alerts[i].what, alert);
        check_remedy(finding, "%s", alerts[i].remedy);
        return;
    }
    check_what(finding, "the server has broken TLS off (its alert: %s)", alert);
    check_remedy(finding, "the server's log should tell why");
}

static bool mentions(const struct check *check, const char *const *words)
{
    const char *library = check->failure && check->failure->has_library ? check->failure->library
                                                                        : check->error->message;
    for (; *words; words++)
        if (strstr(library, *words))
            return true;
    return false;
}

/* The broker knows that a certificate of ours was asked for, and says so; an alert that is about
 * certificates says more. */
static bool advise_identity(struct check *check)
{
    static const char *const none[] = {"asks for a client certificate", NULL};
    static const char *const other[] = {"accept the certificate of the identity", NULL};
    const char *alert = check->failure && check->failure->has_alert ? check->failure->alert : NULL;
    bool has_none = mentions(check, none);

    if ((alert && !strstr(alert, "handshake failure")) || !(has_none || mentions(check, other)))
        return false;
    struct check_finding *finding = check_add(check, true);
    if (has_none) {
        check_what(finding,
                   "the server asks for a client certificate, and has broken TLS off%s%s%s",
                   alert ? " (its alert: " : "", alert ? alert : "", alert ? ")" : "");
        check_remedy(finding, "name an identity of the broker with --identity (identity of "
                              "TCPConnect)");
    } else {
        check_what(finding, "the server does not seem to accept the certificate of the identity");
        check_remedy(finding, "which CAs does it accept client certificates of? Its log should "
                              "tell; another --identity may be the right one");
    }
    return true;
}

static void advise_handshake(struct check *check)
{
    static const char *const plain[] = {"wrong version number",   "http request",
                                        "https proxy request",    "packet length too long",
                                        "record length mismatch", NULL};
    static const char *const versions[] = {"unsupported protocol", "no protocols available", NULL};
    static const char *const closed[] = {"closed the connection", "unexpected eof", NULL};

    if (advise_identity(check))
        return;
    if (check->failure && check->failure->has_alert) {
        advise_alert(check, check->failure->alert);
        return;
    }
    struct check_finding *finding = check_add(check, true);
    if (mentions(check, plain)) {
        check_what(finding, "what answers on this port does not speak TLS");
        check_remedy(
            finding,
            "is the port right? Try it without --tls. Protocols with STARTTLS (SMTP, IMAP, "
            "LDAP, PostgreSQL) begin in plain text: connect without TLS, then TCPStartTLS");
    } else if (mentions(check, versions)) {
        check_what(finding, "the server speaks only versions of TLS that are not accepted here");
        check_remedy(finding, "%sit must speak TLS %s",
                     check->min_tls13 ? "without --min-tls 1.3, or: " : "",
                     check->min_tls13 ? "1.3"
                                      : "1.2 or newer (or tls.min_version asks for too much)");
    } else if (mentions(check, closed)) {
        check_what(finding, "the server closed the connection during the TLS handshake");
        check_remedy(finding,
                     "does it speak TLS on this port, and does it let this host in? Its log "
                     "should tell");
    } else {
        check_what(finding, "the TLS handshake failed: %s",
                   check->failure && check->failure->has_library ? check->failure->library
                                                                 : check->error->message);
        check_remedy(finding,
                     "one side does not keep to the protocol; the server's log should tell");
    }
}

/* ---- everything before TLS ---- */

static const struct {
    const char *symbol, *stage; /* stage NULL: any */
    const char *what, *remedy;  /* NULL: the broker's sentence, which has the names */
} causes[] = {
    {"HOST_NOT_FOUND", NULL, "there is no host of that name",
     "check the spelling. A name that was added just now may be remembered as missing for a "
     "while, by name servers and for two seconds by the broker (connect.negative_cache_time)"},
    {"TRY_AGAIN", NULL, "no name server has answered",
     "try again; are the name servers of /etc/resolv.conf reachable from this host?"},
    {"NO_RECOVERY", NULL, "the resolver of this host failed",
     "look at /etc/resolv.conf and /etc/nsswitch.conf of this host"},
    {"NO_DATA", NULL, "the host exists, but has no address of the wanted family",
     "ask without --family, or have such an address added to its name"},
    {"UNKNOWN_SERVICE", NULL, "there is no service of that name",
     "give the number of the port, or add the name to /etc/services"},
    {"ETIMEDOUT", "resolve", "the name could not be looked up in time",
     "are the name servers of /etc/resolv.conf reachable? Or allow more time with --timeout"},
    {"ETIMEDOUT", "tls", "the server took the connection, but did not finish the TLS handshake",
     "does it speak TLS on this port? Try it without --tls, or allow more time with --timeout"},
    {"ETIMEDOUT", NULL, "no address has answered",
     "is the host up, is the address right, does a firewall drop packets on the way?"},
    {"ECONNREFUSED", NULL, "the host is there, but nothing listens on that port",
     "is the server running, is the port right, does a firewall refuse it?"},
    {"EHOSTUNREACH", NULL, "there is no way to that host",
     "is it up? Look at the routes and firewalls between"},
    {"ENETUNREACH", NULL, "there is no way to that network",
     "does this host have an address and a route of that family? --family chooses one"},
    {"ENETDOWN", NULL, "the network of this host is down", "bring it up"},
    {"EHOSTDOWN", NULL, "the host is down", "bring it up"},
    {"ECONNRESET", "tls", "the server reset the connection during the TLS handshake",
     "does it speak TLS on this port, and does it let this host in? Its log should tell"},
    {"ECONNRESET", NULL, "the connection was reset",
     "a firewall or the server itself does not let this host in"},
    {"EACCES", "policy", NULL, "ask who runs the broker on this host"},
    {"EACCES", NULL, "the system does not permit it", "look at the firewall rules of this host"},
    {"EADDRNOTAVAIL", NULL, "no local address or port could be used",
     "too many connections to that host at a time?"},
    {"SHUTTING_DOWN", NULL, "the broker is shutting down", "try again"},
    {"CA_FOLDER", NULL, "the broker's folder of CA certificates cannot be used", NULL},
    {"CA_BUNDLE", NULL, "the system's CA certificates cannot be read",
     "is the package ca-certificates installed? Or switch tls.system_store off"},
    {"CA_LIST", NULL, "the broker's folder of CA certificates cannot be listed", NULL},
    {"CA_EMPTY", NULL, "the broker has no CA certificate to verify with",
     "put one into its cacerts folder, or install ca-certificates, then run: tcpbroker reload"},
    {"CA_NEXT", NULL, "the broker's folder of CA certificates cannot be listed", NULL},
    {"CA_OPEN", NULL, "a file in the broker's folder of CA certificates cannot be opened", NULL},
};

/* What the table cannot know. Returns false: that has it. */
static bool advise_special(const struct check *check, struct check_finding *finding)
{
    const char *symbol = check->error->has_data ? check->error->data.symbol : "";
    const char *message = check->error->message;
    char folder[160];

    if (strncmp(symbol, "CA_", 3) == 0 && strstr(message, "revocation list")) {
        check_what(finding, "%s", message);
        check_remedy(finding, "when that is mended run: tcpbroker reload");
        return true;
    }
    if (check->profile && strcmp(symbol, "CA_EMPTY") == 0) {
        check_folder(check, folder, sizeof(folder));
        check_what(finding, "the trust profile %s has no CA certificate to verify with",
                   check->profile);
        check_remedy(finding, "put one into %s, then run: tcpbroker reload", folder);
        return true;
    }
    if (check->family && strcmp(symbol, "HOST_NOT_FOUND") == 0) {
        check_what(finding, "there is no host of that name, or it has no address of the wanted "
                            "family");
        check_remedy(finding, "check the spelling, and ask without --family");
        return true;
    }
    return false;
}

static void advise_cause(struct check *check)
{
    const struct proto_error_data *data = &check->error->data;
    struct check_finding *finding = check_add(check, true);

    if (advise_special(check, finding))
        return;

    for (size_t i = 0; i < sizeof(causes) / sizeof(causes[0]); i++) {
        if (!check->error->has_data || strcmp(causes[i].symbol, data->symbol) != 0 ||
            (causes[i].stage && strcmp(causes[i].stage, data->stage) != 0))
            continue;
        check_what(finding, "%s", causes[i].what ? causes[i].what : check->error->message);
        if (data->has_until)
            check_remedy(finding, "%s The broker leaves it alone until %s (connect.backoff_after)",
                         causes[i].remedy, data->until);
        else if (causes[i].remedy)
            check_remedy(finding, "%s", causes[i].remedy);
        else
            check_remedy(finding, "%s; when it is mended run: tcpbroker reload",
                         check->error->message);
        return;
    }
    check_what(finding, "%s", check->error->message);
}

/* ---- what works, but not well ---- */

static void warn_of_addresses(struct check *check)
{
    const struct proto_attempt *attempt = check->attempts.items;

    for (size_t i = 0; i < check->attempts.n_items; i++, attempt++) {
        if (strcmp(attempt->error, "connected") == 0 || strcmp(attempt->error, "pending") == 0)
            continue;
        struct check_finding *finding = check_add(check, false);
        check_what(finding, "the address %s does not work (%s), another one does", attempt->address,
                   attempt->error);
        check_remedy(
            finding,
            "clients that try one address only may fail: let the server listen there, or take "
            "the address from the name");
    }
}

static void warn_of_alpn(struct check *check)
{
    struct check_finding *finding = check_add(check, false);
    check_what(finding, "the server has chosen none of the protocols that were offered (ALPN)");
    check_remedy(finding, "it may not know ALPN; clients that rely on one of them may fail");
}

void check_advise(struct check *check)
{
    const struct proto_tls_failure *failure = check->failure;
    bool connected = check->result != NULL;

    if (check->error && connected && failure && failure->has_alert)
        advise_alert(check, failure->alert); /* the handshake was done when the server objected */
    else if (check->error && failure && failure->has_verify_code)
        check_verify(check, true);
    else if (check->error && check->error->code == TCPB_E_TLS_HANDSHAKE)
        advise_handshake(check);
    else if (check->error)
        advise_cause(check);
    if (check->tls && !check->verify && connected) {
        struct check_finding *finding = check_add(check, false);
        check_what(finding,
                   "the certificate was not verified (--no-verify): nobody knows who answers");
        if (failure && failure->has_verify_code)
            check_verify(check, false);
    }
    check_expiry(check);
    if (connected && check->tls && check->offers_alpn && !check->alpn)
        warn_of_alpn(check);
    if (connected)
        warn_of_addresses(check);
}
