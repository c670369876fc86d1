/*
 * check_advice: what is wrong, and what would mend it.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#include "cli/check.h"

static struct check_finding *add(struct check *check, bool is_error)
{
    static struct check_finding lost;
    if (check->n_findings == CHECK_FINDINGS_MAX)
        return &lost;
    struct check_finding *finding = &check->findings[check->n_findings++];
    finding->is_error = is_error;
    finding->what[0] = finding->remedy[0] = '\0';
    return finding;
}

__attribute__((format(printf, 2, 3))) static void what(struct check_finding *finding,
                                                       const char *format, ...)
{
    va_list list;
    va_start(list, format);
    vsnprintf(finding->what, sizeof(finding->what), format, list);
    va_end(list);
}

__attribute__((format(printf, 2, 3))) static void remedy(struct check_finding *finding,
                                                         const char *format, ...)
{
    va_list list;
    va_start(list, format);
    vsnprintf(finding->remedy, sizeof(finding->remedy), format, list);
    va_end(list);
}

/* ---- certificates ---- */

/* A certificate that verification has found fault with. */
struct culprit {
    bool server; /* it is the server's own */
    const char *subject, *issuer;
    const struct proto_certificate *certificate; /* NULL: not told */
    char who[320];                               /* to begin a sentence with */
};

static struct culprit culprit_of(const struct check *check)
{
    const struct proto_tls_failure *failure = check->failure;
    struct culprit culprit = {
        .server = failure->depth == 0,
        .subject = failure->has_subject && *failure->subject ? failure->subject : "(no subject)",
        .issuer = failure->has_issuer && *failure->issuer ? failure->issuer : "(no name)",
        .certificate = check_certificate(check, failure->depth),
    };
    if (culprit.server)
        snprintf(culprit.who, sizeof(culprit.who), "the server's certificate");
    else
        snprintf(culprit.who, sizeof(culprit.who), "the CA certificate %s", culprit.subject);
    return culprit;
}

/* Has the server sent anything that its own certificate was issued by? */
static bool sends_a_chain(const struct check *check)
{
    const struct proto_certificate *above = check_certificate(check, 1);
    return above && above->sent;
}

static void advise_issuer(const struct check *check, const struct culprit *culprit,
                          struct check_finding *finding)
{
    what(finding, "the issuer of %s is not known here: %s", culprit->who, culprit->issuer);
    if (!culprit->server || sends_a_chain(check))
        remedy(finding,
               "if it can be trusted, get the certificate of %s from who runs that CA, put it into "
               "the broker's cacerts folder and run: tcpbroker reload. If it is there, it is no "
               "root: the server must also send what links it to its root",
               culprit->issuer);
    else
        remedy(finding,
               "the server sends nothing but its own certificate. If %s is a root CA that can be "
               "trusted, put its certificate into the broker's cacerts folder and run: tcpbroker "
               "reload. If it is an intermediate CA, tell who runs the server to configure the "
               "whole chain (\"full chain\")",
               culprit->issuer);
}

static void advise_self_signed(const struct culprit *culprit, struct check_finding *finding)
{
    const char *sha256 = culprit->certificate ? culprit->certificate->sha256 : "";

    if (culprit->server)
        what(finding, "the server's certificate is self-signed: nobody vouches for it");
    else
        what(finding, "the root CA that the server has sent is not known here: %s",
             culprit->subject);
    remedy(finding,
           "ask who runs the %s for its SHA-256; if that is %s, put the certificate into the "
           "broker's cacerts folder and run: tcpbroker reload",
           culprit->server ? "server" : "CA", sha256);
}

static void advise_dates(const struct check *check, const struct culprit *culprit,
                         struct check_finding *finding)
{
    const struct proto_certificate *certificate = culprit->certificate;
    bool early = check->failure->verify_code == 9;
    char days[64] = "", now[32] = "";
    struct tm tm;

