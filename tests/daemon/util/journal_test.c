#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "support/test.h"
#include "util/log.h"

/* A journal of our own, which reads when it is asked to. */
static char folder[64], place[96];
static int journal;

static void begin(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    snprintf(folder, sizeof(folder), "/tmp/tcpbroker-journal-XXXXXX");
    CHECK(mkdtemp(folder) != NULL);
    snprintf(place, sizeof(place), "%s/socket", folder);
    strcpy(address.sun_path, place);
    journal = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    CHECK(journal >= 0);
    CHECK_INT(bind(journal, (struct sockaddr *)&address, sizeof(address)), 0);
    log_set(LOG_INFO_, true);
    CHECK_INT(log_to_journal(place), 0);
}

static void end(void)
{
    CHECK_INT(log_to_journal(NULL), 0);
    close(journal);
    unlink(place);
    rmdir(folder);
}

static unsigned char entry[16384];
static size_t n_entry;

static bool next_entry(void)
{
    ssize_t n = recv(journal, entry, sizeof(entry), 0);
    n_entry = n > 0 ? (size_t)n : 0;
    return n > 0;
}

/* The value of a field of the entry; its length, or -1: there is none. */
static long field(const char *name, const char **ret_value)
{
    for (size_t at = 0; at < n_entry;) {
        unsigned char *line = entry + at, *line_end = memchr(line, '\n', n_entry - at);
        CHECK(line_end && (size_t)(line_end - entry) + 9 < n_entry);
        size_t n_name = (size_t)(line_end - line), n_value = 0;
        for (int i = 7; i >= 0; i--)
            n_value = n_value << 8 | line_end[1 + i];
        at += n_name + 1 + 8 + n_value + 1;
        CHECK(at <= n_entry && entry[at - 1] == '\n');
        if (strlen(name) == n_name && memcmp(line, name, n_name) == 0) {
            *ret_value = (const char *)line_end + 9;
            return (long)n_value;
        }
    }
    return -1;
}

static bool has(const char *name, const char *wanted)
{
    const char *value;
    long n = field(name, &value);
    return n == (long)strlen(wanted) && memcmp(value, wanted, (size_t)n) == 0;
}

TEST(journal, an_entry_with_id_and_fields)
{
    const struct log_field fields[] = {
        {TAG_HOST, "two\nlines\nMESSAGE=forged"}, {TAG_PORT, NULL}, {TAG_SOCKET, "7"}};
    const char *value;

    begin();
    log_event(LOG_WARNING_, EVENT_CONNECTION_FAILED, fields, 3, "number %d\nPRIORITY=0", 7);
    log_notice("without");
    log_debug("not this");
    CHECK(next_entry());
    CHECK(has("MESSAGE", "number 7?PRIORITY=0"));
    CHECK(has("PRIORITY", "4") && has("SYSLOG_IDENTIFIER", "tcpbrokerd"));
    CHECK(has("MESSAGE_ID", EVENT_CONNECTION_FAILED));
    CHECK(has("TCPBROKER_HOST", "two\nlines\nMESSAGE=forged") && has("TCPBROKER_SOCKET", "7"));
    CHECK_INT(field("TCPBROKER_PORT", &value), -1);
    CHECK(next_entry());
    CHECK(has("MESSAGE", "without") && has("PRIORITY", "5"));
    CHECK_INT(field("MESSAGE_ID", &value), -1);
    CHECK(!next_entry());
    end();
}

TEST(journal, limits)
{
    static char longest[5000];
    struct log_field fields[40];
    const char *value;

    begin();
    memset(longest, 'x', sizeof(longest) - 1);
    for (size_t i = 0; i < 40; i++)
        fields[i] = (struct log_field){TAG_REASON, longest};
    log_event(LOG_ERROR_, EVENT_STARTED, fields, 40, "%s", longest);
    CHECK(next_entry() && n_entry <= 8192);
    CHECK_INT(field("TCPBROKER_REASON", &value), 1024);
    CHECK(field("MESSAGE", &value) <= 2048);
    end();
}

/* Nobody waits for a journal that does not read; when it does again, it is told. */
TEST(journal, busy)
{
    uint64_t before = log_lost(), lost;
    const char *value;
    char wanted[24];
    int n = 0;

    begin();
    while (log_lost() < before + 3 && n++ < 100000)
        log_info("line %d", n);
    lost = log_lost() - before;
    CHECK_INT(lost, 3);
    for (int i = 1; i <= n - 3; i++)
        CHECK(next_entry());
    CHECK(!next_entry());
    log_info("after");
    CHECK(next_entry());
    snprintf(wanted, sizeof(wanted), "%d", (int)lost);
    CHECK(has("MESSAGE_ID", EVENT_LINES_LOST) && has("TCPBROKER_LOST", wanted));
    CHECK(next_entry() && has("MESSAGE", "after"));
    log_info("and no more of it");
    CHECK(next_entry() && has("MESSAGE", "and no more of it"));
    CHECK_INT(field("TCPBROKER_LOST", &value), -1);
    end();
}

/* Its socket is gone: what there is to say goes to standard error, with its priority. */
TEST(journal, gone)
{
    char text[64];
    int fds[2], saved = dup(2);

    begin();
    CHECK_INT(unlink(place), 0);
    CHECK_INT(pipe2(fds, O_NONBLOCK | O_CLOEXEC), 0);
    CHECK(saved >= 0 && dup2(fds[1], 2) == 2);
    log_event(LOG_NOTICE_, EVENT_STARTED, NULL, 0, "here");
    dup2(saved, 2);
    ssize_t n = read(fds[0], text, sizeof(text) - 1);
    close(saved);
    close(fds[0]);
    close(fds[1]);
    text[n > 0 ? n : 0] = '\0';
    CHECK_STRING(text, "<5>here\n");
    end();
    CHECK_INT(log_to_journal("/nowhere/at/all"), -ENOENT);
}
