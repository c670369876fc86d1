#pragma once
/*
 * hostname: the form in which the name of a host is asked for: ASCII letters in lower case, other
 * scripts as A-labels ("bücher.example": "xn--bcher-kva.example"; IDNA 2008, RFC 5891, mapped as
 * UTS 46 says, non-transitional). Two spellings of one name have the same form, so that they can
 * share a look-up. A dot at the end stays: it keeps the resolver's search list away.
 *
 * Threads: any; pure.
 * Errors:  HOSTNAME_E_*, -ENOMEM.
 * Limits:  253 bytes of A-labels, without a dot at the end (RFC 1035 section 2.3.4 in text form).
 */
#include <stdbool.h>

#include "util/assert.h"

enum {
    HOSTNAME_E_INVALID = 1, /* empty, too long, begins with a dot, has blanks in it */
    HOSTNAME_E_ENCODING,    /* there are no A-labels for it */
};
enum { HOSTNAME_WIRE_MAX = 256 };

bool hostname_is_ascii(const char *host);
NODISCARD int hostname_wire(const char *host, char ret_wire[HOSTNAME_WIRE_MAX]);