    if (gmtime_r(&check->now, &tm))
        (void)strftime(now, sizeof(now), "%Y-%m-%dT%H:%M:%SZ", &tm);
    const char *edge = !certificate ? "" : early ? certificate->not_before : certificate->not_after;
    if (check_time(edge) != -1)
        check_days(check, check_time(edge), days, sizeof(days));
    what(finding, "%s %s %s%s%s", culprit->who,
         early ? "is not valid before" : "has expired:", edge, *days ? ", " : "", days);
    remedy(finding,
           "is the clock of this host right? It says %s. If so, tell who runs the %s to %s", now,
           culprit->server ? "server" : "CA",
           early ? "use the certificate when it is valid" : "renew the certificate");
}

static void advise_name(const struct check *check, const struct culprit *culprit,
                        struct check_finding *finding)
{
    char names[512] = "";

    if (culprit->certificate)
        check_names(culprit->certificate, 8, names, sizeof(names));
    if (*names)
        what(finding, "the server's certificate is not for %s, it is for %s", check->name, names);
    else
        what(finding,
             "the server's certificate is not for %s: it has no name at all (subjectAltName; the "
             "common name does not count)",
             check->name);
    remedy(finding,
           "%sif this is the right server: connect by a name that its certificate has, or give "
           "one with --server-name (server_name of TCPConnect); or tell who runs it to get a "
           "certificate for %s",
           *names ? "" : "the certificate must be replaced; ", check->name);
}

static void advise_strength(const struct culprit *culprit, struct check_finding *finding)
{
    const struct proto_certificate *certificate = culprit->certificate;

    what(finding, "%s is too weak (key %s, signature %s)", culprit->who,
         certificate ? certificate->key : "unknown",
         certificate ? certificate->signature : "unknown");
    remedy(finding,
           "it must be replaced by one with a key of at least 2048 bits (RSA) or 256 (EC), signed "
           "with SHA-256 or better; tls.security_level of the broker decides what is accepted");
}

/* The rest of OpenSSL's X509_V_ERR_ numbers (x509_vfy.h, stable) that servers do meet. */
static const struct {
    int64_t code;
    const char *what, *remedy; /* what: goes on after the certificate's name */
} verdicts[] = {
    {3, "cannot be checked: there is no revocation list of its issuer",
     "put the current list (CRL) of the issuer where the broker reads its lists"},
    {7, "has a signature that is wrong",
     "it was damaged, or somebody pretends to be its issuer; do not connect until that is known"},
    {11, "cannot be checked: the revocation list of its issuer is not valid yet",
     "is the clock of this host right? If so, get the current list (CRL)"},
    {12, "cannot be checked: the revocation list of its issuer is out of date",
     "get the current list (CRL) of the issuer, then run: tcpbroker reload"},
    {22, "is part of a chain that is too long", "the server must send a shorter chain"},
    {23, "has been revoked by its issuer",
     "do not connect; tell who runs the server that it needs a new certificate"},
    {24, "is no CA's, but has issued another one",
     "the CA's certificate needs basicConstraints CA:TRUE (or the server sends a wrong one)"},
    {25, "stands higher in the chain than its CA may (path length)",
     "the CA above it must be replaced, or the chain made shorter"},
    {26, "is not meant for servers (extended key usage)",
     "the server needs a certificate with the purpose serverAuth"},
    {27, "is in the broker's store, but not to be trusted for servers",
     "replace it in the store, or add the purpose there"},
    {28, "is in the broker's store as one not to be trusted for servers",
     "the store's owner has decided so; do not connect"},
    {32, "may not sign certificates (key usage), but has",
     "the CA's certificate needs the key usage keyCertSign"},
    {34, "has a critical extension that is not known",
     "it must be replaced by one without that extension"},
    {47, "is for names that a CA above it may not issue for (name constraints)",
     "the server needs a certificate of another CA"},
    {48, "is for names that a CA above it must not issue for (name constraints)",
     "the server needs a certificate of another CA"},
    {79, "is no CA's, but has issued another one",
     "the CA's certificate needs basicConstraints CA:TRUE and the key usage keyCertSign"},
    {94, "has a key whose curve is given by parameters",
     "it must be replaced by one with a named curve"},
};

static void advise_verdict(const struct check *check, const struct culprit *culprit,
                           struct check_finding *finding)
{
    const struct proto_tls_failure *failure = check->failure;

