/* What SOCKS5 clients send, whole and in all pieces, and what they are answered. */
#include "net/socks5.h"

#include <arpa/inet.h>

#include "support/test.h"

static struct socks5 socks;
static uint8_t answers[64];
static size_t n_answers;

/* Sends it in pieces of at most n_piece bytes; how many were taken. */
static size_t feed(const void *data, size_t n, size_t n_piece)
{
    size_t n_taken = 0, wants, n_answer;

    socks = SOCKS5_INIT;
    n_answers = 0;
    while (n_taken < n && (wants = socks5_wants(&socks)) > 0) {
        size_t n_now = n - n_taken < n_piece ? n - n_taken : n_piece;
        uint8_t answer[SOCKS5_ANSWER_MAX];
        n_now = n_now < wants ? n_now : wants;
        int r = socks5_take(&socks, (const uint8_t *)data + n_taken, n_now, answer, &n_answer);
        n_taken += n_now;
        CHECK_INT(r != 0, socks.state == SOCKS5_OVER);
        CHECK(n_answers + n_answer <= sizeof(answers));
        memcpy(answers + n_answers, answer, n_answer);
        n_answers += n_answer;
    }
    return n_taken;
}

#define FEED(text) feed(text, sizeof(text) - 1, SIZE_MAX)

static void check_asked(const void *data, size_t n, const char *host, uint16_t port)
{
    /* what stands behind it is not touched */
    uint8_t longer[400];
    memcpy(longer, data, n);
    memset(longer + n, 5, sizeof(longer) - n);
    for (size_t piece = 1; piece <= n; piece++) {
        CHECK_INT(feed(longer, sizeof(longer), piece), n);
        CHECK_INT(socks.state, SOCKS5_ASKED);
        CHECK_STRING(socks.host, host);
        CHECK_INT(socks.port, port);
        CHECK_INT(n_answers, 2);
        CHECK(memcmp(answers, "\5\0", 2) == 0);
    }
    /* every truncation waits */
    for (size_t shorter = 0; shorter < n; shorter++) {
        CHECK_INT(feed(data, shorter, SIZE_MAX), shorter);
        CHECK(socks.state == SOCKS5_GREETING || socks.state == SOCKS5_REQUEST);
        CHECK(socks5_wants(&socks) > 0 && socks5_wants(&socks) <= n - shorter);
    }
}

#define CHECK_ASKED(text, host, port) check_asked(text, sizeof(text) - 1, host, port)

TEST(socks5, asks)
{
    CHECK_ASKED("\5\1\0\5\1\0\1\xc0\0\2\1\1\xbb", "192.0.2.1", 443);
    CHECK_ASKED("\5\1\0\5\1\0\3\xb"
                "example.com\0\x50",
                "example.com", 80);
    CHECK_ASKED("\5\3\2\0\1\5\1\0\4\x20\1\xd\xb8\0\0\0\0\0\0\0\0\0\0\0\1\xff\xff", "2001:db8::1",
                65535);
    CHECK_ASKED("\5\1\0\5\1\7\3\1a\0\1", "a", 1); /* the reserved byte is nobody's business */
}

TEST(socks5, the_longest_name)
{
    uint8_t message[3 + 5 + 255 + 2] = "\5\1\0\5\1\0\3";
    char name[256];

    for (size_t n = 250; n <= 255; n++) {
        memset(name, 'x', n);
        name[n] = '\0';
        message[7] = (uint8_t)n;
        memcpy(message + 8, name, n);
        message[8 + n] = 0;
        message[9 + n] = 80;
        CHECK_INT(feed(message, 10 + n, SIZE_MAX), 10 + n);
        CHECK_INT(socks.state, n <= 253 ? SOCKS5_ASKED : SOCKS5_OVER);
        if (n <= 253)
            CHECK_STRING(socks.host, name);
        else
            CHECK_INT(answers[3], SOCKS5_FAILURE);
    }
}

static void check_refused(const void *data, size_t n, size_t n_wanted, int code)
{
    for (size_t piece = 1; piece <= n; piece++) {
        CHECK_INT(feed(data, n, piece) <= n, 1);
        CHECK_INT(socks.state, SOCKS5_OVER);
        CHECK(socks.wrong != NULL);
        CHECK_INT(socks5_wants(&socks), 0);
        CHECK_INT(n_answers, n_wanted);
        if (n_wanted > 2)
            CHECK_INT(answers[3], code);
        else if (n_wanted == 2)
            CHECK_INT(answers[1], code);
    }
}

#define CHECK_REFUSED(text, n_wanted, code) check_refused(text, sizeof(text) - 1, n_wanted, code)

TEST(socks5, refuses)
{
    CHECK_REFUSED("\4\1\0\x50\xc0\0\2\1", 0, 0); /* SOCKS 4 */
    CHECK_REFUSED("GET / HTTP/1.1\r\n", 0, 0);
    CHECK_REFUSED("\5\0", 2, 0xff);                        /* no method at all */
    CHECK_REFUSED("\5\1\2", 2, 0xff);                      /* user and password only */
    CHECK_REFUSED("\5\1\0\4\1\0\1\xc0\0\2\1\0\x50", 2, 0); /* another version afterwards */
    CHECK_REFUSED("\5\1\0\5\2\0\1\xc0\0\2\1\0\x50", 12, SOCKS5_NO_COMMAND); /* BIND */
    CHECK_REFUSED("\5\1\0\5\3\0\1\xc0\0\2\1\0\x50", 12, SOCKS5_NO_COMMAND);
    CHECK_REFUSED("\5\1\0\5\1\0\2\xc0", 12, SOCKS5_NO_ADDRESS_TYPE);
    CHECK_REFUSED("\5\1\0\5\1\0\1\xc0\0\2\1\0\0", 12, SOCKS5_FAILURE); /* port 0 */
    CHECK_REFUSED("\5\1\0\5\1\0\3\0\0\x50", 12, SOCKS5_FAILURE);       /* no name */
    CHECK_REFUSED("\5\1\0\5\1\0\3\3a\0b\0\x50", 12, SOCKS5_FAILURE);   /* a NUL in it */
    CHECK_REFUSED("\5\1\0\5\1\0\3\3a\nb\0\x50", 12, SOCKS5_FAILURE);
    CHECK_REFUSED("\5\1\0\5\1\0\3\3a b\0\x50", 12, SOCKS5_FAILURE);
}

TEST(socks5, answers)
{
    uint8_t answer[SOCKS5_ANSWER_MAX];
    struct address local;

    CHECK_INT(socks5_answer(SOCKS5_REFUSED, NULL, answer), 10);
    CHECK(memcmp(answer, "\5\5\0\1\0\0\0\0\0\0", 10) == 0);
    CHECK_INT(address_parse(&local, "192.0.2.7", 0x1234), 0);
    CHECK_INT(socks5_answer(SOCKS5_SUCCEEDED, &local, answer), 10);
    CHECK(memcmp(answer, "\5\0\0\1\xc0\0\2\7\x12\x34", 10) == 0);
    CHECK_INT(address_parse(&local, "2001:db8::7", 0x1234), 0);
    CHECK_INT(socks5_answer(SOCKS5_SUCCEEDED, &local, answer), 22);
    CHECK(memcmp(answer, "\5\0\0\4\x20\1\xd\xb8\0\0\0\0\0\0\0\0\0\0\0\7\x12\x34", 22) == 0);
}
