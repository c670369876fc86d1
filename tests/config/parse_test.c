/* The text of a file: syntax, what is refused, where errors say they are. */
#include "support/test.h"

#include "config/option.h"

static struct config *config;
static struct config_report report;

static int parse_n(const char *text, size_t n)
{
    config_free(config);
    config = config_new_default();
    config_report_init(&report);
    return config_parse(config, text, n, "x.conf", &report);
}

static int parse(const char *text)
{
    return parse_n(text, strlen(text));
}

static void done(void)
{
    config = config_free(config);
}

/* the only error is this one */
static bool refused(const char *text, const char *error)
{
    if (parse(text) != CONFIG_E_INVALID || report.n_errors != 1)
        return false;
    if (strcmp(report.errors[0], error) != 0)
        fprintf(stderr, "\"%s\", not \"%s\"\n", report.errors[0], error);
    return strcmp(report.errors[0], error) == 0;
}

TEST(parse, nothing_gives_the_defaults)
{
    CHECK_INT(parse(""), 0);
    CHECK_INT(config->connect_timeout, 60000);
    CHECK_INT(parse("\n\n \t\n# comment\n  ; comment\n[connect]\n"), 0);
    CHECK_INT(config->connect_timeout, 60000);
    CHECK_INT(report.n_errors, 0);
    done();
}

TEST(parse, options)
{
    CHECK_INT(parse("[connect]\ntimeout = 5s\nstagger=1s\n \tkeepalive\t=\t0 \t\n[tls]\n"
                    "system_store=no\n[ connect ]\nnodelay = no"),
              0);
    CHECK_INT(config->connect_timeout, 5000);
    CHECK_INT(config->connect_stagger, 1000);
    CHECK_INT(config->connect_keepalive, 0);
    CHECK(!config->tls_system_store);
    CHECK(!config->connect_nodelay);
    done();
}

TEST(parse, values_are_taken_as_they_are)
{
    CHECK_INT(parse("[tls]\nciphers = ECDHE+AESGCM:!aNULL@X=1#y\ncacerts = /ä ö/x\n"
                    "[listen]\ngroup =\n"),
              0);
    CHECK_STRING(config->tls_ciphers, "ECDHE+AESGCM:!aNULL@X=1#y");
    CHECK_STRING(config->tls_cacerts, "/ä ö/x");
    CHECK_STRING(config->listen_group, "");
    done();
}

TEST(parse, bom_and_crlf)
{
    CHECK_INT(parse("\xEF\xBB\xBF[connect]\r\ntimeout = 5s\r\n\r\n# x\r\n"), 0);
    CHECK_INT(config->connect_timeout, 5000);
    CHECK(refused(
        "[connect]\n\xEF\xBB\xBFtimeout = 5s\n",
        "x.conf:2: there is no connect.\xEF\xBB\xBFtimeout; did you mean connect.timeout?"));
    CHECK(refused("# a\rb\n", "x.conf:1: a control character at column 4; expected text in UTF-8"));
    CHECK_INT(parse_n("\xFF\xFE[\0c\0", 6), CONFIG_E_INVALID); /* UTF-16 */
    CHECK_STRING(report.errors[0],
                 "x.conf:1: a byte that is not UTF-8 at column 1; expected text in UTF-8");
    done();
}

TEST(parse, bad_bytes)
{
    static const char *const bad[] = {"\x80", "\xC0\x80", "\xC1\xBF",         "\xE0\x80\x80",
                                      "\xC3", "\xE2\x82", "\xED\xA0\x80",     "\xF0\x80\x80\x80",
                                      "\xF5", "\xFF",     "\xF4\x90\x80\x80", "\x01",
                                      "\x1B", "\x7F",     "\xC2\x9B",         "\xE2\x28\xA1"};
    char text[64];
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        snprintf(text, sizeof(text), "# comment %s\n[connect]\nstagger = 1s\n", bad[i]);
        CHECK_INT(parse(text), CONFIG_E_INVALID);
        CHECK_INT(report.n_errors, 1);
        CHECK(strncmp(report.errors[0], "x.conf:1: ", 10) == 0);
        CHECK(strstr(report.errors[0], "column 11") != NULL);
        CHECK_INT(config->connect_stagger, 1000); /* the rest is still read, for its errors */
    }
    CHECK_INT(parse_n("[connect]\ntimeout = 5s\0\n", 24), CONFIG_E_INVALID);
    CHECK(strstr(report.errors[0], "x.conf:2: a NUL byte at column 13") == report.errors[0]);
    CHECK_INT(config->connect_timeout, 60000); /* never cut at the NUL */
    CHECK_INT(parse("# \xF4\x8F\xBF\xBF \xED\x9F\xBF \xC2\xA0\n"), 0);
    done();
}

