/* What the texts in a configuration mean: pins, destinations, numbers of users, files. */
#include "support/test.h"

#include "config/value.h"

#define HASH_BASE64 "HdS5jMk7ohHDyI++FDmWW7WXZkGJOEImZGKqCN6RSvQ="
#define HASH_HEX    "1dd4b98cc93ba211c3c88fbe1439965bb5976641893842266462aa08de914af4"

TEST(value, pins)
{
    uint8_t base64[CONFIG_PIN_SIZE], hex[CONFIG_PIN_SIZE], upper[CONFIG_PIN_SIZE];
    CHECK(config_read_pin("sha256/" HASH_BASE64, base64) == NULL);
    CHECK(config_read_pin("sha256:" HASH_HEX, hex) == NULL);
    CHECK(memcmp(base64, hex, sizeof(hex)) == 0);
    CHECK_INT(hex[0], 0x1d);
    CHECK_INT(hex[31], 0xf4);
    CHECK(config_read_pin("sha256:1DD4B98CC93BA211C3C88FBE1439965BB5976641893842266462AA08DE914AF4",
                          upper) == NULL);
    CHECK(memcmp(upper, hex, sizeof(hex)) == 0);
}

TEST(value, pins_that_are_none)
{
    static const char *const bad[] = {
        "",
        "sha256",
        "sha256/",
        "sha256:",
        HASH_BASE64,
        HASH_HEX,
        "sha1/" HASH_BASE64,
        "SHA256/" HASH_BASE64,
        "sha256//" HASH_BASE64,
        "sha256:" HASH_BASE64,
        "sha256/" HASH_HEX,
        "sha256/" HASH_BASE64 "=",
        "sha256/HdS5jMk7ohHDyI++FDmWW7WXZkGJOEImZGKqCN6RSvQ",
        "sha256/HdS5jMk7ohHDyI++FDmWW7WXZkGJOEImZGKqCN6RSv==",
        "sha256/HdS5jMk7ohHDyI++FDmWW7WXZkGJOEImZGKqCN6RSvR=", /* bits too many */
        "sha256/HdS5jMk7ohHDyI--FDmWW7WXZkGJOEImZGKqCN6RSvQ=", /* base64url */
        "sha256/=dS5jMk7ohHDyI++FDmWW7WXZkGJOEImZGKqCN6RSvQ=",
        "sha256:" HASH_HEX "0",
        "sha256:1dd4b98cc93ba211c3c88fbe1439965bb5976641893842266462aa08de914af",
        "sha256:1dd4b98cc93ba211c3c88fbe1439965bb5976641893842266462aa08de914ag4",
        "sha256:gdd4b98cc93ba211c3c88fbe1439965bb5976641893842266462aa08de914af4",
    };
    uint8_t hash[CONFIG_PIN_SIZE] = {7};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        CHECK(config_read_pin(bad[i], hash) != NULL);
    CHECK_INT(hash[0], 7); /* as before */
}

TEST(value, destinations)
{
    static const struct {
        const char *text, *host;
        bool below, is_address;
        int port;
    } good[] = {
        {"example.com", "example.com", false, false, 0},
        {"Example.COM:443", "example.com", false, false, 443},
        {"*.example.com", "example.com", true, false, 0},
        {"*.example.com:1", "example.com", true, false, 1},
        {"localhost", "localhost", false, false, 0},
        {"_srv.x-1.a1", "_srv.x-1.a1", false, false, 0},
        {"xn--bcher-kva.example:65535", "xn--bcher-kva.example", false, false, 65535},
        {"127.0.0.1", "127.0.0.1", false, true, 0},
        {"127.0.0.1:80", "127.0.0.1", false, true, 80},
        {"::1", "::1", false, true, 0},
        {"[::1]", "::1", false, true, 0},
        {"[::1]:8443", "::1", false, true, 8443},
        {"2001:DB8:0:0:0:0:0:1", "2001:db8::1", false, true, 0},
    };
    struct config_destination destination;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        CHECK(config_read_destination(good[i].text, &destination) == NULL);
        CHECK_STRING(destination.host, good[i].host);
        CHECK_INT(destination.below, good[i].below);
        CHECK_INT(destination.is_address, good[i].is_address);
        CHECK_INT(destination.port, good[i].port);
    }
}

