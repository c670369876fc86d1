/* fault: conditions of the layers below as wire errors, written and read back. */
#include <errno.h>
#include <netdb.h>
#include <time.h>

#include "rpc/fault.h"
#include "support/test.h"

static void check(const struct fault *fault, int code, const char *symbol, const char *stage)
{
    struct writer writer = WRITER_INIT;
    struct answer answer;
    struct proto_id id = {.kind = PROTO_ID_INTEGER, .number = 5};

    fault_write(&writer, &id, fault);
    CHECK(!writer_failed(&writer));
    CHECK_INT(answer_parse(&answer, writer.data, writer.n_data), 0);
    CHECK(answer.result == NULL);
    CHECK_INT(answer.error.code, code);
    CHECK(answer.error.has_data);
    CHECK_STRING(answer.error.data.symbol, symbol);
    CHECK_STRING(answer.error.data.stage, stage);
    CHECK(strlen(answer.error.message) > 0);
    answer_deinit(&answer);
    writer_deinit(&writer);
}

TEST(fault, errnos)
{
    static const struct {
        int sys_errno, code;
        const char *symbol;
    } cases[] = {
        {ECONNREFUSED, -10061, "ECONNREFUSED"},
        {ETIMEDOUT, -10060, "ETIMEDOUT"},
        {EHOSTUNREACH, -10065, "EHOSTUNREACH"},
        {ENETUNREACH, -10051, "ENETUNREACH"},
        {ECONNRESET, -10054, "ECONNRESET"},
        {EPIPE, -10054, "ECONNRESET"},
        {EADDRNOTAVAIL, -10049, "EADDRNOTAVAIL"},
        {EACCES, -10013, "EACCES"},
        {EMFILE, -10024, "EMFILE"},
        {ENOMEM, -10055, "ENOBUFS"},
        {EXDEV, -32603, "INTERNAL"},
    };
    struct fault fault;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        fault_errno(&fault, STAGE_CONNECT, cases[i].sys_errno, "TCPConnect");
        check(&fault, cases[i].code, cases[i].symbol, "connect");
    }
}

TEST(fault, resolver)
{
    static const struct {
        int gai, code;
        const char *symbol;
    } cases[] = {
        {EAI_NONAME, -11001, "HOST_NOT_FOUND"}, {EAI_AGAIN, -11002, "TRY_AGAIN"},
        {EAI_FAIL, -11003, "NO_RECOVERY"},      {EAI_NODATA, -11004, "NO_DATA"},
        {EAI_ADDRFAMILY, -11004, "NO_DATA"},    {EAI_SERVICE, -33012, "UNKNOWN_SERVICE"},
        {EAI_SYSTEM, -11003, "NO_RECOVERY"},    {EAI_MEMORY, -10055, "ENOBUFS"},
    };
    struct fault fault;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        fault_gai(&fault, cases[i].gai, EIO, "TCPConnect", "host", "service");
        check(&fault, cases[i].code, cases[i].symbol, "resolve");
    }
}

TEST(fault, network)
{
    static const struct {
        enum net_cause cause;
        enum net_stage stage;
        int code;
        const char *symbol, *stage_name;
    } cases[] = {
        {NET_TIMED_OUT, NET_STAGE_CONNECT, -10060, "ETIMEDOUT", "connect"},
        {NET_TIMED_OUT, NET_STAGE_TLS, -10060, "ETIMEDOUT", "tls"},
        {NET_CANCELLED, NET_STAGE_CONNECT, -10004, "EINTR", "connect"},
        {NET_TLS_HANDSHAKE, NET_STAGE_TLS, -1031, "TLS_HANDSHAKE", "tls"},
        {NET_TLS_VERIFY, NET_STAGE_TLS, -33010, "TLS_VERIFY", "tls"},
        {NET_TLS_IO, NET_STAGE_IO, -33011, "TLS_IO", "io"},
    };
    struct fault fault;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct net_error error = {.stage = cases[i].stage, .cause = cases[i].cause};
        fault_net(&fault, &error, "TCPConnect to host port 1");
        check(&fault, cases[i].code, cases[i].symbol, cases[i].stage_name);
    }
    for (int trust = NET_TRUST_FOLDER; trust <= NET_TRUST_OPEN; trust++) {
        struct net_error error = {
            .stage = NET_STAGE_TLS, .cause = NET_TRUST_UNUSABLE, .trust = (enum net_trust)trust};
        fault_net(&fault, &error, "TCPConnect");
        CHECK_INT(error_infos[fault.error].code, -1023 - trust);
    }
}

