/* Every option of the table: its default, both ends of its range, one step beyond, units, and what
 * its errors say. */
#include "support/test.h"

#include <inttypes.h>

#include "config/list.h"
#include "config/option.h"

static struct config *config;
static char problem[OPTION_TEXT_SIZE];

/* one named section of each kind, and what else an option may stand in */
static void begin(void)
{
    static const char text[] = "[tls \"x\"]\n[identity \"x\"]\n[tunnel \"x\"]\n[pool \"x\"]\n"
                               "[rule \"x\"]\n";
    struct config_report report;
    config = config_new_default();
    CHECK(config != NULL);
    config_report_init(&report);
    CHECK_INT(config_parse(config, text, strlen(text), "x.conf", &report), 0);
}

static void *object_of(const struct option *option)
{
    if (!option->section->named)
        return config;
    CHECK_INT(config->named[option->section->kind].n, 1); /* begin() must name every kind */
    return config->named[option->section->kind].items[0].object;
}

static void *member_of(const struct option *option)
{
    return (char *)object_of(option) + option->offset;
}

static int read_value(const struct option *option, const char *value)
{
    problem[0] = 0;
    return option_read(option, value, object_of(option), problem);
}

static int64_t number_of(const struct option *option)
{
    const char *at = member_of(option);
    uint32_t mode;
    int64_t number;
    if (option->type == OPTION_MODE) {
        memcpy(&mode, at, sizeof(mode));
        return mode;
    }
    memcpy(&number, at, sizeof(number));
    return number;
}

static bool is_number(const struct option *option)
{
    return option->type == OPTION_INT || option->type == OPTION_SIZE ||
           option->type == OPTION_DURATION || option->type == OPTION_MODE;
}

static bool is_text(const struct option *option)
{
    return option->type == OPTION_STRING || option->type == OPTION_PATH ||
           option->type == OPTION_FILE;
}

static const char *write_number(const struct option *option, int64_t number)
{
    static char text[64];
    if (option->type == OPTION_MODE)
        snprintf(text, sizeof(text), "%" PRIo64, (uint64_t)number);
    else
        snprintf(text, sizeof(text), "%" PRId64 "%s", number,
                 option->type == OPTION_DURATION ? "ms" : "");
    return text;
}

TEST(option, defaults_are_what_the_contract_says)
{
    begin();
    CHECK_STRING(config->listen_socket, "");
    CHECK_INT(config->listen_mode, 0660);
    CHECK_STRING(config->listen_group, "tcpbroker");
    CHECK_INT(config->threads_io, 0);
    CHECK_INT(config->threads_resolver, 16);
    CHECK_INT(config->limits_line, 1048576);
    CHECK_INT(config->limits_nesting, 32);
    CHECK_INT(config->limits_requests, 256);
    CHECK_INT(config->limits_unread_answers, 8 * 1048576);
    CHECK_INT(config->limits_sockets, 8192);
    CHECK_INT(config->limits_receive_buffer, 65536);
    CHECK_INT(config->connect_timeout, 60000);
    CHECK_INT(config->connect_stagger, 250);
    CHECK_INT(config->connect_keepalive, 60000);
    CHECK_INT(config->connect_keepalive_interval, 10000);
    CHECK_INT(config->connect_keepalive_probes, 6);
    CHECK_INT(config->connect_user_timeout, 300000);
    CHECK(config->connect_nodelay);
    CHECK_INT(config->io_close_timeout, 5000);
    CHECK_STRING(config->tls_cacerts, "/etc/tcpbroker/cacerts");
    CHECK(config->tls_system_store);
    CHECK_INT(config->tls_min_version, CONFIG_TLS_1_2);
    CHECK_INT(config->stop_drain_timeout, 30000);
    CHECK_INT(config->log_level, CONFIG_LOG_INFO);
    CHECK_INT(config->log_format, CONFIG_LOG_AUTO);
    config = config_free(config);
    CHECK(config_free(NULL) == NULL);
}

TEST(option, numbers_keep_to_their_range)
{
    begin();
    for (size_t i = 0; i < OPTION_N; i++) {
        const struct option *option = &options[i];
        if (!is_number(option))
            continue;
        CHECK_INT(read_value(option, write_number(option, option->min)), 0);
        CHECK_INT(number_of(option), option->min);
        CHECK_INT(read_value(option, write_number(option, option->max)), 0);
        CHECK_INT(number_of(option), option->max);
        CHECK_INT(read_value(option, write_number(option, option->max + 1)), CONFIG_E_INVALID);
        CHECK(strstr(problem, "too large") != NULL);
        CHECK_INT(number_of(option), option->max); /* as before */
        if (option->min > 1 || (option->min == 1 && !option->special)) {
            CHECK_INT(read_value(option, write_number(option, option->min - 1)), CONFIG_E_INVALID);
            CHECK(strstr(problem, "too small") != NULL);
        }
        CHECK_INT(read_value(option, "0"),
                  option->special || option->min == 0 ? 0 : CONFIG_E_INVALID);
    }
    config = config_free(config);
}

