#include "net/address_scope.h"

#include <string.h>

/* ---- the registries ----
 *
 * IANA IPv4 and IPv6 Special-Purpose Address Registries (RFC 6890 and what came after it), IPv6
 * Address Space registry. In each table the first that fits counts. */

struct block4 {
    uint32_t first;
    unsigned bits;
    enum address_scope scope;
};

static const struct block4 blocks4[] = {
    {0x00000000, 32, SCOPE_UNSPECIFIED},
    {0x00000000, 8, SCOPE_RESERVED},  /* this network: RFC 791 */
    {0x0a000000, 8, SCOPE_PRIVATE},   /* RFC 1918 */
    {0x646464c8, 32, SCOPE_METADATA}, /* 100.100.100.200: Alibaba */
    {0x64400000, 10, SCOPE_SHARED},   /* RFC 6598 */
    {0x7f000000, 8, SCOPE_LOOPBACK},  /* RFC 1122 */
    {0xa83f8110, 32, SCOPE_METADATA}, /* 168.63.129.16: Azure, in the midst of public ones */
    {0xa9fea9fe, 32, SCOPE_METADATA}, /* 169.254.169.254: nearly all */
    {0xa9feaa02, 32, SCOPE_METADATA}, /* 169.254.170.2, .23: containers at AWS */
    {0xa9feaa17, 32, SCOPE_METADATA},
    {0xa9fe0000, 16, SCOPE_LINK_LOCAL},    /* RFC 3927 */
    {0xac100000, 12, SCOPE_PRIVATE},       /* RFC 1918 */
    {0xc00000c0, 32, SCOPE_METADATA},      /* 192.0.0.192: Oracle */
    {0xc0000000, 24, SCOPE_RESERVED},      /* IETF protocols: RFC 6890 */
    {0xc0000200, 24, SCOPE_DOCUMENTATION}, /* RFC 5737 */
    {0xc0586300, 24, SCOPE_RESERVED},      /* relays of 6to4, given up: RFC 7526 */
    {0xc0a80000, 16, SCOPE_PRIVATE},       /* RFC 1918 */
    {0xc6120000, 15, SCOPE_RESERVED},      /* benchmarking: RFC 2544 */
    {0xc6336400, 24, SCOPE_DOCUMENTATION}, /* RFC 5737 */
    {0xcb007100, 24, SCOPE_DOCUMENTATION}, /* RFC 5737 */
    {0xe0000000, 4, SCOPE_MULTICAST},      /* RFC 5771 */
    {0xffffffff, 32, SCOPE_BROADCAST},     /* RFC 8190 */
    {0xf0000000, 4, SCOPE_RESERVED},       /* RFC 1112 */
};

struct block6 {
    uint16_t first[8];
    unsigned bits;
    enum address_scope scope;
};

