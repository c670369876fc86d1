#include "net/backoff.h"

#include <ctype.h>
#include <pthread.h>

#include "support/test.h"

static const struct backoff_settings usual = {.after = 3, .min_ms = 1000, .max_ms = 15000};

static struct address address_of(const char *text, uint16_t port)
{
    struct address address;
    CHECK_INT(address_parse(&address, text, port), 0);
    return address;
}

/*
 * A script: a number lets that many milliseconds pass, 'r' is an attempt that begins and is
 * refused, 'b' one that began with the script and is refused only now, 'c' one that connects, 'a'
 * changes to another destination and back. '?' asks: what comes of it is "go", or how often it has
 * refused and for how many milliseconds it is left alone.
 */
struct backoff_case {
    const char *name, *address;
    struct backoff_settings settings;
    const char *script, *wanted;
};

#define FAR "192.0.2.1"
static const struct backoff_case cases[] = {
    {"unknown", FAR, {3, 1000, 15000}, "?", "go"},
    {"two refusals are too few", FAR, {3, 1000, 15000}, "r?r?", "go go"},
    {"the third begins a pause", FAR, {3, 1000, 15000}, "rrr?", "3:1000"},
    {"it runs down", FAR, {3, 1000, 15000}, "rrr 100? 899? 1?", "3:900 3:1 go"},
    {"each further one doubles it",
     FAR,
     {3, 1000, 15000},
     "rrr? 1000r? 2000r? 4000r? 8000r? 15000r?",
     "3:1000 4:2000 5:4000 6:8000 7:15000 8:15000"},
    {"at once", FAR, {1, 1000, 15000}, "r?", "1:1000"},
    {"never", FAR, {0, 1000, 15000}, "rrrrrrrr?", "go"},
    {"one connection ends it", FAR, {3, 1000, 15000}, "rrr?c?", "3:1000 go"},
    {"and it begins anew", FAR, {3, 1000, 15000}, "rrr 1000r?crr?r?", "4:2000 go 3:1000"},
    {"not in a row", FAR, {3, 1000, 15000}, "rrcrr?", "go"},
    {"a run that is long ago", FAR, {3, 1000, 15000}, "rr 15000r?", "go"},
    {"not so long ago", FAR, {3, 1000, 15000}, "rr 14999r?", "3:1000"},
    {"a pause that is long ago", FAR, {3, 1000, 15000}, "rrr 16000r?", "go"},
    {"not so long ago either", FAR, {3, 1000, 15000}, "rrr 15999r?", "4:2000"},
    {"all at a time are one refusal", FAR, {3, 1000, 15000}, "1 rbbbbbbb?", "go"},
    {"those of before the pause do not make it longer",
     FAR,
     {3, 1000, 15000},
     "1 rrr?bbb?",
     "3:1000 3:1000"},
    {"all who are let through after it are one refusal",
     FAR,
     {1, 1000, 15000},
     "1 r 1000 rbbb?",
     "2:2000"},
    {"another destination", FAR, {1, 1000, 15000}, "r?a?r?a?", "1:1000 go 1:1000 1:1000"},
    {"connected to another destination", FAR, {1, 1000, 15000}, "rac?a?", "go 1:1000"},
    {"of this host: no longer than at first",
     "127.0.0.1",
     {3, 1000, 15000},
     "rrr? 1000r? 1000r? 1000r?",
     "3:1000 4:1000 5:1000 6:1000"},
    {"of this host, IPv6", "::1", {3, 1000, 15000}, "rrr? 1000r?", "3:1000 4:1000"},
    {"of this host, mapped", "::ffff:127.0.0.3", {3, 1000, 15000}, "rrr? 1000r?", "3:1000 4:1000"},
    {"IPv6", "2001:db8::1", {3, 1000, 15000}, "rrr? 1000r?", "3:1000 4:2000"},
    {"the longest is not doubled beyond", FAR, {1, 1000, 3000}, "r 1000r? 2000r?", "2:2000 3:3000"},
    {"first and longest are the same", FAR, {1, 1000, 1000}, "r? 1000r?", "1:1000 2:1000"},
    {"an hour does not run over",
     FAR,
     {1, 3600000, 3600000},
     "r? 3600000r? 3600000r?",
     "1:3600000 2:3600000 3:3600000"},
};