    for (size_t i = 0; i < sizeof(verdicts) / sizeof(verdicts[0]); i++)
        if (verdicts[i].code == failure->verify_code) {
            what(finding, "%s %s", culprit->who, verdicts[i].what);
            remedy(finding, "%s", verdicts[i].remedy);
            return;
        }
    what(finding, "%s was not accepted: %s", culprit->who,
         failure->has_verify_text ? failure->verify_text : "no reason is told");
    remedy(finding, "it must be replaced by one that is made as RFC 5280 says");
}

static void advise_verify(struct check *check, bool is_error)
{
    struct check_finding *finding = add(check, is_error);
    const struct proto_tls_failure *failure = check->failure;
    struct culprit culprit = culprit_of(check);

    switch (failure->verify_code) {
    case 2:  /* UNABLE_TO_GET_ISSUER_CERT */
    case 20: /* UNABLE_TO_GET_ISSUER_CERT_LOCALLY */
    case 21: /* UNABLE_TO_VERIFY_LEAF_SIGNATURE */
        advise_issuer(check, &culprit, finding);
        break;
    case 18: /* DEPTH_ZERO_SELF_SIGNED_CERT */
    case 19: /* SELF_SIGNED_CERT_IN_CHAIN */
        advise_self_signed(&culprit, finding);
        break;
    case 9:  /* CERT_NOT_YET_VALID */
    case 10: /* CERT_HAS_EXPIRED */
        advise_dates(check, &culprit, finding);
        break;
    case 62: /* HOSTNAME_MISMATCH */
    case 64: /* IP_ADDRESS_MISMATCH */
        advise_name(check, &culprit, finding);
        break;
    case 66: /* EE_KEY_TOO_SMALL */
    case 67: /* CA_KEY_TOO_SMALL */
    case 68: /* CA_MD_TOO_WEAK */
        advise_strength(&culprit, finding);
        break;
    default:
        advise_verdict(check, &culprit, finding);
        break;
    }
    size_t n = strlen(finding->what);
    snprintf(finding->what + n, sizeof(finding->what) - n, " (verify code %" PRId64 ", %s)",
             failure->verify_code, failure->has_verify_text ? failure->verify_text : "no text");
}

/* ---- the handshake ---- */

