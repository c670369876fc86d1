/*
 * check_verify: why certificates are not accepted, and what would mend it.
 */
#include <inttypes.h>
#include <string.h>

#include "cli/check.h"

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

void check_folder(const struct check *check, char *text, size_t n_text)
{
    if (check->profile)
        snprintf(text, n_text, "the cacerts folder of the trust profile %s", check->profile);
    else
        snprintf(text, n_text, "the broker's cacerts folder");
}

static void advise_issuer(const struct check *check, const struct culprit *culprit,
                          struct check_finding *finding)
{
    char folder[160];

    check_folder(check, folder, sizeof(folder));
    check_what(finding, "the issuer of %s is not known here: %s", culprit->who, culprit->issuer);
    if (!culprit->server || sends_a_chain(check))
        check_remedy(
            finding,
            "if it can be trusted, get the certificate of %s from who runs that CA, put it into "
            "%s and run: tcpbroker reload. If it is there, it is no "
            "root: the server must also send what links it to its root",
            culprit->issuer, folder);
    else
        check_remedy(
            finding,
            "the server sends nothing but its own certificate. If %s is a root CA that can be "
            "trusted, put its certificate into %s and run: tcpbroker "
            "reload. If it is an intermediate CA, tell who runs the server to configure the "
            "whole chain (\"full chain\")",
            culprit->issuer, folder);
}

static void advise_self_signed(const struct check *check, const struct culprit *culprit,
                               struct check_finding *finding)
{
    char folder[160];
    const char *sha256 = culprit->certificate ? culprit->certificate->sha256 : "";

    check_folder(check, folder, sizeof(folder));
    if (culprit->server)
        check_what(finding, "the server's certificate is self-signed: nobody vouches for it");
    else
        check_what(finding, "the root CA that the server has sent is not known here: %s",
                   culprit->subject);
    check_remedy(finding,
                 "ask who runs the %s for its SHA-256; if that is %s, put the certificate into %s "
                 "and run: tcpbroker reload",
                 culprit->server ? "server" : "CA", sha256, folder);
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
    check_what(finding, "%s %s %s%s%s", culprit->who,
               early ? "is not valid before" : "has expired:", edge, *days ? ", " : "", days);
    check_remedy(finding,
                 "is the clock of this host right? It says %s. If so, tell who runs the %s to %s",
                 now, culprit->server ? "server" : "CA",
                 early ? "use the certificate when it is valid" : "renew the certificate");
}

static void advise_name(const struct check *check, const struct culprit *culprit,
                        struct check_finding *finding)
{
    char names[512] = "";

    if (culprit->certificate)
        check_names(culprit->certificate, 8, names, sizeof(names));
    if (*names)
        check_what(finding, "the server's certificate is not for %s, it is for %s", check->name,
                   names);
    else
        check_what(
            finding,
            "the server's certificate is not for %s: it has no name at all (subjectAltName; the "
            "common name does not count)",
            check->name);
    check_remedy(
        finding,
        "%sif this is the right server: connect by a name that its certificate has, or give "
        "one with --server-name (server_name of TCPConnect); or tell who runs it to get a "
        "certificate for %s",
        *names ? "" : "the certificate must be replaced; ", check->name);
}

static void advise_strength(const struct culprit *culprit, struct check_finding *finding)
{
    const struct proto_certificate *certificate = culprit->certificate;

    check_what(finding, "%s is too weak (key %s, signature %s)", culprit->who,
               certificate ? certificate->key : "unknown",
               certificate ? certificate->signature : "unknown");
    check_remedy(
        finding,
        "it must be replaced by one with a key of at least 2048 bits (RSA) or 256 (EC), signed "
        "with SHA-256 or better; tls.security_level of the broker decides what is accepted");
}

#define STRICT                                                                                     \
    "it should be replaced by one that is made as RFC 5280 says. If that cannot be had: strict = " \
    "no in [tls] or the section of the trust profile accepts it; then run: tcpbroker reload"

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
    {50, "has no key that is pinned here, nor has a CA above it",
     "has the server or its CA a new key? If that is sure, change the pins of the trust profile; "
     "if not, somebody else may be answering"},
    {79, "is no CA's, but has issued another one",
     "the CA's certificate needs basicConstraints CA:TRUE and the key usage keyCertSign"},
    {85, "has no authorityKeyIdentifier", STRICT},
    {86, "has no subjectKeyIdentifier", STRICT},
    {87, "has an empty list of names (subjectAltName)", STRICT},
    {88, "has an empty subject, and names (subjectAltName) that are not critical", STRICT},
    {89, "has basicConstraints that are not critical", STRICT},
    {90, "has a critical authorityKeyIdentifier, which must not be critical", STRICT},
    {91, "has a critical subjectKeyIdentifier, which must not be critical", STRICT},
    {92, "is a CA's and has no keyUsage", STRICT},
    {93, "has extensions, but not version 3", STRICT},
    {94, "has a key whose curve is given by parameters",
     "it must be replaced by one with a named curve"},
};

static void advise_verdict(const struct check *check, const struct culprit *culprit,
                           struct check_finding *finding)
{
    const struct proto_tls_failure *failure = check->failure;

    for (size_t i = 0; i < sizeof(verdicts) / sizeof(verdicts[0]); i++)
        if (verdicts[i].code == failure->verify_code) {
            check_what(finding, "%s %s", culprit->who, verdicts[i].what);
            check_remedy(finding, "%s", verdicts[i].remedy);
            return;
        }
    check_what(finding, "%s was not accepted: %s", culprit->who,
               failure->has_verify_text ? failure->verify_text : "no reason is told");
    check_remedy(finding, "it must be replaced by one that is made as RFC 5280 says");
}

void check_verify(struct check *check, bool is_error)
{
    struct check_finding *finding = check_add(check, is_error);
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
        advise_self_signed(check, &culprit, finding);
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

void check_expiry(struct check *check)
{
    const struct proto_certificate *certificate = check->chain.items;

    for (size_t i = 0; i < check->chain.n_items; i++, certificate++) {
        time_t until = check_time(certificate->not_after);
        char days[64];
        if (!certificate->has_depth || until == -1 || until < check->now ||
            until - check->now >= (time_t)CHECK_WARN_DAYS * 86400)
            continue;
        struct check_finding *finding = check_add(check, false);
        check_days(check, until, days, sizeof(days));
        if (certificate->depth == 0)
            check_what(finding, "the server's certificate expires %s", days);
        else
            check_what(finding, "the CA certificate %s expires %s", certificate->subject, days);
        check_remedy(finding, "it must be renewed, at %s the latest", certificate->not_after);
    }
}
