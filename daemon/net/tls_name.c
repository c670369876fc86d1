#include "net/tls_internal.h"

#include <arpa/inet.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

#include "net/hostname.h"

enum { NAME_BYTES_MAX = 253, LABEL_BYTES_MAX = 63 }; /* RFC 1035 section 2.3.4, in text form */

/* What is looked up is what is verified: U-labels become A-labels in one place. */
static int convert(char ret_text[256], const char *server_name, const char **ret_fault)
{
    _Static_assert(HOSTNAME_WIRE_MAX <= 256, "the wire's form fits");

    if (strlen(server_name) > NAME_BYTES_MAX + 1) {
        *ret_fault = "the server name is longer than 253 bytes";
        return 0;
    }
    if (hostname_is_ascii(server_name)) {
        snprintf(ret_text, 256, "%s", server_name);
        return 0;
    }
    int r = hostname_wire(server_name, ret_text);
    if (r == HOSTNAME_E_ENCODING)
        *ret_fault = "the server name is not UTF-8, has a sign that host names cannot have (IDNA "
                     "2008), or a part of it is too long once converted to xn--";
    else if (r > 0)
        *ret_fault = "the server name is none, or is too long, once converted to xn--";
    return r < 0 ? r : 0;
}

static const char *label_fault(const char *text)
{
    size_t n = 0;

    if (*text == '.')
        return "the server name begins with a dot";
    for (;; text++) {
        if (*text && *text != '.') {
            /* no underscores in host names (RFC 952), but in names of servers all the same */
            if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_", *text))
                return "the server name has a character that host names cannot have";
            n++;
            continue;
        }
        if (n == 0)
            return "the server name has two dots in a row";
        if (n > LABEL_BYTES_MAX)
            return "the server name has more than 63 bytes between two dots";
        if (!*text)
            return NULL;
        n = 0;
    }
}

/* What the resolver takes for an address is one here, too: "127.1", "0x7f.0.0.1", "2130706433". */
static bool parse_address(struct address *ret_address, const char *text)
{
    struct in_addr v4;
    char dotted[INET_ADDRSTRLEN];

    if (address_parse(ret_address, text, 0) == 0)
        return true;
    return inet_aton(text, &v4) && inet_ntop(AF_INET, &v4, dotted, sizeof(dotted)) &&
           address_parse(ret_address, dotted, 0) == 0;
}

int tls_name_parse(struct tls_name *ret_name, const char *server_name, bool verify,
                   const char **ret_fault)
{
    struct tls_name name = {.text = ""};

    *ret_fault = NULL;
    if (address_parse(&name.address, server_name, 0) == 0) { /* with brackets or a zone */
        *ret_name = name;
        return 0;
    }
    int r = convert(name.text, server_name, ret_fault);
    if (r || *ret_fault)
        return r;
    size_t n = strlen(name.text);
    if (n > 0 && name.text[n - 1] == '.')
        name.text[--n] = '\0';
    if (n == 0)
        *ret_fault = verify || *server_name ? "the server name to verify is empty" : NULL;
    else if (n > NAME_BYTES_MAX)
        *ret_fault = "the server name is longer than 253 bytes";
    else if (parse_address(&name.address, name.text))
        name.text[0] = '\0';
    else
        *ret_fault = label_fault(name.text);
    *ret_name = name;
    return 0;
}

const char *tls_server_name_fault(const char *server_name, bool verify)
{
    struct tls_name name;
    const char *fault;
    /* without memory: tls_engine_new() will tell */
    return tls_name_parse(&name, server_name, verify, &fault) == 0 ? fault : NULL;
}

/* ---- the names of a certificate, for people ---- */

struct text {
    char *buffer;
    size_t n, n_max;
    unsigned n_names;
    bool full;
};

/* A name that does not fit as a whole is left out, and all behind it. */
static void append(struct text *text, const char *name)
{
    size_t n = strlen(name) + (text->n_names ? 2 : 0);

    if (text->full || text->n + n + sizeof(", ...") > text->n_max) {
        if (!text->full && text->n_names)
            text->n += (size_t)sprintf(text->buffer + text->n, ", ...");
        text->full = true;
        return;
    }
    text->n += (size_t)sprintf(text->buffer + text->n, "%s%s", text->n_names ? ", " : "", name);
    text->n_names++;
}

bool tls_general_name_text(const GENERAL_NAME *name, char *text, size_t n_text)
{
    int type;
    const ASN1_STRING *value = GENERAL_NAME_get0_value(name, &type);
    size_t n = 0;

    if (type == GEN_DNS) {
        const unsigned char *bytes = ASN1_STRING_get0_data(value);
        size_t n_bytes = (size_t)ASN1_STRING_length(value);
        for (; n < n_bytes && n + 1 < n_text; n++)
            text[n] = (char)(bytes[n] > ' ' && bytes[n] < 0x7f ? bytes[n] : '?');
        text[n] = '\0';
        return true;
    }
    if (type == GEN_IPADD) {
        int family = ASN1_STRING_length(value) == 4    ? AF_INET
                     : ASN1_STRING_length(value) == 16 ? AF_INET6
                                                       : AF_UNSPEC;
        return family != AF_UNSPEC &&
               inet_ntop(family, ASN1_STRING_get0_data(value), text, (socklen_t)n_text);
    }
    return false;
}

void tls_certificate_names(const X509 *certificate, char *buffer, size_t n_buffer)
{
    struct text text = {.buffer = buffer, .n_max = n_buffer};
    char words[256];
    GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);

    buffer[0] = '\0';
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++)
        if (tls_general_name_text(sk_GENERAL_NAME_value(names, i), words, sizeof(words)))
            append(&text, words);
    GENERAL_NAMES_free(names);
}