TEST(value, destinations_that_are_none)
{
    static const char *const bad[] = {
        "",
        "*",
        "*:443",
        "*.",
        "*.*.example.com",
        "a.*.example.com",
        "*example.com",
        ".example.com",
        "example.com.",
        "example..com",
        "exa mple",
        "\xC3\xBC.example",
        "example.com/",
        "https://example.com",
        "alice@example.com",
        "example.com:",
        "example.com:0",
        "example.com:080",
        "example.com:65536",
        "example.com:99999999999999999999",
        "example.com:https",
        "example.com:+1",
        "10.1",
        "300.1.1.1",
        "1.2.3.4.5",
        "*.1.2.3.4",
        "10.0.0.0/8",
        "::1:99999",
        ":443",
        ":",
        "[",
        "[]",
        "[::1",
        "[::1]443",
        "[::1]:",
        "[::1]x",
        "[127.0.0.1]:80",
        "[example.com]:80",
        "fe80::1%eth0",
        "[fe80::1%eth0]:80",
    };
    struct config_destination destination = {.port = 7};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (!config_read_destination(bad[i], &destination))
            fprintf(stderr, "\"%s\" was taken\n", bad[i]);
        CHECK(config_read_destination(bad[i], &destination) != NULL);
    }
    CHECK_INT(destination.port, 7); /* as before */
}

TEST(value, endpoints)
{
    static const char *const bad[] = {"",      "host",        "*.host:443", "::1",
                                      "[::1]", "192.0.2.1:0", "host:https", "host:443:1"};
    struct config_destination endpoint = {.port = 7};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        CHECK(config_read_endpoint(bad[i], &endpoint) != NULL, "%s", bad[i]);
    CHECK_INT(endpoint.port, 7); /* as before */
    CHECK(config_read_endpoint("API.Example:443", &endpoint) == NULL);
    CHECK_STRING(endpoint.host, "api.example");
    CHECK_INT(endpoint.port, 443);
    CHECK(!endpoint.is_address);
    CHECK(config_read_endpoint("[2001:DB8::1]:65535", &endpoint) == NULL);
    CHECK_STRING(endpoint.host, "2001:db8::1");
    CHECK(endpoint.is_address);
}

TEST(value, destinations_keep_to_the_length_of_names)
{
    char text[1024];
    struct config_destination destination;
    memset(text, 'a', sizeof(text));
    text[63] = 0;
    CHECK(config_read_destination(text, &destination) == NULL);
    text[63] = 'a';
    text[64] = 0;
    CHECK(config_read_destination(text, &destination) != NULL);
    text[64] = 'a';
    for (size_t i = 50; i < sizeof(text); i += 51)
        text[i] = '.';
    text[253] = 0;
    CHECK(config_read_destination(text, &destination) == NULL);
    CHECK_INT(strlen(destination.host), 253);
    text[253] = 'a';
    text[254] = 0;
    CHECK(config_read_destination(text, &destination) != NULL);
    text[254] = 'a';
    text[sizeof(text) - 1] = 0;
    CHECK(config_read_destination(text, &destination) != NULL);
}

TEST(value, numbers_of_users)
{
    uint32_t id = 7;
    bool is_number = false;
    CHECK(config_read_id("0", &is_number, &id) == NULL && is_number && id == 0);
    CHECK(config_read_id("1001", &is_number, &id) == NULL && is_number && id == 1001);
    CHECK(config_read_id("4294967294", &is_number, &id) == NULL && is_number && id == 4294967294U);
    CHECK(config_read_id("alice", &is_number, &id) == NULL && !is_number && id == 0);
    CHECK(config_read_id("CORP\\alice@corp.example", &is_number, &id) == NULL && !is_number);
    static const char *const bad[] = {"4294967295", "99999999999999999999999",
                                      "12ab",       "1.5",
                                      "-1",         "+1",
                                      "007",        "0x10",
                                      "*",          "a:b",
                                      "a/b",        "-x"};
    id = 7;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        CHECK(config_read_id(bad[i], &is_number, &id) != NULL);
    CHECK_INT(id, 7); /* as before */
    char longer[257];
    memset(longer, 'a', sizeof(longer));
    longer[255] = 0;
    CHECK(config_read_id(longer, &is_number, &id) == NULL);
    longer[255] = 'a';
    longer[256] = 0;
    CHECK(config_read_id(longer, &is_number, &id) != NULL);
}