static const struct block6 blocks6[] = {
    {{0}, 128, SCOPE_UNSPECIFIED},
    {{0, 0, 0, 0, 0, 0, 0, 1}, 128, SCOPE_LOOPBACK},
    {{0x64, 0xff9b}, 96, SCOPE_PUBLIC},      /* NAT64: RFC 6052 */
    {{0x64, 0xff9b, 1}, 48, SCOPE_RESERVED}, /* NAT64 of a network's own: RFC 8215 */
    {{0xfd00, 0xec2}, 32, SCOPE_METADATA},   /* fd00:ec2::254 and its like: AWS */
    {{0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254}, 128, SCOPE_METADATA}, /* Google */
    {{0xfc00}, 7, SCOPE_UNIQUE_LOCAL},                           /* RFC 4193 */
    {{0xfe80}, 10, SCOPE_LINK_LOCAL},                            /* RFC 4291 */
    {{0xfec0}, 10, SCOPE_RESERVED},             /* site-local, given up: RFC 3879 */
    {{0xff00}, 8, SCOPE_MULTICAST},             /* RFC 4291 */
    {{0x2001, 0}, 32, SCOPE_PUBLIC},            /* Teredo: RFC 4380 */
    {{0x2001, 2}, 48, SCOPE_RESERVED},          /* benchmarking: RFC 5180 */
    {{0x2001, 3}, 32, SCOPE_PUBLIC},            /* AMT: RFC 7450 */
    {{0x2001, 4, 0x112}, 48, SCOPE_PUBLIC},     /* AS112: RFC 7535 */
    {{0x2001, 0x20}, 28, SCOPE_PUBLIC},         /* ORCHIDv2: RFC 7343 */
    {{0x2001, 0x30}, 28, SCOPE_PUBLIC},         /* drones: RFC 9374 */
    {{0x2001, 0}, 23, SCOPE_RESERVED},          /* IETF protocols: RFC 2928 */
    {{0x2001, 0xdb8}, 32, SCOPE_DOCUMENTATION}, /* RFC 3849 */
    {{0x3fff, 0}, 20, SCOPE_DOCUMENTATION},     /* RFC 9637 */
    {{0x2000}, 3, SCOPE_PUBLIC},                /* RFC 4291; 6to4 (2002::/16) is part of it */
    {{0}, 0, SCOPE_RESERVED},                   /* nothing else has been given out */
};

static enum address_scope scope4(uint32_t address)
{
    for (size_t i = 0; i < sizeof(blocks4) / sizeof(blocks4[0]); i++)
        if ((address ^ blocks4[i].first) >> (32 - blocks4[i].bits) == 0)
            return blocks4[i].scope;
    return SCOPE_PUBLIC;
}

static bool in_block(const uint8_t bytes[16], const struct block6 *block)
{
    for (size_t i = 0; i * 16 < block->bits; i++) {
        unsigned part = (unsigned)bytes[2 * i] << 8 | bytes[2 * i + 1];
        size_t left = block->bits - i * 16;
        if ((part ^ block->first[i]) >> (left < 16 ? 16 - left : 0))
            return false;
    }
    return true;
}

static enum address_scope scope6(const uint8_t bytes[16])
{
    size_t i = 0;
    while (!in_block(bytes, &blocks6[i])) /* the last one fits all */
        i++;
    return blocks6[i].scope;
}

enum address_scope address_scope(const struct address *address)
{
    struct address plain = *address;

    address_unmap(&plain);
    switch (address_family(&plain)) {
    case AF_INET:
        return scope4(ntohl(plain.v4.sin_addr.s_addr));
    case AF_INET6:
        return scope6(plain.v6.sin6_addr.s6_addr);
    default:
        return SCOPE_RESERVED;
    }
}

static const struct {
    const char *name, *text;
} words[SCOPE_N] = {
    [SCOPE_PUBLIC] = {"public", "a public address"},
    [SCOPE_UNSPECIFIED] = {"unspecified", "the unspecified address, which leads to this host"},
    [SCOPE_LOOPBACK] = {"loopback", "a loopback address, which leads to this host"},
    [SCOPE_LINK_LOCAL] = {"link-local", "a link-local address"},
    [SCOPE_METADATA] = {"metadata", "an address where a cloud tells its secrets"},
    [SCOPE_PRIVATE] = {"private", "a private address (RFC 1918)"},
    [SCOPE_SHARED] = {"shared", "a carrier's shared address (RFC 6598)"},
    [SCOPE_UNIQUE_LOCAL] = {"unique-local", "a private address (RFC 4193)"},
    [SCOPE_MULTICAST] = {"multicast", "a multicast address"},
    [SCOPE_BROADCAST] = {"broadcast", "the broadcast address"},
    [SCOPE_DOCUMENTATION] = {"documentation", "an address for documents, which nobody has"},
    [SCOPE_RESERVED] = {"reserved", "a reserved address"},
};

const char *address_scope_name(enum address_scope scope)
{
    return words[scope].name;
}

const char *address_scope_text(enum address_scope scope)
{
    return words[scope].text;
}

/* ---- forms ---- */