static void run_case(const struct backoff_case *each)
{
    struct address destinations[2] = {address_of(each->address, 80), address_of(each->address, 81)};
    const struct address *to = &destinations[0];
    struct backoff *backoff = NULL;
    struct backoff_pause pause;
    const int64_t began = 7000000; /* an uptime */
    int64_t now = began;
    char done[512] = "";

    CHECK_INT(backoff_new(&backoff), 0);
    for (const char *p = each->script; *p;) {
        size_t n = strlen(done);
        if (isdigit((unsigned char)*p)) {
            now += strtol(p, (char **)&p, 10) * 1000;
            continue;
        }
        switch (*p++) {
        case 'r':
            backoff_refused(backoff, to, &each->settings, now, now);
            break;
        case 'b':
            backoff_refused(backoff, to, &each->settings, began, now);
            break;
        case 'c':
            backoff_connected(backoff, to);
            break;
        case 'a':
            to = to == &destinations[0] ? &destinations[1] : &destinations[0];
            break;
        case '?':
            if (backoff_pausing(backoff, to, &each->settings, now, &pause))
                snprintf(done + n, sizeof(done) - n, "%s%u:%lld", n ? " " : "", pause.n_refused,
                         (long long)(pause.until_us - now) / 1000);
            else
                snprintf(done + n, sizeof(done) - n, "%sgo", n ? " " : "");
            break;
        default:
            break;
        }
    }
    if (strcmp(done, each->wanted) != 0)
        fprintf(stderr, "case \"%s\"\n", each->name);
    CHECK_STRING(done, each->wanted);
    backoff_free(backoff);
}

TEST(backoff, table)
{
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        run_case(&cases[i]);
}

/* Address, port, family and zone: each makes another destination. */
TEST(backoff, destinations)
{
    const struct address all[] = {
        address_of("192.0.2.1", 80),   address_of("192.0.2.1", 443),  address_of("192.0.2.2", 80),
        address_of("2001:db8::1", 80), address_of("2001:db8::2", 80), address_of("fe80::1%lo", 80),
        address_of("fe80::1", 80),
    };
    const struct backoff_settings at_once = {.after = 1, .min_ms = 1000, .max_ms = 15000};
    const size_t n = sizeof(all) / sizeof(all[0]);
    struct backoff_pause pause;

    for (size_t i = 0; i < n; i++) {
        struct backoff *backoff = NULL;
        CHECK_INT(backoff_new(&backoff), 0);
        backoff_refused(backoff, &all[i], &at_once, 0, 1000);
        for (size_t k = 0; k < n; k++)
            CHECK_INT(backoff_pausing(backoff, &all[k], &at_once, 1000, &pause), k == i);
        backoff_free(backoff);
    }
}

/* The kernel sends an IPv4-mapped address to the IPv4 one: no second destination. */
TEST(backoff, mapped_addresses)
{
    const struct address both[] = {address_of("192.0.2.1", 80), address_of("::ffff:192.0.2.1", 80)};
    const struct backoff_settings at_once = {.after = 1, .min_ms = 1000, .max_ms = 15000};
    struct backoff_pause pause;

    for (size_t i = 0; i < 2; i++) {
        struct backoff *backoff = NULL;
        CHECK_INT(backoff_new(&backoff), 0);
        backoff_refused(backoff, &both[i], &at_once, 0, 1000);
        CHECK(backoff_pausing(backoff, &both[1 - i], &at_once, 1000, &pause));
        backoff_connected(backoff, &both[1 - i]);
        CHECK(!backoff_pausing(backoff, &both[i], &at_once, 1000, &pause));
        backoff_free(backoff);
    }
}

/* Settings are the asker's: what is known is seen by the new ones at once. */
TEST(backoff, settings_change)
{
    const struct address to = address_of(FAR, 80);
    const struct backoff_settings off = {.after = 0, .min_ms = 1000, .max_ms = 15000},
                                  patient = {.after = 6, .min_ms = 1000, .max_ms = 15000},
                                  longer = {.after = 3, .min_ms = 5000, .max_ms = 60000};
    struct backoff_pause pause;
    struct backoff *backoff = NULL;

    CHECK_INT(backoff_new(&backoff), 0);
    for (int i = 0; i < 4; i++)
        backoff_refused(backoff, &to, &usual, i, i);
    CHECK(backoff_pausing(backoff, &to, &usual, 3, &pause));
    CHECK_INT(pause.until_us, 3 + 2000000);
    CHECK(!backoff_pausing(backoff, &to, &off, 3, &pause));
    CHECK(!backoff_pausing(backoff, &to, &patient, 3, &pause));
    CHECK(backoff_pausing(backoff, &to, &longer, 3, &pause));
    CHECK_INT(pause.until_us, 3 + 10000000);
    CHECK_INT(pause.n_refused, 4);
    backoff_refused(backoff, &to, &off, 4, 4); /* counts nothing */
    CHECK(backoff_pausing(backoff, &to, &usual, 4, &pause));
    CHECK_INT(pause.n_refused, 4);
    backoff_free(backoff);
}