TEST(option, numbers_refuse_what_is_none)
{
    static const char *const bad[] = {"",
                                      "x",
                                      "-1",
                                      "+1",
                                      "1.5",
                                      "1e3",
                                      "0x10",
                                      "1 ",
                                      "1 K",
                                      "K",
                                      "ms",
                                      "99999999999999999999",
                                      "9223372036854775807h",
                                      "9223372036854775807G",
                                      "1KK",
                                      "1KiB",
                                      "1k",
                                      "1g",
                                      "1sec",
                                      "1S",
                                      "1d",
                                      "5,",
                                      "8",
                                      "9",
                                      "0660x"};
    begin();
    for (size_t i = 0; i < OPTION_N; i++) {
        const struct option *option = &options[i];
        for (size_t k = 0; is_number(option) && k < sizeof(bad) / sizeof(bad[0]); k++) {
            if (strlen(bad[k]) == 1 && (bad[k][0] == '8' || bad[k][0] == '9') &&
                option->type != OPTION_MODE)
                continue; /* these are no octal digits, that's all */
            CHECK_INT(read_value(option, bad[k]), CONFIG_E_INVALID);
            CHECK(strstr(problem, option->section->name) != NULL);
            CHECK(strstr(problem, option->key) != NULL);
        }
    }
    config = config_free(config);
}

TEST(option, units)
{
    const struct option *size = option_by_name("limits", "line");
    const struct option *duration = option_by_name("connect", "timeout");
    const struct option *number = option_by_name("limits", "requests");
    begin();
    CHECK_INT(read_value(size, "64K"), 0);
    CHECK_INT(config->limits_line, 65536);
    CHECK_INT(read_value(size, "5000"), 0);
    CHECK_INT(config->limits_line, 5000);
    CHECK_INT(read_value(size, "2M"), 0);
    CHECK_INT(config->limits_line, 2097152);
    CHECK_INT(read_value(size, "1G"), CONFIG_E_INVALID);
    CHECK_INT(read_value(option_by_name("limits", "held_bytes"), "1G"), 0);
    CHECK_INT(config->limits_held_bytes, 1073741824);
    CHECK_INT(read_value(duration, "250ms"), 0);
    CHECK_INT(config->connect_timeout, 250);
    CHECK_INT(read_value(duration, "30s"), 0);
    CHECK_INT(config->connect_timeout, 30000);
    CHECK_INT(read_value(duration, "5m"), 0);
    CHECK_INT(config->connect_timeout, 300000);
    CHECK_INT(read_value(duration, "2h"), 0);
    CHECK_INT(config->connect_timeout, 7200000);
    CHECK_INT(read_value(duration, "30"), CONFIG_E_INVALID); /* of what? */
    CHECK(strstr(problem, "unit (ms, s, m or h)") != NULL);
    CHECK_INT(read_value(number, "64K"), CONFIG_E_INVALID);
    CHECK_INT(read_value(number, "64s"), CONFIG_E_INVALID);
    CHECK_INT(read_value(option_by_name("connect", "keepalive"), "0"), 0);
    CHECK_INT(config->connect_keepalive, 0);
    CHECK_INT(read_value(option_by_name("connect", "keepalive"), "0s"), 0);
    CHECK_INT(read_value(option_by_name("connect", "keepalive"), "500ms"), CONFIG_E_INVALID);
    config = config_free(config);
}

TEST(option, booleans)
{
    static const char *const yes[] = {"yes", "true", "on", "1", "YES", "On"};
    static const char *const no[] = {"no", "false", "off", "0", "No"};
    static const char *const bad[] = {"", "y", "n", "2", "maybe", "yes no", "01"};
    begin();
    for (size_t i = 0; i < OPTION_N; i++) {
        const bool *at = member_of(&options[i]);
        if (options[i].type != OPTION_BOOL)
            continue;
        for (size_t k = 0; k < sizeof(yes) / sizeof(yes[0]); k++) {
            CHECK_INT(read_value(&options[i], "no"), 0);
            CHECK_INT(read_value(&options[i], yes[k]), 0);
            CHECK(*at);
        }
        for (size_t k = 0; k < sizeof(no) / sizeof(no[0]); k++) {
            CHECK_INT(read_value(&options[i], "yes"), 0);
            CHECK_INT(read_value(&options[i], no[k]), 0);
            CHECK(!*at);
        }
        for (size_t k = 0; k < sizeof(bad) / sizeof(bad[0]); k++)
            CHECK_INT(read_value(&options[i], bad[k]), CONFIG_E_INVALID);
        CHECK(strstr(problem, "yes or no") != NULL);
    }
    config = config_free(config);
}