TEST(parse, syntax)
{
    CHECK(refused("timeout = 5s\n",
                  "x.conf:1: timeout stands before any section; it belongs to [connect]"));
    CHECK(
        refused("foo = 5s\n", "x.conf:1: foo stands before any section; expected [section] first"));
    CHECK(refused("[connect\n", "x.conf:1: the section has no end; expected [section]"));
    CHECK(refused("[connect] # x\n",
                  "x.conf:1: text after the section; a comment must stand on a line of its own"));
    CHECK(refused("[connect]\ntimeout\n",
                  "x.conf:2: expected key = value, [section] or a comment, not \"timeout\""));
    CHECK(refused("[connect]\n = 5s\n", "x.conf:2: there is no key before the ="));
    CHECK(refused("[connect]\ntimeout =\n",
                  "x.conf:2: connect.timeout needs a value: a time with its "
                  "unit (ms, s, m or h) from 1ms to 24h"));
    CHECK_INT(parse("[]\n"), CONFIG_E_INVALID);
    done();
}

TEST(parse, unknown_names)
{
    CHECK(refused("[conect]\nx = 1\ny\n[connect]\n",
                  "x.conf:1: there is no section [conect]; did you mean [connect]?") == false);
    CHECK_INT(report.n_errors,
              2); /* the line without = is one too; x is not, its section being unknown */
    CHECK(refused("[conect]\nx = 1\n[connect]\n",
                  "x.conf:1: there is no section [conect]; did you mean [connect]?"));
    CHECK(
        refused("[qqqqqq]\n",
                "x.conf:1: there is no section [qqqqqq]; expected one of [listen], "
                "[threads], [limits], [connect], [io], [tls], [tls \"name\"], "
                "[identity \"name\"], [tunnel \"name\"], [socks], [pool \"name\"], [stop], [log]"));
    CHECK(refused("[connect]\ntimeot = 1s\n",
                  "x.conf:2: there is no connect.timeot; did you mean connect.timeout?"));
    CHECK(refused("[tls]\nstagger = 1s\n",
                  "x.conf:2: there is no tls.stagger; did you mean connect.stagger?"));
    CHECK(refused("[stop]\nqqqqqqqq = 1s\n",
                  "x.conf:2: there is no stop.qqqqqqqq; [stop] has drain_timeout, keep"));
    done();
}

TEST(parse, an_option_stands_once)
{
    CHECK(refused("[connect]\ntimeout = 5s\n[tls]\n[connect]\ntimeout = 5s\n",
                  "x.conf:5: connect.timeout was set before, in line 2; expected it once"));
    CHECK_INT(config->connect_timeout, 5000);
    CHECK_INT(parse("[connect]\ntimeout = x\ntimeout = 5s\n"), CONFIG_E_INVALID);
    CHECK_INT(report.n_errors, 2);
    done();
}

TEST(parse, all_errors_are_told_up_to_a_limit)
{
    char text[4096] = "[connect]\n";
    for (int i = 0; i < 30; i++)
        strcat(text, "timeout = x\n");
    CHECK_INT(parse(text), CONFIG_E_INVALID);
    CHECK_INT(report.n_errors, CONFIG_MAX_ERRORS);
    CHECK_INT(report.n_more, 10);
    CHECK(strncmp(report.errors[0], "x.conf:2: ", 10) == 0);
    CHECK(strncmp(report.errors[19], "x.conf:21: ", 11) == 0);
    char *printed = NULL;
    size_t n = 0;
    FILE *stream = open_memstream(&printed, &n);
    config_report_print(&report, stream);
    fclose(stream);
    CHECK(strncmp(printed, "x.conf:2: ", 10) == 0);
    CHECK(strcmp(printed + n - strlen("\n… and 10 more\n"), "\n… and 10 more\n") == 0);
    free(printed);
    done();
}

TEST(parse, line_limit)
{
    static char text[CONFIG_MAX_LINE + 64];
    memset(text, 'x', sizeof(text));
    text[0] = '#';
    text[CONFIG_MAX_LINE] = 0;
    strcat(text, "\r\n[connect]\ntimeout = 5s\n");
    CHECK_INT(parse(text), 0);
    CHECK_INT(config->connect_timeout, 5000);
    memset(text, 'x', sizeof(text));
    text[0] = '#';
    text[CONFIG_MAX_LINE + 1] = 0;
    strcat(text, "\n[connect]\ntimeout = 5s\n");
    CHECK(refused(text, "x.conf:1: the line has 4097 bytes; expected at most 4096"));
    CHECK_INT(config->connect_timeout, 5000);
    /* a section name and a key as long as a line */
    memset(text, 'x', sizeof(text));
    text[0] = '[';
    text[CONFIG_MAX_LINE - 1] = ']';
    text[CONFIG_MAX_LINE] = 0;
    CHECK_INT(parse(text), CONFIG_E_INVALID);
    CHECK_INT(report.n_errors, 1);
    text[0] = 'x';
    text[CONFIG_MAX_LINE - 1] = '=';
    CHECK_INT(parse(text), CONFIG_E_INVALID);
    CHECK(strlen(report.errors[0]) < 200);
    done();
}

