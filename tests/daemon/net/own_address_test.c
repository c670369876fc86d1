#include "net/own_address.h"

#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <sys/resource.h>
#include <unistd.h>

#include "support/test.h"

static struct address literal(const char *text)
{
    struct address address = {.n_bytes = 0};
    CHECK_INT(address_parse(&address, text, 443), 0);
    return address;
}

static void check(const char *text, int wanted)
{
    struct address address = literal(text);
    int r = address_is_own(&address);
    if (r != wanted)
        fprintf(stderr, "%s: %d, not %d\n", text, r, wanted);
    CHECK_INT(r, wanted);
}

TEST(own_address, loopback)
{
    check("127.0.0.1", 1);
    check("127.9.9.9", 1);
    check("::1", 1);
    check("::ffff:127.0.0.1", 1);
    check("0.0.0.0", 1);
}

TEST(own_address, others)
{
    check("192.0.2.99", 0);
    check("2001:db8::99", 0);
    check("255.255.255.255",
          1); /* all of a network, this host included; or there is no way there */
}

/* What the system lists, is. */
TEST(own_address, those_that_are_listed)
{
    struct ifaddrs *all = NULL;
    CHECK_INT(getifaddrs(&all), 0);
    for (const struct ifaddrs *each = all; each; each = each->ifa_next) {
        struct address address = {.n_bytes = 0};
        int family = each->ifa_addr ? each->ifa_addr->sa_family : AF_UNSPEC;
        if (family == AF_INET)
            address.n_bytes = sizeof(address.v4);
        else if (family == AF_INET6)
            address.n_bytes = sizeof(address.v6);
        else
            continue;
        memcpy(&address.any, each->ifa_addr, address.n_bytes);
        CHECK_INT(address_is_own(&address), 1);
    }
    freeifaddrs(all);
}

TEST(own_address, without_descriptors)
{
    struct rlimit before, none;
    struct address address = literal("192.0.2.99");
    int last = dup(0);

    CHECK(last >= 0);
    close(last);
    CHECK_INT(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = (struct rlimit){.rlim_cur = (rlim_t)last, .rlim_max = before.rlim_max};
    CHECK_INT(setrlimit(RLIMIT_NOFILE, &none), 0);
    int r = address_is_own(&address);
    CHECK_INT(setrlimit(RLIMIT_NOFILE, &before), 0);
    CHECK_INT(r, -EMFILE);
}
