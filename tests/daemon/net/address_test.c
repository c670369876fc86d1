#include "net/address.h"

#include <errno.h>
#include <unistd.h>

#include "support/test.h"

static void check_literal(const char *text, int family, const char *printed)
{
    struct address address;
    char again[ADDRESS_TEXT_MAX];
    int r = address_parse(&address, text, 443);
    if (r)
        fprintf(stderr, "not taken: %s\n", text);
    CHECK_INT(r, 0);
    CHECK_INT(address_family(&address), family);
    CHECK_INT(address_port(&address), 443);
    CHECK_STRING(address_text(&address, again, sizeof(again)), printed);
}

static void check_refused(const char *text)
{
    struct address address;
    int r = address_parse(&address, text, 1);
    if (r != ADDRESS_E_NOT_LITERAL)
        fprintf(stderr, "taken: %s\n", text);
    CHECK_INT(r, ADDRESS_E_NOT_LITERAL);
}

TEST(address, literals)
{
    check_literal("192.0.2.1", AF_INET, "192.0.2.1");
    check_literal("0.0.0.0", AF_INET, "0.0.0.0");
    check_literal("2001:DB8::1", AF_INET6, "2001:db8::1");
    check_literal("[2001:db8::1]", AF_INET6, "2001:db8::1");
    check_literal("::", AF_INET6, "::");
    check_literal("::ffff:192.0.2.1", AF_INET6, "::ffff:192.0.2.1");
    check_literal("fe80::1%lo", AF_INET6, "fe80::1%lo");
    check_literal("[fe80::1%lo]", AF_INET6, "fe80::1%lo");
    check_literal("fe80::1%99999", AF_INET6, "fe80::1%99999");
}

TEST(address, not_literals)
{
    static const char *const texts[] = {"",
                                        "localhost",
                                        "192.0.2",
                                        "192.0.2.256",
                                        "192.0.2.1.",
                                        "010.0.0.1",
                                        "1",
                                        "0x7f.0.0.1",
                                        "192.0.2.1:80",
                                        "[192.0.2.1]",
                                        "[::1",
                                        "::1]",
                                        "[]",
                                        "[",
                                        "fe80::1%",
                                        "fe80::1%nosuchif0",
                                        "::1%4294967296",
                                        ":::",
                                        "1:2:3:4:5:6:7:8:9",
                                        " 192.0.2.1",
                                        "[[::1]]",
                                        "::1 "};
    char longest[5000];
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        check_refused(texts[i]);
    memset(longest, ':', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = '\0';
    check_refused(longest);
}

TEST(address, compare)
{
    struct address a, b, none = {0};
    CHECK_INT(address_parse(&a, "::1", 1), 0);
    CHECK_INT(address_parse(&b, "0:0::1", 1), 0);
    CHECK(address_equal(&a, &b));
    address_set_port(&b, 2);
    CHECK(!address_equal(&a, &b));
    CHECK_INT(address_parse(&b, "::1%lo", 1), 0);
    CHECK(!address_equal(&a, &b));
    CHECK_INT(address_parse(&b, "127.0.0.1", 1), 0);
    CHECK(!address_equal(&a, &b));
    CHECK(!address_equal(&none, &b));
    CHECK(address_equal(&none, &none));
    CHECK_INT(address_family(&none), AF_UNSPEC);
    CHECK_INT(address_port(&none), 0);
}

static void check_unmapped(const char *text, const char *printed)
{
    struct address address, wanted;
    CHECK_INT(address_parse(&address, text, 443), 0);
    CHECK_INT(address_parse(&wanted, printed, 443), 0);
    address_unmap(&address);
    CHECK(address_equal(&address, &wanted));
    CHECK_INT(address.n_bytes, wanted.n_bytes);
}

TEST(address, unmap)
{
    struct address none = {0};
    check_unmapped("::ffff:192.0.2.1", "192.0.2.1");
    check_unmapped("::ffff:0.0.0.0", "0.0.0.0");
    check_unmapped("::ffff:255.255.255.255", "255.255.255.255");
    check_unmapped("192.0.2.1", "192.0.2.1");
    check_unmapped("2001:db8::1", "2001:db8::1");
    check_unmapped("::", "::");
    check_unmapped("::192.0.2.1", "::192.0.2.1"); /* IPv4-compatible: something else, and gone */
    check_unmapped("::fffe:192.0.2.1", "::fffe:192.0.2.1");
    check_unmapped("1::ffff:192.0.2.1", "1::ffff:192.0.2.1");
    address_unmap(&none);
    CHECK_INT(address_family(&none), AF_UNSPEC);
}

TEST(address, loopback)
{
    static const struct {
        const char *text;
        bool loopback;
    } cases[] = {{"127.0.0.1", true},
                 {"127.255.0.9", true},
                 {"128.0.0.1", false},
                 {"126.255.255.255", false},
                 {"0.0.0.0", false},
                 {"::1", true},
                 {"::2", false},
                 {"::", false},
                 {"::ffff:127.0.0.1", true},
                 {"::ffff:10.0.0.1", false},
                 {"fe80::1", false}};
    struct address address;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        CHECK_INT(address_parse(&address, cases[i].text, 1), 0);
        CHECK_INT(address_is_loopback(&address), cases[i].loopback);
    }
}

TEST(address, text_is_cut)
{
    struct address a;
    char text[5] = "xxxx", one[1] = {'x'};
    CHECK_INT(address_parse(&a, "192.0.2.1", 1), 0);
    CHECK_STRING(address_text(&a, text, sizeof(text)), "192.");
    CHECK_STRING(address_text(&a, one, sizeof(one)), "");
    CHECK_STRING(address_text(&(struct address){0}, text, sizeof(text)), "");
}

TEST(address, ends_of_a_socket)
{
    struct address local, remote, wanted;
    int listener = socket(AF_INET, SOCK_STREAM, 0), client = socket(AF_INET, SOCK_STREAM, 0);
    CHECK_INT(address_parse(&wanted, "127.0.0.1", 0), 0);
    CHECK_INT(bind(listener, &wanted.any, wanted.n_bytes), 0);
    CHECK_INT(listen(listener, 1), 0);
    CHECK_INT(address_of_socket(listener, &local, &remote), -ENOTCONN);
    CHECK_INT(getsockname(listener, &wanted.any, &wanted.n_bytes), 0);
    CHECK_INT(connect(client, &wanted.any, wanted.n_bytes), 0);
    CHECK_INT(address_of_socket(client, &local, &remote), 0);
    CHECK(address_equal(&remote, &wanted));
    CHECK(address_port(&local) != 0);
    close(client);
    close(listener);
}
