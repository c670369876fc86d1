#include "net/hostname.h"

#include "support/test.h"

static void check(const char *host, const char *wanted)
{
    char wire[HOSTNAME_WIRE_MAX] = "";
    CHECK_INT(hostname_wire(host, wire), 0);
    CHECK_STRING(wire, wanted);
}

static void refused(const char *host, int wanted)
{
    char wire[HOSTNAME_WIRE_MAX];
    CHECK_INT(hostname_wire(host, wire), wanted);
}

TEST(hostname, ascii)
{
    check("example.com", "example.com");
    check("EXAMPLE.Com", "example.com");
    check("example.com.", "example.com."); /* another question than the former */
    check("_sip._TCP.example.com", "_sip._tcp.example.com");
    check("127.1", "127.1");
    check("a", "a");
}

TEST(hostname, other_scripts)
{
    check("bücher.example", "xn--bcher-kva.example");
    check("BÜCHER.Example", "xn--bcher-kva.example");
    check("bu\u0308cher.example", "xn--bcher-kva.example"); /* decomposed */
    check("straße.example", "xn--strae-oqa.example");       /* not "strasse": non-transitional */
    check("例え。テスト", "xn--r8jz45g.xn--zckzah");        /* a full stop of its own */
    check("münchen.de.", "xn--mnchen-3ya.de.");
    check("Ａ.example", "a.example");
}

TEST(hostname, refused)
{
    char name[600];

    refused("", HOSTNAME_E_INVALID);
    refused(".", HOSTNAME_E_INVALID);
    refused(".example", HOSTNAME_E_INVALID);
    refused(".bücher", HOSTNAME_E_INVALID);
    refused("。bücher", HOSTNAME_E_INVALID);
    refused("127.0.0.1 example", HOSTNAME_E_INVALID);
    refused("a\tb", HOSTNAME_E_INVALID);
    refused("127.0.0.1\u00a0é", HOSTNAME_E_ENCODING);
    refused("\xff\xfe.example", HOSTNAME_E_ENCODING);
    refused("a\u0301\u200d\u202e.example", HOSTNAME_E_ENCODING);
    memset(name, 'a', sizeof(name));
    name[253] = '\0';
    check(name, name);
    name[253] = '.';
    name[254] = '\0';
    check(name, name);
    name[253] = 'a';
    refused(name, HOSTNAME_E_INVALID);
    /* short enough as it stands, too long as A-labels */
    name[0] = '\0';
    for (int i = 0; i < 30; i++)
        strcat(name, "üöäü.");
    refused(name, HOSTNAME_E_INVALID);
    memset(name, 'a', 64);
    strcpy(name + 64, "ü.example");
    refused(name, HOSTNAME_E_ENCODING);
}