TEST(fault, left_alone_until)
{
    struct net_error error = {.stage = NET_STAGE_CONNECT,
                              .cause = NET_SYSTEM,
                              .sys_errno = ECONNREFUSED,
                              .retry_at_us = loop_clock_us() + 90000000,
                              .n_refused = 3,
                              .backed_off = true,
                              .n_attempts = 1};
    struct fault fault;
    char text[32];

    error.attempts[0] = (struct net_attempt){.sys_errno = ECONNREFUSED, .untried = true};
    fault_net(&fault, &error, "TCPConnect to host port 1");
    check(&fault, -10061, "ECONNREFUSED", "connect");
    CHECK(fault.retryable);
    CHECK(fault.retry_after_ms > 80000 && fault.retry_after_ms <= 90000);
    /* until is the time now and that: both tell the same second, or neighbours */
    bool same = false;
    for (int64_t more = -1; more <= 1; more++) {
        time_t until = time(NULL) + fault.retry_after_ms / 1000 + more;
        struct tm utc;
        gmtime_r(&until, &utc);
        strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S.", &utc);
        same = same || strncmp(fault.until, text, strlen(text)) == 0;
    }
    CHECK(same);
    CHECK_INT(strlen(fault.until), strlen("2026-01-31T12:00:05.250Z"));
    snprintf(text, sizeof(text), "until %.8s UTC", fault.until + strlen("2026-01-31T"));
    CHECK(strstr(fault.message, text) != NULL);
    CHECK(strstr(fault.message, "host port 1: refused 3 times in a row; not tried until") != NULL);
    /* the attempt that was the last for now says what is wrong, too; what is over is over */
    error.backed_off = false;
    error.retry_at_us = 1;
    error.n_refused = 1;
    fault_net(&fault, &error, "TCPConnect to host port 1");
    CHECK_INT(fault.retry_after_ms, 1);
    CHECK(strstr(fault.message, "nothing listens there") != NULL);
    CHECK(strstr(fault.message, "refused 1 time in a row; not tried again until") != NULL);
    error.retry_at_us = 0;
    fault_net(&fault, &error, "TCPConnect to host port 1");
    CHECK_INT(fault.retry_after_ms, 0);
    CHECK(strstr(fault.message, "in a row") == NULL);
}

TEST(fault, verification_names_the_remedy)
{
    static const struct {
        long code;
        int depth;
        const char *words;
    } cases[] = {
        {20, 0, "cacerts folder"},
        {18, 0, "cacerts folder"},
        {10, 0, "server's"},
        {10, 1, "a CA's"},
        {7, 0, "damaged"},
        {26, 0, "serverAuth"},
        {26, 1, "of a CA"},
        {28, 1, "the store says"},
        {47, 0, "may not issue"},
        {62, 0, "server_name"},
        {67, 1, "security_level"},
        {34, 0, "server's certificate must be replaced"},
        {34, 2, "CA's certificate must be replaced"},
    };
    struct fault fault;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct net_error error = {.stage = NET_STAGE_TLS,
                                  .cause = NET_TLS_VERIFY,
                                  .verify_code = cases[i].code,
                                  .verify_depth = cases[i].depth,
                                  .verify_text = "no"};
        fault_net(&fault, &error, "TCPConnect");
        CHECK(strstr(fault.message, cases[i].words) != NULL);
        CHECK(!strstr(fault.message, "it is for"));
        snprintf(error.names, sizeof(error.names), "a.example, 192.0.2.1");
        fault_net(&fault, &error, "TCPConnect");
        CHECK(strstr(fault.message, "no: it is for a.example, 192.0.2.1 (") != NULL);
    }
}

TEST(fault, a_server_name_that_cannot_be_used)
{
    struct net_error error = {.stage = NET_STAGE_TLS,
                              .cause = NET_SYSTEM,
                              .sys_errno = EINVAL,
                              .library = "the server name has two dots in a row"};
    struct fault fault;

    fault_net(&fault, &error, "TCPConnect to a port 1");
    check(&fault, -10022, "EINVAL", "tls");
    fault_net(&fault, &error, "TCPConnect to a port 1");
    CHECK_STRING(fault.message, "TCPConnect to a port 1: the server name has two dots in a row");
}

/* The longest error there can be is still an answer. */
TEST(fault, all_attempts)
{
    struct net_error error = {
        .stage = NET_STAGE_CONNECT, .cause = NET_TIMED_OUT, .n_attempts = NET_ATTEMPTS_MAX};
    struct fault fault;

    for (unsigned i = 0; i < NET_ATTEMPTS_MAX; i++) {
        CHECK_INT(
            address_parse(&error.attempts[i].address, "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", 1),
            0);
        error.attempts[i].sys_errno = i % 2 ? ECONNREFUSED : 0;
    }
    fault_net(&fault, &error, "TCPConnect");
    check(&fault, -10060, "ETIMEDOUT", "connect");
}
