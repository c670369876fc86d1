#pragma once
/*
 * address_scope: what kind of address one is, by the registries of special addresses, and which
 * others are hidden in it.
 *
 * A packet to 64:ff9b::a00:1 ends, behind a NAT64, at 10.0.0.1; so who judges where somebody may
 * connect to must look at both. These are the forms of an address:
 *
 *   itself; an IPv4-mapped one (RFC 4291 2.5.5.2) only as the IPv4 one that the kernel makes of it
 *   the IPv4 address in an IPv4-compatible one (RFC 4291 2.5.5.1) and an IPv4-translated one (RFC
 * 2765 2.1) that in 64:ff9b::/96 and 64:ff9b:1::/48 (NAT64: RFC 6052, RFC 8215; of the latter at
 * each place where it can be) that in 2002::/16 (6to4: RFC 3056) those of the server and the client
 * in 2001::/32 (Teredo: RFC 4380) that behind 0:5efe or 200:5efe (ISATAP: RFC 5214) loopback, for
 * the unspecified address, which leads there when it is connected to
 *
 * Threads: any; pure.
 * Limits:  ADDRESS_FORMS_MAX. What a network's own translators (NAT64 with another prefix, NAT)
 * make of an address cannot be seen in it.
 */
#include "net/address.h"

enum address_scope {
    SCOPE_PUBLIC, /* global unicast; what wraps an IPv4 address counts as what is in it */
    SCOPE_UNSPECIFIED,
    SCOPE_LOOPBACK,
    SCOPE_LINK_LOCAL,
    SCOPE_METADATA, /* where clouds tell virtual machines their secrets */
    SCOPE_PRIVATE,
    SCOPE_SHARED, /* of carriers (RFC 6598) */
    SCOPE_UNIQUE_LOCAL,
    SCOPE_MULTICAST,
    SCOPE_BROADCAST,
    SCOPE_DOCUMENTATION,
    SCOPE_RESERVED, /* all else: benchmarking, translators of a network's own, not given out */
    SCOPE_N
};

/* Of one form. */
enum address_scope address_scope(const struct address *address);
/* "private", "link-local", ...; and with its reason: "a private address (RFC 1918)" */
const char *address_scope_name(enum address_scope scope);
const char *address_scope_text(enum address_scope scope);

enum { ADDRESS_FORMS_MAX = 12 };
/* The forms, the address itself first, without zones; the port is kept. Returns how many, 0 for no
 * address. */
size_t address_forms(const struct address *address, struct address ret_forms[ADDRESS_FORMS_MAX]);
