#include "net/address_scope.h"

#include "support/test.h"

static struct address literal(const char *text)
{
    struct address address = {.n_bytes = 0};
    CHECK_INT(address_parse(&address, text, 443), 0);
    return address;
}

static void check_scope(const char *text, enum address_scope wanted)
{
    struct address address = literal(text);
    enum address_scope found = address_scope(&address);
    if (found != wanted)
        fprintf(stderr, "%s is %s, not %s\n", text, address_scope_name(found),
                address_scope_name(wanted));
    CHECK_INT(found, wanted);
}

/* Both ends of each block, and their neighbours outside. */
TEST(address_scope, blocks)
{
    static const struct {
        const char *text;
        enum address_scope scope;
    } cases[] = {
        {"0.0.0.0", SCOPE_UNSPECIFIED},
        {"0.0.0.1", SCOPE_RESERVED},
        {"0.255.255.255", SCOPE_RESERVED},
        {"1.0.0.0", SCOPE_PUBLIC},
        {"9.255.255.255", SCOPE_PUBLIC},
        {"10.0.0.0", SCOPE_PRIVATE},
        {"10.255.255.255", SCOPE_PRIVATE},
        {"11.0.0.0", SCOPE_PUBLIC},
        {"100.63.255.255", SCOPE_PUBLIC},
        {"100.64.0.0", SCOPE_SHARED},
        {"100.100.100.200", SCOPE_METADATA},
        {"100.127.255.255", SCOPE_SHARED},
        {"100.128.0.0", SCOPE_PUBLIC},
        {"126.255.255.255", SCOPE_PUBLIC},
        {"127.0.0.0", SCOPE_LOOPBACK},
        {"127.255.255.255", SCOPE_LOOPBACK},
        {"128.0.0.0", SCOPE_PUBLIC},
        {"168.63.129.15", SCOPE_PUBLIC},
        {"168.63.129.16", SCOPE_METADATA},
        {"169.253.255.255", SCOPE_PUBLIC},
        {"169.254.0.0", SCOPE_LINK_LOCAL},
        {"169.254.169.254", SCOPE_METADATA},
        {"169.254.170.2", SCOPE_METADATA},
        {"169.254.255.255", SCOPE_LINK_LOCAL},
        {"169.255.0.0", SCOPE_PUBLIC},
        {"172.15.255.255", SCOPE_PUBLIC},
        {"172.16.0.0", SCOPE_PRIVATE},
        {"172.31.255.255", SCOPE_PRIVATE},
        {"172.32.0.0", SCOPE_PUBLIC},
        {"191.255.255.255", SCOPE_PUBLIC},
        {"192.0.0.0", SCOPE_RESERVED},
        {"192.0.0.192", SCOPE_METADATA},
        {"192.0.0.255", SCOPE_RESERVED},
        {"192.0.1.0", SCOPE_PUBLIC},
        {"192.0.2.0", SCOPE_DOCUMENTATION},
        {"192.0.3.0", SCOPE_PUBLIC},
        {"192.88.99.1", SCOPE_RESERVED},
        {"192.167.255.255", SCOPE_PUBLIC},
        {"192.168.0.0", SCOPE_PRIVATE},
        {"192.168.255.255", SCOPE_PRIVATE},
        {"192.169.0.0", SCOPE_PUBLIC},
        {"198.17.255.255", SCOPE_PUBLIC},
        {"198.18.0.0", SCOPE_RESERVED},
        {"198.19.255.255", SCOPE_RESERVED},
        {"198.20.0.0", SCOPE_PUBLIC},
        {"198.51.100.255", SCOPE_DOCUMENTATION},
        {"203.0.113.0", SCOPE_DOCUMENTATION},
        {"223.255.255.255", SCOPE_PUBLIC},
        {"224.0.0.0", SCOPE_MULTICAST},
        {"239.255.255.255", SCOPE_MULTICAST},
        {"240.0.0.0", SCOPE_RESERVED},
        {"255.255.255.254", SCOPE_RESERVED},
        {"255.255.255.255", SCOPE_BROADCAST},
        {"::", SCOPE_UNSPECIFIED},
        {"::1", SCOPE_LOOPBACK},
        {"::2", SCOPE_RESERVED},
        {"::ffff:10.0.0.1", SCOPE_PRIVATE},
        {"::ffff:8.8.8.8", SCOPE_PUBLIC},
        {"64:ff9b::1", SCOPE_PUBLIC},
        {"64:ff9b:0:1::1", SCOPE_RESERVED},
        {"64:ff9b:1::1", SCOPE_RESERVED},
        {"100::1", SCOPE_RESERVED},
        {"1fff:ffff::1", SCOPE_RESERVED},
        {"2000::", SCOPE_PUBLIC},
        {"2001::1", SCOPE_PUBLIC},
        {"2001:1::1", SCOPE_RESERVED},
        {"2001:2::1", SCOPE_RESERVED},
        {"2001:2:1::1", SCOPE_RESERVED},
        {"2001:3::1", SCOPE_PUBLIC},
        {"2001:4:112::1", SCOPE_PUBLIC},
        {"2001:10::1", SCOPE_RESERVED},
        {"2001:20::1", SCOPE_PUBLIC},
        {"2001:3f:ffff::1", SCOPE_PUBLIC},
        {"2001:40::1", SCOPE_RESERVED},
        {"2001:1ff:ffff::1", SCOPE_RESERVED},
        {"2001:200::1", SCOPE_PUBLIC},
        {"2001:db7:ffff::1", SCOPE_PUBLIC},
        {"2001:db8::", SCOPE_DOCUMENTATION},
        {"2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", SCOPE_DOCUMENTATION},
        {"2001:db9::", SCOPE_PUBLIC},
        {"2002::1", SCOPE_PUBLIC},
        {"3ffe:ffff::1", SCOPE_PUBLIC},
        {"3fff::", SCOPE_DOCUMENTATION},
        {"3fff:fff:ffff::1", SCOPE_DOCUMENTATION},
        {"3fff:1000::1", SCOPE_PUBLIC},
        {"4000::", SCOPE_RESERVED},
        {"5f00::1", SCOPE_RESERVED},
        {"fbff::1", SCOPE_RESERVED},
        {"fc00::", SCOPE_UNIQUE_LOCAL},
        {"fd00:ec1::1", SCOPE_UNIQUE_LOCAL},
        {"fd00:ec2::254", SCOPE_METADATA},
        {"fd20:ce::254", SCOPE_METADATA},
        {"fdff:ffff::1", SCOPE_UNIQUE_LOCAL},
        {"fe00::1", SCOPE_RESERVED},
        {"fe7f::1", SCOPE_RESERVED},
        {"fe80::1", SCOPE_LINK_LOCAL},
        {"febf::1", SCOPE_LINK_LOCAL},
        {"fec0::1", SCOPE_RESERVED},
        {"ff00::", SCOPE_MULTICAST},
        {"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", SCOPE_MULTICAST},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        check_scope(cases[i].text, cases[i].scope);
    struct address none = {.n_bytes = 0};
    CHECK_INT(address_scope(&none), SCOPE_RESERVED);
    for (int i = 0; i < SCOPE_N; i++) {
        CHECK(address_scope_name((enum address_scope)i) != NULL);
        CHECK(address_scope_text((enum address_scope)i) != NULL);
    }
}

/* forms: those behind the first, divided by blanks */
static void check_forms(const char *text, const char *first, const char *wanted)
{
    struct address address = literal(text), forms[ADDRESS_FORMS_MAX];
    char found[512] = "", one[ADDRESS_TEXT_MAX];
    size_t n = address_forms(&address, forms);

    CHECK(n >= 1);
    CHECK_STRING(address_text(&forms[0], one, sizeof(one)), first);
    for (size_t i = 0; i < n; i++)
        CHECK_INT(address_port(&forms[i]), 443);
    for (size_t i = 1; i < n; i++)
        snprintf(found + strlen(found), sizeof(found) - strlen(found), "%s%s", i > 1 ? " " : "",
                 address_text(&forms[i], one, sizeof(one)));
    CHECK_STRING(found, wanted);
}

TEST(address_scope, forms)
{
    static const char *const cases[][3] = {
        {"8.8.8.8", "8.8.8.8", ""},
        {"2606:4700::1", "2606:4700::1", ""},
        {"fe80::1%1", "fe80::1", ""},
        {"::1", "::1", ""},
        {"0.0.0.0", "0.0.0.0", "127.0.0.1 ::1"},
        {"::", "::", "127.0.0.1 ::1"},
        {"::ffff:0.0.0.0", "0.0.0.0", "127.0.0.1 ::1"},
        {"::ffff:10.0.0.1", "10.0.0.1", ""},
        {"::10.0.0.1", "::10.0.0.1", "10.0.0.1"},
        {"::ffff:0:10.0.0.1", "::ffff:0:a00:1", "10.0.0.1"},
        {"64:ff9b::10.0.0.1", "64:ff9b::a00:1", "10.0.0.1"},
        {"64:ff9b::0.0.0.0", "64:ff9b::", "0.0.0.0 127.0.0.1 ::1"},
        {"64:ff9b:1::10.0.0.1", "64:ff9b:1::a00:1", "10.0.0.1"},
        {"64:ff9b:1:a00:0:100::", "64:ff9b:1:a00:0:100::", "10.0.0.1 0.0.1.0 0.1.0.0"},
        {"64:ff9b:1:200:a:0:100:0", "64:ff9b:1:200:a:0:100:0", "1.0.0.0 10.0.0.1"},
        {"2002:a00:1::1", "2002:a00:1::1", "10.0.0.1"},
        {"2001:0:808:808:0:0:f5ff:fffe", "2001:0:808:808::f5ff:fffe", "8.8.8.8 10.0.0.1"},
        {"2606:4700::5efe:a00:1", "2606:4700::5efe:a00:1", "10.0.0.1"},
        {"2606:4700::200:5efe:a00:1", "2606:4700::200:5efe:a00:1", "10.0.0.1"},
        {"2606:4700::100:5efe:a00:1", "2606:4700::100:5efe:a00:1", ""},
        {"2002:808:808::5efe:a00:1", "2002:808:808::5efe:a00:1", "8.8.8.8 10.0.0.1"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        check_forms(cases[i][0], cases[i][1], cases[i][2]);
    struct address none = {.n_bytes = 0}, forms[ADDRESS_FORMS_MAX];
    CHECK_INT(address_forms(&none, forms), 0);
}

/* Whatever the bytes are: there is room, and the first form is the address. */
TEST(address_scope, any_bytes)
{
    static const uint8_t starts[][4] = {
        {0}, {0, 0x64, 0xff, 0x9b}, {0x20, 0x01}, {0x20, 0x02}, {0xfe, 0x80}};
    unsigned state = 1;
    for (int i = 0; i < 20000; i++) {
        struct address address = {.n_bytes = sizeof(address.v6)}, forms[ADDRESS_FORMS_MAX];
        address.v6.sin6_family = AF_INET6;
        for (int k = 0; k < 16; k++) {
            state = state * 1103515245 + 12345;
            /* many zeros: the forms live on them */
            address.v6.sin6_addr.s6_addr[k] = state >> 28 < 10 ? 0 : (uint8_t)(state >> 16);
        }
        memcpy(address.v6.sin6_addr.s6_addr, starts[i % 5], sizeof(starts[0]));
        size_t n = address_forms(&address, forms);
        CHECK(n >= 1 && n <= ADDRESS_FORMS_MAX);
        for (size_t k = 0; k < n; k++)
            CHECK(address_scope(&forms[k]) < SCOPE_N);
    }
}
