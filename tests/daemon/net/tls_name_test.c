#include "net/tls_internal.h"

#include <string.h>

#include "support/test.h"

static const char *fault_of(const char *name, bool verify)
{
    struct tls_name parsed;
    const char *fault;
    CHECK_INT(tls_name_parse(&parsed, name, verify, &fault), 0);
    CHECK(tls_server_name_fault(name, verify) == fault);
    return fault;
}

static void check_text(const char *name, const char *wanted)
{
    struct tls_name parsed;
    const char *fault;
    CHECK_INT(tls_name_parse(&parsed, name, true, &fault), 0);
    CHECK(!fault);
    CHECK_STRING(parsed.text, wanted);
    CHECK_INT(parsed.address.n_bytes, 0);
}

static void check_address(const char *name, const char *wanted)
{
    struct tls_name parsed;
    const char *fault;
    char text[ADDRESS_TEXT_MAX];
    CHECK_INT(tls_name_parse(&parsed, name, true, &fault), 0);
    CHECK(!fault);
    CHECK_STRING(parsed.text, "");
    CHECK_STRING(address_text(&parsed.address, text, sizeof(text)), wanted);
}

TEST(tls_name, names)
{
    check_text("localhost", "localhost");
    check_text("www.Example.org.", "www.Example.org");
    check_text("_tcp.a_b.example", "_tcp.a_b.example");
    check_text("xn--bcher-kva.example", "xn--bcher-kva.example");
    check_text("1.example", "1.example");
}

TEST(tls_name, converted)
{
    check_text("b\xc3\xbc"
               "cher.example",
               "xn--bcher-kva.example");
    check_text("B\xc3\x9c"
               "CHER.Example.",
               "xn--bcher-kva.example");
    check_text("bu\xcc\x88"
               "cher.example",
               "xn--bcher-kva.example");
    check_text("stra\xc3\x9f"
               "e.example",
               "xn--strae-oqa.example");
    check_text("b\xc3\xbc"
               "cher\xe3\x80\x82"
               "example",
               "xn--bcher-kva.example"); /* U+3002, the ideographic full stop */
}

TEST(tls_name, addresses)
{
    check_address("127.0.0.1", "127.0.0.1");
    check_address("127.0.0.1.", "127.0.0.1");
    check_address("127.1", "127.0.0.1");
    check_address("0x7f000001", "127.0.0.1");
    check_address("2130706433", "127.0.0.1");
    check_address("[::1]", "::1");
    check_address("2001:DB8::1", "2001:db8::1");
    check_address("::ffff:127.0.0.1", "::ffff:127.0.0.1");
    check_address("\xef\xbc\x91\xef\xbc\x92\xef\xbc\x97.0.0.1", "127.0.0.1"); /* full-width 127 */
}

TEST(tls_name, faults)
{
    static const char *const names[] = {
        ".",
        ".example.org",
        "a..b",
        "a..",
        "a b",
        "*.example.org",
        "a/b",
        "::g",
        "[::1",
        "\x01",
        "b\xfc.example",              /* no UTF-8 */
        "\xe2\x98\x83\xe2\x80\x8d.a", /* a joiner after a snowman */
        "\xe3\x80\x82.example",       /* two dots */
    };
    char long_name[300], long_label[80];

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        for (int verify = 0; verify < 2; verify++)
            if (!fault_of(names[i], verify)) {
                fprintf(stderr, "%s is taken\n", names[i]);
                CHECK(fault_of(names[i], verify) != NULL);
            }
    CHECK(fault_of("", true) != NULL);
    CHECK(fault_of("", false) == NULL);
    for (size_t i = 0; i < sizeof(long_name); i++)
        long_name[i] = i % 2 ? '.' : 'a';
    long_name[253] = '\0';
    CHECK(fault_of(long_name, true) == NULL);
    long_name[253] = '.';
    long_name[254] = '\0';
    CHECK(fault_of(long_name, true) == NULL); /* the dot of the root does not count */
    long_name[253] = 'a';
    CHECK(fault_of(long_name, true) != NULL);
    long_name[254] = 'a';
    long_name[299] = '\0';
    CHECK(fault_of(long_name, true) != NULL);
    memset(long_label, 'a', 64);
    memcpy(long_label + 63, ".a", 3);
    CHECK(fault_of(long_label, true) == NULL);
    memcpy(long_label + 63, "a.a", 4);
    CHECK(fault_of(long_label, true) != NULL);
}