TEST(option, words_are_the_enums)
{
    static const char *const levels[] = {"error", "warning", "notice", "info", "debug"};
    begin();
    for (int i = 0; i < 5; i++) {
        CHECK_INT(read_value(option_by_name("log", "level"), levels[i]), 0);
        CHECK_INT(config->log_level, i);
    }
    CHECK_INT(config->log_level, CONFIG_LOG_DEBUG);
    CHECK_INT(read_value(option_by_name("log", "format"), "journal"), 0);
    CHECK_INT(config->log_format, CONFIG_LOG_JOURNAL);
    CHECK_INT(read_value(option_by_name("tls", "min_version"), "1.3"), 0);
    CHECK_INT(config->tls_min_version, CONFIG_TLS_1_3);
    for (size_t i = 0; i < OPTION_N; i++) {
        if (options[i].type != OPTION_WORD)
            continue;
        CHECK_INT(read_value(&options[i], ""), CONFIG_E_INVALID);
        CHECK_INT(read_value(&options[i], "|"), CONFIG_E_INVALID);
        CHECK_INT(read_value(&options[i], "inf"), CONFIG_E_INVALID);
        CHECK_INT(read_value(&options[i], options[i].words), CONFIG_E_INVALID);
        CHECK(strstr(problem, "one of ") != NULL);
    }
    config = config_free(config);
}

TEST(option, texts_keep_to_their_length)
{
    static char text[CONFIG_MAX_LINE + 8];
    begin();
    for (size_t i = 0; i < OPTION_N; i++) {
        const struct option *option = &options[i];
        if (!is_text(option))
            continue;
        CHECK(option->max < CONFIG_MAX_LINE); /* it must fit a line */
        if (option->words)
            continue; /* no free text */
        memset(text, 'x', sizeof(text));
        text[0] = '/';
        text[option->max] = 0;
        CHECK_INT(read_value(option, text), 0);
        CHECK_STRING(*(char **)member_of(option), text);
        text[option->max] = 'x';
        text[option->max + 1] = 0;
        CHECK_INT(read_value(option, text), CONFIG_E_INVALID);
        CHECK(strstr(problem, "too long") != NULL);
        CHECK_INT(read_value(option, ""), option->special ? 0 : CONFIG_E_INVALID);
        CHECK_INT(read_value(option, "\"/quoted\""), CONFIG_E_INVALID);
        CHECK_INT(read_value(option, "/a # why"), CONFIG_E_INVALID);
        CHECK_INT(read_value(option, "/a ; why"), CONFIG_E_INVALID);
        CHECK_INT(read_value(option, "relative"),
                  option->type == OPTION_STRING ? 0 : CONFIG_E_INVALID);
    }
    config = config_free(config);
}

TEST(option, a_quoted_value_is_cut_between_characters)
{
    char value[400] = "";
    begin();
    for (int i = 0; i < 100; i++)
        strcat(value, i == 0 ? "xä" : "ä");
    CHECK_INT(read_value(option_by_name("connect", "timeout"), value), CONFIG_E_INVALID);
    char *end = strstr(problem, "…");
    CHECK(end != NULL);
    CHECK(end[-1] == (char)0xA4 && end[-2] == (char)0xC3);
    config = config_free(config);
}

TEST(option, table_is_in_order)
{
    char text[OPTION_TEXT_SIZE];
    begin();
    for (size_t i = 0; i < OPTION_N; i++) {
        const struct option *option = &options[i];
        const struct option_section *section = option->section;
        CHECK(option_in(section, option->key) == option);
        CHECK(option_section(section->name, section->named) == section);
        CHECK(option->min <= option->max);
        CHECK((option->type == OPTION_WORD || option->type == OPTION_LIST) ==
              (option->words != NULL && option->type != OPTION_STRING));
        CHECK(option->type == OPTION_WORD || !option->words || list_kind(option->words) != NULL);
        CHECK(option->doc[0] != 0 && option->doc[strlen(option->doc) - 1] == '.');
        CHECK(section->named == (option->example != NULL));
        CHECK((option->inherit == NULL) == (option->preset != NULL));
        CHECK(option_index(option) < 64); /* a bit of struct config_named_item */
        /* what errors append must fit the buffer they append it in */
        option_describe(option, text, sizeof(text));
        CHECK(strlen(text) < OPTION_DESCRIPTION_SIZE);
        /* the default as written is the way it is written back, so documents and dumps agree */
        option_format(option, object_of(option), text, sizeof(text));
        if (option->preset)
            CHECK_STRING(text, option->preset);
        if (option->example) {
            CHECK_INT(read_value(option, option->example), 0);
            option_format(option, object_of(option), text, sizeof(text));
            CHECK_STRING(text, option->example);
        }
    }
    CHECK(option_by_name("connect", "nothing") == NULL);
    CHECK(option_by_name("tls", "pins") == NULL); /* of plain sections only */
    CHECK(option_by_name("connec", "timeout") == NULL);
    CHECK(option_section("connec", false) == NULL);
    CHECK(option_section("connect", true) == NULL);
    CHECK(option_section("identity", false) == NULL);
    config = config_free(config);
}