struct forms {
    struct address *items;
    size_t n;
};

static void add(struct forms *forms, const struct address *address)
{
    for (size_t i = 0; i < forms->n; i++)
        if (address_equal(&forms->items[i], address))
            return;
    ASSERT(forms->n < ADDRESS_FORMS_MAX);
    forms->items[forms->n++] = *address;
}

static void add4(struct forms *forms, uint32_t inside)
{
    struct address form = {.n_bytes = sizeof(form.v4)};

    form.v4.sin_family = AF_INET;
    form.v4.sin_port = htons(address_port(&forms->items[0]));
    form.v4.sin_addr.s_addr = htonl(inside);
    add(forms, &form);
}

static uint32_t read4(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

static bool all_zero(const uint8_t *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (bytes[i])
            return false;
    return true;
}

/* RFC 6052 section 2.2: byte 8 is skipped, what is behind the address is 0. */
static void add_nat64(struct forms *forms, const uint8_t bytes[16])
{
    if (!all_zero(bytes + 12, 4))
        add4(forms, read4(bytes + 12));
    for (size_t n_prefix = 6; n_prefix <= 8; n_prefix++) {
        uint8_t inside[4];
        size_t at = n_prefix;
        for (size_t i = 0; i < 4; i++, at++) {
            at += at == 8;
            inside[i] = bytes[at];
        }
        if (bytes[8] == 0 && all_zero(bytes + at, 16 - at))
            add4(forms, read4(inside));
    }
}

static void add_inside(struct forms *forms, const uint8_t bytes[16])
{
    static const uint8_t nat64[12] = {0, 0x64, 0xff, 0x9b}, translated[12] = {[8] = 0xff, 0xff};
    static const uint8_t own_nat64[6] = {0, 0x64, 0xff, 0x9b, 0, 1};

    if (all_zero(bytes, 12) && read4(bytes + 12) > 1) /* compatible; ::1 is none */
        add4(forms, read4(bytes + 12));
    if (memcmp(bytes, nat64, sizeof(nat64)) == 0 ||
        memcmp(bytes, translated, sizeof(translated)) == 0)
        add4(forms, read4(bytes + 12));
    if (memcmp(bytes, own_nat64, sizeof(own_nat64)) == 0)
        add_nat64(forms, bytes);
    if (bytes[0] == 0x20 && bytes[1] == 0x02)
        add4(forms, read4(bytes + 2));
    if (bytes[0] == 0x20 && bytes[1] == 0x01 && bytes[2] == 0 && bytes[3] == 0) {
        add4(forms, read4(bytes + 4));
        add4(forms, ~read4(bytes + 12)); /* RFC 4380 section 4: its bits are turned around */
    }
    if ((read4(bytes + 8) & ~0x02000000U) == 0x00005efe)
        add4(forms, read4(bytes + 12));
}

static void add_loopback(struct forms *forms)
{
    struct address form = {.n_bytes = sizeof(form.v6)};

    add4(forms, INADDR_LOOPBACK);
    form.v6.sin6_family = AF_INET6;
    form.v6.sin6_port = htons(address_port(&forms->items[0]));
    form.v6.sin6_addr = in6addr_loopback;
    add(forms, &form);
}

size_t address_forms(const struct address *address, struct address ret_forms[ADDRESS_FORMS_MAX])
{
    struct forms forms = {.items = ret_forms};
    struct address first = *address;

    address_unmap(&first);
    if (address_family(&first) == AF_UNSPEC)
        return 0;
    if (address_family(&first) == AF_INET6)
        first.v6.sin6_scope_id = 0;
    add(&forms, &first);
    if (address_family(&first) == AF_INET6)
        add_inside(&forms, first.v6.sin6_addr.s6_addr);
    for (size_t i = 0, n = forms.n; i < n; i++)
        if (address_scope(&forms.items[i]) == SCOPE_UNSPECIFIED)
            add_loopback(&forms);
    return forms.n;
}
