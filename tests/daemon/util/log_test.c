#include "util/log.h"

#include <fcntl.h>
#include <unistd.h>

#include "support/test.h"

/* Standard error goes into a pipe between the two. */
static int saved, pipe_out;

static void begin_capture(void)
{
    int fds[2];
    CHECK_INT(pipe2(fds, O_NONBLOCK | O_CLOEXEC), 0);
    saved = dup(2);
    CHECK(saved >= 0 && dup2(fds[1], 2) == 2);
    close(fds[1]);
    pipe_out = fds[0];
}

static void end_capture(char *text, size_t n_text)
{
    ssize_t n = read(pipe_out, text, n_text - 1);
    text[n > 0 ? n : 0] = '\0';
    dup2(saved, 2);
    close(saved);
    close(pipe_out);
}

TEST(log, levels_and_formats)
{
    char text[4096];
    log_set(LOG_NOTICE_, true);
    CHECK(log_enabled(LOG_ERROR_) && log_enabled(LOG_NOTICE_) && !log_enabled(LOG_INFO_));
    begin_capture();
    log_notice("number %d", 7);
    log_info("not this");
    end_capture(text, sizeof(text));
    CHECK_STRING(text, "<5>number 7\n");
    log_set(LOG_DEBUG_, false);
    begin_capture();
    log_debug("details");
    end_capture(text, sizeof(text));
    CHECK(strlen(text) > 25 && text[10] == 'T' && text[23] == 'Z');
    CHECK(strstr(text, "Z debug details\n") != NULL);
}

TEST(log, nobody_forges_a_line)
{
    char text[8192], longest[5000];
    log_set(LOG_INFO_, true);
    begin_capture();
    log_info("a%sb", "\n<0>forged\r\x1b[2J\x7f");
    end_capture(text, sizeof(text));
    CHECK(strchr(text, '\n') == text + strlen(text) - 1);
    CHECK(!strchr(text, '\x1b') && !strchr(text, '\r') && !strchr(text, '\x7f'));
    memset(longest, 'x', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = '\0';
    begin_capture();
    log_info("%s", longest);
    end_capture(text, sizeof(text));
    CHECK(strlen(text) <= 2048);
    CHECK(text[strlen(text) - 1] == '\n');
}