static const struct {
    const char *words; /* of the alert (RFC 8446 section 6.2), as OpenSSL has them */
    const char *what, *remedy;
} alerts[] = {
    {"handshake failure", "the server and the broker found nothing that both accept",
     "does the server ask for a client certificate (identity of TCPConnect)? Else: does it speak "
     "TLS 1.2 or newer, with a cipher that tls.ciphers of the broker has?"},
    {"certificate required", "the server asks for a client certificate",
     "give it one: identity of TCPConnect"},
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
    struct check_finding *finding = add(check, true);

    for (size_t i = 0; i < sizeof(alerts) / sizeof(alerts[0]); i++) {
        /* OpenSSL's words: "sslv3 alert handshake failure", "tlsv13 alert certificate required" */
        size_t n = strlen(alerts[i].words), n_alert = strlen(alert);
        if (n > n_alert || strcmp(alert + n_alert - n, alerts[i].words) != 0)
            continue;
        what(finding, "%s (its alert: %s)", alerts[i].what, alert);
        remedy(finding, "%s", alerts[i].remedy);
        return;
    }
    what(finding, "the server has broken TLS off (its alert: %s)", alert);
    remedy(finding, "the server's log should tell why");
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

static void advise_handshake(struct check *check)
{
    static const char *const plain[] = {"wrong version number",   "http request",
                                        "https proxy request",    "packet length too long",
                                        "record length mismatch", NULL};
    static const char *const versions[] = {"unsupported protocol", "no protocols available", NULL};
    static const char *const closed[] = {"closed the connection", "unexpected eof", NULL};

    if (check->failure && check->failure->has_alert) {
        advise_alert(check, check->failure->alert);
        return;
    }
    struct check_finding *finding = add(check, true);
    if (mentions(check, plain)) {
        what(finding, "what answers on this port does not speak TLS");
        remedy(finding,
               "is the port right? Try it without --tls. Protocols with STARTTLS (SMTP, IMAP, "
               "LDAP, PostgreSQL) begin in plain text: connect without TLS, then TCPStartTLS");
    } else if (mentions(check, versions)) {
        what(finding, "the server speaks only versions of TLS that are not accepted here");
        remedy(finding, "%sit must speak TLS %s",
               check->min_tls13 ? "without --min-tls 1.3, or: " : "",
               check->min_tls13 ? "1.3" : "1.2 or newer (or tls.min_version asks for too much)");
    } else if (mentions(check, closed)) {
        what(finding, "the server closed the connection during the TLS handshake");
        remedy(finding, "does it speak TLS on this port, and does it let this host in? Its log "
                        "should tell");
    } else {
        what(finding, "the TLS handshake failed: %s",
             check->failure && check->failure->has_library ? check->failure->library
                                                           : check->error->message);
        remedy(finding, "one side does not keep to the protocol; the server's log should tell");
    }
}

/* ---- everything before TLS ---- */

static const struct {
    const char *symbol, *stage; /* stage NULL: any */
    const char *what, *remedy;
} causes[] = {
    {"HOST_NOT_FOUND", NULL, "there is no host of that name",
     "check the spelling. A name that was added just now may be remembered as missing for a "
     "while, by name servers and for a second by the broker"},
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
    {"EACCES", "policy", "the broker's policy does not permit it",
     "ask who runs the broker on this host"},
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

static void advise_cause(struct check *check)
{
    const struct proto_error_data *data = &check->error->data;
    struct check_finding *finding = add(check, true);

    for (size_t i = 0; i < sizeof(causes) / sizeof(causes[0]); i++) {
        if (!check->error->has_data || strcmp(causes[i].symbol, data->symbol) != 0 ||
            (causes[i].stage && strcmp(causes[i].stage, data->stage) != 0))
            continue;
        what(finding, "%s", causes[i].what);
        if (causes[i].remedy)
            remedy(finding, "%s", causes[i].remedy);
        else /* the broker knows the path */
            remedy(finding, "%s; when it is mended run: tcpbroker reload", check->error->message);
        return;
    }
    what(finding, "%s", check->error->message);
}

/* ---- what works, but not well ---- */

static void warn_of_dates(struct check *check)
{
    const struct proto_certificate *certificate = check->chain.items;

    for (size_t i = 0; i < check->chain.n_items; i++, certificate++) {
        time_t until = check_time(certificate->not_after);
        char days[64];
        if (!certificate->has_depth || until == -1 || until < check->now ||
            until - check->now >= (time_t)CHECK_WARN_DAYS * 86400)
            continue;
        struct check_finding *finding = add(check, false);
        check_days(check, until, days, sizeof(days));
        if (certificate->depth == 0)
            what(finding, "the server's certificate expires %s", days);
        else
            what(finding, "the CA certificate %s expires %s", certificate->subject, days);
        remedy(finding, "it must be renewed, at %s the latest", certificate->not_after);
    }
}

static void warn_of_addresses(struct check *check)
{
    const struct proto_attempt *attempt = check->attempts.items;

    for (size_t i = 0; i < check->attempts.n_items; i++, attempt++) {
        if (strcmp(attempt->error, "connected") == 0 || strcmp(attempt->error, "pending") == 0)
            continue;
        struct check_finding *finding = add(check, false);
        what(finding, "the address %s does not work (%s), another one does", attempt->address,
             attempt->error);
        remedy(finding,
               "clients that try one address only may fail: let the server listen there, or take "
               "the address from the name");
    }
}

void check_advise(struct check *check)
{
    const struct proto_tls_failure *failure = check->failure;
    bool connected = check->result != NULL;

    if (check->error && connected && failure && failure->has_alert)
        advise_alert(check, failure->alert); /* the handshake was done when the server objected */
    else if (check->error && failure && failure->has_verify_code)
        advise_verify(check, true);
    else if (check->error && check->error->code == TCPB_E_TLS_HANDSHAKE)
        advise_handshake(check);
    else if (check->error)
        advise_cause(check);
    if (check->tls && !check->verify && connected) {
        struct check_finding *finding = add(check, false);
        what(finding, "the certificate was not verified (--no-verify): nobody knows who answers");
        if (failure && failure->has_verify_code)
            advise_verify(check, false);
    }
    warn_of_dates(check);
    if (connected)
        warn_of_addresses(check);
}
