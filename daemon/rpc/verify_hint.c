#include "rpc/verify_hint.h"

#include <stdbool.h>
#include <stddef.h>

/* What to do about a revocation list, or NULL: it is not about one; the numbers are OpenSSL's
 * X509_V_ERR_ (x509_vfy.h, stable). */
static const char *list_hint(const struct net_error *error)
{
    switch (error->verify_code) {
    case 3:  /* UNABLE_TO_GET_CRL */
    case 33: /* UNABLE_TO_GET_CRL_ISSUER */
    case 44: /* DIFFERENT_CRL_SCOPE */
        return "no revocation list is there for it: add that of its issuer to tls.crl or the "
               "profile's crl, or check less (crl_check)";
    case 8: /* CRL_SIGNATURE_FAILURE */
        return "the revocation list of its issuer was damaged, or somebody else has made it; "
               "get it anew";
    case 11: /* CRL_NOT_YET_VALID */
        return "the revocation list of its issuer is from the future; a clock is wrong";
    case 12: /* CRL_HAS_EXPIRED */
        return "the revocation list of its issuer is out of date; get a newer list and reload "
               "(or a clock is wrong)";
    case 35: /* KEYUSAGE_NO_CRL_SIGN */
        return "its issuer may not sign revocation lists (keyUsage without cRLSign); it cannot be "
               "checked";
    case 36: /* UNHANDLED_CRITICAL_CRL_EXTENSION */
        return "the revocation list of its issuer has something that is not understood here; "
               "a plain, complete list is needed";
    default:
        return NULL;
    }
}

/* What is missing in how a certificate is made, or NULL. These are errors only in certificates that
 * were sent, and only with strict = yes. */
static const char *form_hint(const struct net_error *error)
{
#define WAY_OUT                                                                                    \
    "; if it cannot be replaced, let the trust profile accept certificates that are not made as "  \
    "RFC 5280 says (strict = no)"
    switch (error->verify_code) {
    case 85: /* MISSING_AUTHORITY_KEY_IDENTIFIER */
        return "it has no authorityKeyIdentifier" WAY_OUT;
    case 86: /* MISSING_SUBJECT_KEY_IDENTIFIER */
        return "it has no subjectKeyIdentifier" WAY_OUT;
    case 87: /* EMPTY_SUBJECT_ALT_NAME */
        return "its list of names (subjectAltName) is empty" WAY_OUT;
    case 88: /* EMPTY_SUBJECT_SAN_NOT_CRITICAL */
        return "its subject is empty, and its names (subjectAltName) are not critical" WAY_OUT;
    case 89: /* CA_BCONS_NOT_CRITICAL */
        return "its basicConstraints are not critical" WAY_OUT;
    case 90: /* AUTHORITY_KEY_IDENTIFIER_CRITICAL */
        return "its authorityKeyIdentifier is critical, and must not be" WAY_OUT;
    case 91: /* SUBJECT_KEY_IDENTIFIER_CRITICAL */
        return "its subjectKeyIdentifier is critical, and must not be" WAY_OUT;
    case 92: /* CA_CERT_MISSING_KEY_USAGE */
        return "it is a CA's and has no keyUsage" WAY_OUT;
    case 93: /* EXTENSIONS_REQUIRE_VERSION_3 */
        return "it has extensions, and not version 3" WAY_OUT;
    default:
        return NULL;
    }
#undef WAY_OUT
}

/* What to do about a verification that failed. */
static const char *server_hint(const struct net_error *error)
{
    bool server = error->verify_depth == 0;

    switch (error->verify_code) {
    case 1: /* UNSPECIFIED */
        return "nobody knows who has answered; the server must show a certificate";
    case 23: /* CERT_REVOKED */
        return server ? "its issuer has revoked it; the server needs a new certificate"
                      : "a CA's certificate was revoked; the server needs one of another CA";
    case 50: /* APPLICATION_VERIFICATION */
        return "is it the right server? Then add the pin of its new key to pins of the profile";
    case 2:  /* UNABLE_TO_GET_ISSUER_CERT */
    case 20: /* UNABLE_TO_GET_ISSUER_CERT_LOCALLY */
    case 21: /* UNABLE_TO_VERIFY_LEAF_SIGNATURE */
        return "if its issuer can be trusted, put the root certificate above it into the cacerts "
               "folder; if that is there, the server must send the certificates in between";
    case 18: /* DEPTH_ZERO_SELF_SIGNED_CERT */
    case 19: /* SELF_SIGNED_CERT_IN_CHAIN */
        return "if it can be trusted, put this certificate into the cacerts folder";
    case 9:  /* CERT_NOT_YET_VALID */
    case 10: /* CERT_HAS_EXPIRED */
        return server ? "the server's certificate must be renewed (or a clock is wrong)"
                      : "a CA's certificate must be renewed (or a clock is wrong)";
    case 7: /* CERT_SIGNATURE_FAILURE */
        return "it was damaged, or somebody pretends to be its issuer";
    case 26: /* INVALID_PURPOSE */
        return server ? "the server needs a certificate that is meant for servers (serverAuth)"
                      : "the server needs a certificate of a CA that may issue them for servers";
    case 27: /* CERT_UNTRUSTED */
    case 28: /* CERT_REJECTED */
        return "the store says that it is not to be trusted for servers";
    case 47: /* PERMITTED_VIOLATION */
    case 48: /* EXCLUDED_VIOLATION */
        return "a CA above it may not issue certificates for these names";
    case 62: /* HOSTNAME_MISMATCH */
    case 64: /* IP_ADDRESS_MISMATCH */
        return "connect by a name that the certificate has, or give that as server_name";
    case 66: /* EE_KEY_TOO_SMALL */
    case 67: /* CA_KEY_TOO_SMALL */
    case 68: /* CA_MD_TOO_WEAK */
        return "it must be replaced by a stronger one (tls.security_level decides)";
    default:
        break;
    }
    const char *other = list_hint(error);
    if (!other)
        other = form_hint(error);
    if (other)
        return other;
    return server ? "the server's certificate must be replaced"
                  : "the CA's certificate must be replaced";
}

static const char *client_hint(const struct net_error *error)
{
    switch (error->verify_code) {
    case 2:
    case 18:
    case 19:
    case 20:
    case 21:
        return "if its issuer can be trusted, put the root certificate above it into the folder of "
               "the trust profile; if that is there, the client must send the certificates in "
               "between";
    case 26:
        return "the client needs a certificate that is meant for clients (clientAuth)";
    case 23: /* CERT_REVOKED */
        return "it was revoked; the client needs a new one";
    case 50: /* APPLICATION_VERIFICATION */
        return "none of its keys is among the pins of the trust profile";
    default:
        break;
    }
    const char *other = list_hint(error);
    if (!other)
        other = form_hint(error);
    return other ? other : "the client needs another certificate";
}

const char *verify_hint(const struct net_error *error)
{
    return error->of_client ? client_hint(error) : server_hint(error);
}