static struct address numbered(unsigned number)
{
    struct address address = address_of("198.18.0.0", 80);
    address.v4.sin_addr.s_addr = htonl(ntohl(address.v4.sin_addr.s_addr) + number);
    return address;
}

/* More destinations than there is room for: the last ones are known, and it stays within bounds. */
TEST(backoff, full)
{
    enum { N = BACKOFF_SETS * BACKOFF_WAYS * 20, HALF = BACKOFF_SETS * BACKOFF_WAYS / 2 };
    const struct backoff_settings at_once = {.after = 1, .min_ms = 3600000, .max_ms = 3600000};
    struct backoff_pause pause;
    struct backoff *backoff = NULL;
    unsigned n_known = 0, n_late = 0;

    CHECK_INT(backoff_new(&backoff), 0);
    for (unsigned i = 0; i < N; i++) {
        struct address address = numbered(i);
        backoff_refused(backoff, &address, &at_once, i, i);
        CHECK(backoff_pausing(backoff, &address, &at_once, i, &pause)); /* the new one has room */
    }
    for (unsigned i = 0; i < N; i++) {
        struct address address = numbered(i);
        bool known = backoff_pausing(backoff, &address, &at_once, N, &pause);
        n_known += known;
        n_late += known && i >= N - HALF;
    }
    CHECK_INT(n_known, BACKOFF_SETS * BACKOFF_WAYS);
    CHECK(n_late >= HALF * 9 / 10); /* who has been refused last is not the one that is forgotten */
    backoff_free(backoff);
}

/* Neighbours in a network, as a scan meets them, spread over the sets. */
TEST(backoff, spreads)
{
    enum { N = BACKOFF_SETS * BACKOFF_WAYS / 4 };
    const struct backoff_settings at_once = {.after = 1, .min_ms = 1000, .max_ms = 15000};
    struct backoff_pause pause;
    for (int by_port = 0; by_port < 2; by_port++) {
        struct backoff *backoff = NULL;
        unsigned n_known = 0;
        CHECK_INT(backoff_new(&backoff), 0);
        for (int asking = 0; asking < 2; asking++)
            for (unsigned i = 0; i < N; i++) {
                struct address address = numbered(by_port ? 0 : i);
                address_set_port(&address, (uint16_t)(by_port ? 1 + i : 80));
                if (asking)
                    n_known += backoff_pausing(backoff, &address, &at_once, 1, &pause);
                else
                    backoff_refused(backoff, &address, &at_once, 1, 1);
            }
        CHECK(n_known >= N * 97 / 100);
        backoff_free(backoff);
    }
}

/* An entry that is forgotten makes room before one that counts does. */
TEST(backoff, forgotten_ones_go_first)
{
    const struct backoff_settings at_once = {.after = 1, .min_ms = 1000, .max_ms = 2000};
    const struct address kept = numbered(1);
    struct backoff_pause pause;
    struct backoff *backoff = NULL;
    int64_t now = 1000000;

    CHECK_INT(backoff_new(&backoff), 0);
    for (unsigned i = 2; i < 20000; i++) { /* all sets are full of them */
        struct address address = numbered(i);
        backoff_refused(backoff, &address, &at_once, now, now);
    }
    now += 10000000;
    backoff_refused(backoff, &kept, &at_once, now, now);
    for (unsigned i = 0; i < BACKOFF_SETS * (BACKOFF_WAYS - 1) / 4; i++) {
        struct address address = numbered(30000 + i);
        backoff_refused(backoff, &address, &at_once, now + 1, now + 1);
    }
    CHECK(backoff_pausing(backoff, &kept, &at_once, now + 2, &pause));
    backoff_free(backoff);
}

static void *hammer(void *context)
{
    struct backoff *backoff = context;
    struct backoff_pause pause;
    for (int64_t i = 0; i < 20000; i++) {
        struct address address = numbered((unsigned)i % 7);
        if (!backoff_pausing(backoff, &address, &usual, i, &pause))
            backoff_refused(backoff, &address, &usual, i, i);
        else
            CHECK(pause.n_refused >= 3 && pause.until_us > i);
        if (i % 1000 == 999)
            backoff_connected(backoff, &address);
    }
    return NULL;
}

TEST(backoff, threads)
{
    struct backoff *backoff = NULL;
    pthread_t threads[4];
    CHECK_INT(backoff_new(&backoff), 0);
    for (size_t i = 0; i < 4; i++)
        CHECK_INT(pthread_create(&threads[i], NULL, hammer, backoff), 0);
    for (size_t i = 0; i < 4; i++)
        CHECK_INT(pthread_join(threads[i], NULL), 0);
    backoff_free(backoff);
    CHECK(backoff_free(NULL) == NULL);
}