TEST(value, files)
{
    static const char *const bad[] = {"",         "x.pem",    "cred:",     "cred:..",
                                      "cred:.",   "cred:a/b", "cred:/etc", "cred:../etc",
                                      "cred:a:b", "Cred:a",   "cred:a b",  "file:///x"};
    char path[64];
    CHECK_INT(setenv("CREDENTIALS_DIRECTORY", "/run/credentials/x", 1), 0);
    CHECK(config_file_path("/etc/x.pem", path, sizeof(path)) == NULL);
    CHECK_STRING(path, "/etc/x.pem");
    CHECK(config_file_path("cred:partner.key", path, sizeof(path)) == NULL);
    CHECK_STRING(path, "/run/credentials/x/partner.key");
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        CHECK(config_check_file(bad[i]) != NULL);
        CHECK(config_file_path(bad[i], path, sizeof(path)) != NULL);
    }
    CHECK(config_file_path("cred:partner.key", path, strlen("/run/credentials/x/partner.key")) !=
          NULL);
    CHECK_INT(setenv("CREDENTIALS_DIRECTORY", "relative", 1), 0);
    CHECK(config_file_path("cred:partner.key", path, sizeof(path)) != NULL);
    CHECK_INT(unsetenv("CREDENTIALS_DIRECTORY"), 0);
    CHECK(strstr(config_file_path("cred:x", path, sizeof(path)), "$CREDENTIALS_DIRECTORY") != NULL);
    CHECK(config_check_file("cred:x") == NULL); /* checking needs no credentials */
    char longer[300] = "cred:";
    memset(longer + 5, 'a', 256);
    CHECK(config_check_file(longer) != NULL);
    longer[5 + 255] = 0;
    CHECK(config_check_file(longer) == NULL);
}

TEST(value, doors)
{
    struct config_door door = {.v6 = true, .port = 7};
    char path[CONFIG_MAX_SOCKET + 2];

    CHECK(config_read_door("/run/tcpbroker/a.sock", &door) == NULL);
    CHECK_INT(door.port, 0);
    CHECK(config_read_door("127.0.0.1:5432", &door) == NULL);
    CHECK_INT(door.port, 5432);
    CHECK(!door.v6);
    CHECK(config_read_door("[::1]:65535", &door) == NULL);
    CHECK_INT(door.port, 65535);
    CHECK(door.v6);
    memset(path, 'x', sizeof(path));
    path[0] = '/';
    path[CONFIG_MAX_SOCKET + 1] = 0;
    CHECK(config_read_door(path, &door) != NULL);
    path[CONFIG_MAX_SOCKET] = 0;
    CHECK(config_read_door(path, &door) == NULL);
}

/* nobody from outside comes in, whatever is written */
TEST(value, doors_that_are_none)
{
    static const char *const bad[] = {
        "",
        "a.sock",
        "0.0.0.0:80",
        "*:80",
        "127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:0",
        "127.0.0.1:65536",
        "127.0.0.1:x",
        "127.0.0.10:80",
        "127.0.0.2:1",
        "[::]:80",
        "::1:80",
        "[::1]",
        "[::1]:",
        "localhost:80",
        "192.0.2.1:80",
        ":80",
        "80",
        "127.0.0.1:80 ",
    };
    struct config_door door = {.port = 7};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        CHECK(config_read_door(bad[i], &door) != NULL);
    CHECK_INT(door.port, 7);
}

static void check_target(const char *text, const char *host, const char *service, uint16_t port)
{
    struct config_target target;
    CHECK(config_read_target(text, &target) == NULL);
    CHECK_STRING(target.host, host);
    CHECK_STRING(target.service, service);
    CHECK_INT(target.port, port);
}

TEST(value, targets)
{
    check_target("db.Example.COM:5432", "db.example.com", "5432", 5432);
    check_target("db:postgresql", "db", "postgresql", 0);
    check_target("192.0.2.1:443", "192.0.2.1", "443", 443);
    check_target("[2001:DB8::1]:443", "2001:db8::1", "443", 443);
    check_target("a:x11-1", "a", "x11-1", 0);
}

TEST(value, targets_that_are_none)
{
    static const char *const bad[] = {
        "",       "db",      "db:",      ":80",      "db:0",          "db:65536", "db:80:90",
        "::1:80", "[::1]",   "[::1]80",  "[::1]:",   "*.example:443", "*:443",    "a b:80",
        "db:a b", "[db]:80", "db..x:80", "1.2.3:80", "db:80/tcp",     "/x:80",    "[::1:80",
    };
    struct config_target target = {.port = 7};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        CHECK(config_read_target(bad[i], &target) != NULL);
    CHECK_INT(target.port, 7);
    CHECK(config_check_host("db.example") == NULL);
    CHECK(config_check_host("2001:db8::1") == NULL);
    CHECK(config_check_host("db.example:80") != NULL);
    CHECK(config_check_host("*.example") != NULL);
    CHECK(config_check_host("[::1]") != NULL);
}