/* what the plain option takes the one that inherits takes too, or inheriting could fail */
TEST(option, what_inherits_is_like_what_it_inherits_from)
{
    size_t n = 0;
    for (size_t i = 0; i < OPTION_N; i++) {
        const struct option *option = &options[i];
        if (!option->inherit)
            continue;
        const struct option *from = option_by_name(option->section->name, option->inherit);
        CHECK(from != NULL);
        n++;
        if (i == OPTION_tls_profile_trust) {
            CHECK(from == &options[OPTION_tls_system_store]);
            continue;
        }
        CHECK_INT(option->type, from->type);
        CHECK_INT(option->min, from->min);
        CHECK_INT(option->max, from->max);
        CHECK((option->special == NULL) == (from->special == NULL));
        CHECK((option->words == NULL) == (from->words == NULL));
        CHECK(!option->words || strcmp(option->words, from->words) == 0);
    }
    CHECK_INT(n, 9);
}

TEST(option, lists_keep_to_their_number)
{
    static char text[CONFIG_MAX_LINE];
    begin();
    for (size_t i = 0; i < OPTION_N; i++) {
        const struct option *option = &options[i];
        const struct config_list *list = member_of(option);
        if (option->type != OPTION_LIST)
            continue;
        size_t n = 0, used = 0;
        for (; n <= (size_t)option->max; n++) {
            CHECK(n < 256);
            if (strcmp(option->words, "pin") == 0)
                used += (size_t)sprintf(text + used, "sha256:%064zx,", n);
            else
                used += (size_t)sprintf(text + used, "%s%zu%s,",
                                        strcmp(option->words, "path") == 0    ? "/x"
                                        : strcmp(option->words, "range") == 0 ? "10.0.0."
                                                                              : "x",
                                        n, strcmp(option->words, "endpoint") == 0 ? ":1" : "");
        }
        text[used - 1] = 0; /* one too many */
        CHECK_INT(read_value(option, text), CONFIG_E_INVALID);
        CHECK(strstr(problem, "has too many items") != NULL);
        CHECK_INT(list->n, 0); /* as before */
        *strrchr(text, ',') = 0;
        CHECK_INT(read_value(option, text), 0);
        CHECK_INT(list->n, option->max);
        CHECK_INT(read_value(option, ""), option->special ? 0 : CONFIG_E_INVALID);
        CHECK_INT(read_value(option, ","), CONFIG_E_INVALID);
        CHECK_INT(read_value(option, "\"x\""), CONFIG_E_INVALID);
        CHECK_INT(read_value(option, "/x # why"), CONFIG_E_INVALID);
    }
    config = config_free(config);
}

static const struct option *nearest(const char *section, const char *key)
{
    return option_nearest(section ? option_section(section, false) : NULL, key);
}

TEST(option, nearest_names)
{
    const struct option_section *profile = option_section("tls", true);
    CHECK(nearest("connect", "timeot") == option_by_name("connect", "timeout"));
    CHECK(nearest("connect", "tiemout") == option_by_name("connect", "timeout"));
    CHECK(nearest("connect", "Timeout") == option_by_name("connect", "timeout"));
    CHECK(nearest("connect", "user-timeout") == option_by_name("connect", "user_timeout"));
    CHECK(nearest("limits", "socket") == option_by_name("limits", "sockets"));
    CHECK(nearest("tls", "staggr") == NULL);
    CHECK(nearest(NULL, "staggr") == option_by_name("connect", "stagger"));
    CHECK(nearest(NULL, "qqqqqqqqqq") == NULL);
    CHECK(nearest(NULL, "") == NULL);
    CHECK(nearest("tls", "min_versoin") == option_by_name("tls", "min_version"));
    CHECK(option_nearest(profile, "min_versoin") == option_in(profile, "min_version"));
    CHECK_STRING(option_nearest_section("conect", false)->name, "connect");
    CHECK_STRING(option_nearest_section("limit", false)->name, "limits");
    CHECK(option_nearest_section("TLS", false) == option_section("tls", false));
    CHECK(option_nearest_section("TLS", true) == profile);
    CHECK(option_nearest_section("identiyt", false) == option_section("identity", true));
    CHECK(option_nearest_section("zzzzzz", false) == NULL);
    char longer[5000];
    memset(longer, 'a', sizeof(longer));
    longer[sizeof(longer) - 1] = 0;
    CHECK(nearest(NULL, longer) == NULL);
    CHECK(option_nearest_section(longer, false) == NULL);
}