TEST(parse, file_limit)
{
    char *text = malloc(CONFIG_MAX_FILE + 2);
    CHECK(text != NULL);
    memset(text, '\n', CONFIG_MAX_FILE + 2);
    CHECK_INT(parse_n(text, CONFIG_MAX_FILE), 0);
    CHECK_INT(parse_n(text, CONFIG_MAX_FILE + 1), CONFIG_E_INVALID);
    CHECK_STRING(report.errors[0], "x.conf: more than 1048576 bytes; is this the right file?");
    free(text);
    done();
}

TEST(parse, a_long_file_name_leaves_room_for_the_error)
{
    static char name[5000];
    for (size_t i = 0; i + 2 < sizeof(name); i += 2)
        memcpy(name + i, "ä", 2);
    config = config_new_default();
    config_report_init(&report);
    CHECK_INT(config_parse(config, "x\n", 2, name, &report), CONFIG_E_INVALID);
    CHECK(strstr(report.errors[0], "ä:1: expected key = value") != NULL);
    CHECK(strncmp(report.errors[0], "…ä", 5) == 0);
    done();
}

TEST(parse, set)
{
    config = config_new_default();
    config_report_init(&report);
    CHECK_INT(config_set(config, "connect.timeout=5s", &report), 0);
    CHECK_INT(config->connect_timeout, 5000);
    CHECK_INT(config_set(config, " connect.timeout = 6s ", &report), 0);
    CHECK_INT(config->connect_timeout, 6000);
    CHECK_INT(config_set(config, "tls.ciphers=A.B=C", &report), 0);
    CHECK_STRING(config->tls_ciphers, "A.B=C");
    CHECK_INT(report.n_errors, 0);
    static const char *const bad[][2] = {
        {"", "--set : expected section.key=value"},
        {"connect.timeout", "--set connect.timeout: expected section.key=value"},
        {"timeout=1.5", "--set timeout=1.5: expected section.key=value"},
        {"conect.timeout=1s",
         "--set conect.timeout=1s: there is no section [conect]; did you mean [connect]?"},
        {"connect.timeot=1s",
         "--set connect.timeot=1s: there is no connect.timeot; did you mean connect.timeout?"},
        {"connect.nodelay=2",
         "--set connect.nodelay=2: connect.nodelay: \"2\" is neither; expected yes or no"},
        {"connect.timeout=1s\n", "--set: a control character at byte 19; expected text in UTF-8"},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        config_report_init(&report);
        CHECK_INT(config_set(config, bad[i][0], &report), CONFIG_E_INVALID);
        CHECK_STRING(report.errors[0], bad[i][1]);
    }
    static char longer[CONFIG_MAX_LINE + 2];
    memset(longer, 'x', sizeof(longer) - 1);
    CHECK_INT(config_set(config, longer, &report), CONFIG_E_INVALID);
    CHECK_INT(config->connect_timeout, 6000);
    done();
}

TEST(parse, what_is_written_is_read_the_same)
{
    char *first = NULL, *second = NULL;
    size_t n_first, n_second;
    CHECK_INT(parse("[limits]\nline = 5000\nheld_bytes=3G\n[connect]\ntimeout=90s\nstagger=1500ms\n"
                    "keepalive=0\n[listen]\nmode=0600\nsocket=/x y\n[log]\nlevel=debug\n"),
              0);
    FILE *stream = open_memstream(&first, &n_first);
    config_write(config, stream);
    fclose(stream);
    CHECK_INT(parse(first), 0);
    CHECK_INT(config->limits_line, 5000);
    CHECK_INT(config->connect_timeout, 90000);
    CHECK_INT(config->connect_stagger, 1500);
    CHECK_STRING(config->listen_socket, "/x y");
    CHECK_INT(config->log_level, CONFIG_LOG_DEBUG);
    stream = open_memstream(&second, &n_second);
    config_write(config, stream);
    fclose(stream);
    CHECK_STRING(second, first);
    free(first);
    free(second);
    done();
}
