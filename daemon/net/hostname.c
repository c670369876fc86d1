#include "net/hostname.h"

#include <errno.h>
#include <idn2.h>
#include <string.h>

enum { NAME_MAX_BYTES = 253 };

bool hostname_is_ascii(const char *host)
{
    for (; *host; host++)
        if ((unsigned char)*host >= 0x80)
            return false;
    return true;
}

static bool is_sane(const char *host)
{
    size_t n = strlen(host);
    /* inet_aton(3), and so getaddrinfo(3), stop at a blank: "127.0.0.1 example" would be an address
     */
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)host[i] <= ' ' || host[i] == 0x7f)
            return false;
    if (n > 0 && host[n - 1] == '.')
        n--;
    return n > 0 && n <= NAME_MAX_BYTES && host[0] != '.';
}

static void copy_lower(char wire[HOSTNAME_WIRE_MAX], const char *host)
{
    size_t i = 0;
    for (; host[i]; i++)
        wire[i] = (char)(host[i] >= 'A' && host[i] <= 'Z' ? host[i] - 'A' + 'a' : host[i]);
    wire[i] = '\0';
}

int hostname_wire(const char *host, char ret_wire[HOSTNAME_WIRE_MAX])
{
    uint8_t *labels = NULL;

    if (hostname_is_ascii(host)) {
        if (!is_sane(host))
            return HOSTNAME_E_INVALID;
        copy_lower(ret_wire, host);
        return 0;
    }
    if (host[0] == '.')
        return HOSTNAME_E_INVALID;
    int r = idn2_lookup_u8((const uint8_t *)host, &labels, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL);
    if (r == IDN2_MALLOC)
        return -ENOMEM;
    if (r == IDN2_TOO_BIG_DOMAIN)
        return HOSTNAME_E_INVALID;
    if (r != IDN2_OK)
        return HOSTNAME_E_ENCODING;
    /* what was mapped may be anything: a full stop of another script, a blank, nothing at all */
    bool sane = hostname_is_ascii((const char *)labels) && is_sane((const char *)labels);
    if (sane)
        copy_lower(ret_wire, (const char *)labels);
    idn2_free(labels);
    return sane ? 0 : HOSTNAME_E_INVALID;
}
