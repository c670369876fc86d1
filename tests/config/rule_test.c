/* What the texts of a rule mean. */
#include "config/rule.h"

#include <arpa/inet.h>

#include "support/test.h"

TEST(rule, ranges)
{
    static const char *const good[][3] = {
        {"10.0.0.1", "10.0.0.1", "10.0.0.1"},
        {"10.0.0.0/8", "10.0.0.0", "10.255.255.255"},
        {"10.0.0.0/9", "10.0.0.0", "10.127.255.255"},
        {"0.0.0.0/0", "0.0.0.0", "255.255.255.255"},
        {"192.0.2.7/32", "192.0.2.7", "192.0.2.7"},
        {"10.0.0.9-10.0.1.3", "10.0.0.9", "10.0.1.3"},
        {"::/0", "::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
        {"2001:DB8::/33", "2001:db8::", "2001:db8:7fff:ffff:ffff:ffff:ffff:ffff"},
        {"::1/128", "::1", "::1"},
        {"fe80::1-fe80::ff", "fe80::1", "fe80::ff"},
    };
    static const char *const bad[] = {"",
                                      "x",
                                      "10.0.0",
                                      "10.0.0.256",
                                      "010.0.0.1",
                                      "10.0.0.1/8",
                                      "10.0.0.0/33",
                                      "10.0.0.0/",
                                      "10.0.0.0/08",
                                      "10.0.0.0/8x",
                                      "10.0.0.0/-1",
                                      "::/129",
                                      "10.0.0.2-10.0.0.1",
                                      "10.0.0.1-::1",
                                      "10.0.0.1-",
                                      "-10.0.0.1",
                                      "fe80::1%lo",
                                      "::ffff:10.0.0.1",
                                      "[::1]",
                                      "Public",
                                      "10.0.0.1:80",
                                      "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"};
    static const char *const words[] = {"",           "public",   "private", "loopback",
                                        "link-local", "metadata", "own",     "multicast"};
    struct config_range range;

    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        char text[2][INET6_ADDRSTRLEN];
        CHECK(config_read_range(good[i][0], &range) == NULL);
        CHECK_INT(range.word, CONFIG_RANGE_NUMBERS);
        const struct in6_addr *ends[2] = {&range.first, &range.last};
        for (int k = 0; k < 2; k++) {
            inet_ntop(range.v6 ? AF_INET6 : AF_INET,
                      range.v6 ? ends[k]->s6_addr : &ends[k]->s6_addr[12], text[k],
                      sizeof(text[k]));
            CHECK_STRING(text[k], good[i][k + 1]);
        }
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (!config_read_range(bad[i], &range))
            fprintf(stderr, "taken: %s\n", bad[i]);
        CHECK(config_read_range(bad[i], &range) != NULL);
    }
    for (size_t i = 1; i < sizeof(words) / sizeof(words[0]); i++) {
        CHECK(config_read_range(words[i], &range) == NULL);
        CHECK_INT(range.word, i);
    }
}

TEST(rule, ports)
{
    static const char *const bad[] = {
        "",      "0",    "65536",     "99999", "080", "80-", "-80",
        "90-80", "80-0", "80-90-100", "1.2",   "a b", "a/b", "123456789012345678901234567890abc"};
    struct config_ports ports;

    CHECK(config_read_ports("80", &ports) == NULL);
    CHECK(ports.first == 80 && ports.last == 80 && !*ports.service);
    CHECK(config_read_ports("1-65535", &ports) == NULL);
    CHECK(ports.first == 1 && ports.last == 65535);
    CHECK(config_read_ports("ms-sql-s", &ports) == NULL);
    CHECK(ports.first == 0);
    CHECK_STRING(ports.service, "ms-sql-s");
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (!config_read_ports(bad[i], &ports))
            fprintf(stderr, "taken: %s\n", bad[i]);
        CHECK(config_read_ports(bad[i], &ports) != NULL);
    }
}

TEST(rule, patterns)
{
    static const char *const bad[] = {"",     "*",     "*.",  ".",    "a..b",    ".a",  "a*.b",
                                      "*a.b", "a.*.b", "a b", "a:80", "1.2.3.4", "::1", "a/b"};
    struct config_pattern pattern;

    CHECK(config_read_pattern("A.example", &pattern) == NULL);
    CHECK_STRING(pattern.name, "A.example");
    CHECK(!pattern.below);
    CHECK(config_read_pattern("*.b\xc3\xbc"
                              "cher.example.",
                              &pattern) == NULL);
    CHECK_STRING(pattern.name, "b\xc3\xbc"
                               "cher.example");
    CHECK(pattern.below);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (!config_read_pattern(bad[i], &pattern))
            fprintf(stderr, "taken: %s\n", bad[i]);
        CHECK(config_read_pattern(bad[i], &pattern) != NULL);
    }
}

TEST(rule, verdicts)
{
    enum config_verdict verdict;

    CHECK(config_read_verdict("allow", &verdict) == NULL && verdict == CONFIG_ALLOW);
    CHECK(config_read_verdict("deny", &verdict) == NULL && verdict == CONFIG_DENY);
    CHECK(config_read_verdict("report", &verdict) == NULL && verdict == CONFIG_REPORT);
    CHECK(config_read_verdict("", &verdict) != NULL);
    CHECK(config_read_verdict("den", &verdict) != NULL);
    CHECK(config_read_verdict("Deny", &verdict) != NULL);
}
