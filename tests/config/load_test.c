/* From a file to a configuration: files of every kind, --set, what must hold between options; and
 * the committed sample. */
#include "support/test.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/option.h"
#include "config/sample.h"

static struct config *config;
static struct config_report report;
static char folder[] = "/tmp/tcpbroker-config-XXXXXX";
static char path[sizeof(folder) + 8];

static void begin(void)
{
    strcpy(folder + sizeof(folder) - 7, "XXXXXX");
    CHECK(mkdtemp(folder) != NULL);
    snprintf(path, sizeof(path), "%s/x.conf", folder);
}

static void end(void)
{
    config = config_free(config);
    if (unlink(path) < 0)
        rmdir(path);
    CHECK_INT(rmdir(folder), 0);
}

static void write_file(const char *text, size_t n)
{
    FILE *file = fopen(path, "w");
    CHECK(file != NULL);
    CHECK(fwrite(text, 1, n, file) == n);
    CHECK_INT(fclose(file), 0);
}

static int load(unsigned flags)
{
    config_free(config);
    return config_load(path, flags, NULL, 0, &report, &config);
}

TEST(load, file)
{
    begin();
    write_file("[connect]\ntimeout = 5s\n", 23);
    CHECK_INT(load(0), 0);
    CHECK_INT(config->connect_timeout, 5000);
    CHECK_INT(config->connect_stagger, 250);
    write_file("", 0);
    CHECK_INT(load(0), 0);
    CHECK_INT(config->connect_timeout, 60000);
    write_file("[connect]\ntimeout = 5\n", 22);
    CHECK_INT(load(CONFIG_MAY_BE_ABSENT), CONFIG_E_INVALID);
    CHECK(config == NULL);
    CHECK_INT(report.n_errors, 1);
    CHECK(strncmp(report.errors[0], path, strlen(path)) == 0);
    CHECK(strncmp(report.errors[0] + strlen(path), ":2: connect.timeout: \"5\"", 24) == 0);
    end();
}

TEST(load, no_file)
{
    begin();
    CHECK_INT(load(CONFIG_MAY_BE_ABSENT), 0);
    CHECK_INT(config->connect_timeout, 60000);
    CHECK_INT(load(0), CONFIG_E_INVALID);
    CHECK(config == NULL);
    CHECK(strstr(report.errors[0], "cannot be opened: No such file") != NULL);
    CHECK_INT(config_load(NULL, 0, NULL, 0, &report, &config), 0);
    CHECK_INT(config->connect_timeout, 60000);
    config = config_free(config);
    CHECK_INT(config_load("/dev/null", 0, NULL, 0, &report, &config), 0);
    CHECK_INT(rmdir(folder), 0);
    /* a path through a file is no absent file */
    config = config_free(config);
    CHECK_INT(config_load("/dev/null/x.conf", CONFIG_MAY_BE_ABSENT, NULL, 0, &report, &config),
              CONFIG_E_INVALID);
}

TEST(load, what_is_no_file)
{
    begin();
    CHECK_INT(mkdir(path, 0700), 0);
    CHECK_INT(load(CONFIG_MAY_BE_ABSENT), CONFIG_E_INVALID);
    CHECK(strstr(report.errors[0], "not a file") != NULL);
    CHECK_INT(rmdir(path), 0);
    CHECK_INT(mkfifo(path, 0600), 0);
    CHECK_INT(load(0), CONFIG_E_INVALID); /* and does not wait for somebody to write to it */
    CHECK(strstr(report.errors[0], "not a file") != NULL);
    end();
    CHECK_INT(config_load("/dev/zero", 0, NULL, 0, &report, &config), CONFIG_E_INVALID);
    CHECK(strstr(report.errors[0], "more than 1048576 bytes") != NULL);
}

TEST(load, a_file_that_may_not_be_read)
{
    begin();
    write_file("", 0);
    CHECK_INT(chmod(path, 0), 0);
    if (geteuid() == 0) {
        /* root reads everything: be somebody else for a moment */
        CHECK_INT(chmod(folder, 0755), 0);
        CHECK_INT(seteuid(65534), 0);
        int r = load(CONFIG_MAY_BE_ABSENT);
        CHECK_INT(seteuid(0), 0);
        CHECK_INT(r, CONFIG_E_INVALID);
    } else {
        CHECK_INT(load(CONFIG_MAY_BE_ABSENT), CONFIG_E_INVALID);
    }
    CHECK(strstr(report.errors[0], "cannot be opened: Permission denied") != NULL);
    end();
}

TEST(load, huge_file)
{
    begin();
    char *text = malloc(3 * CONFIG_MAX_FILE);
    CHECK(text != NULL);
    memset(text, '\n', 3 * CONFIG_MAX_FILE);
    write_file(text, CONFIG_MAX_FILE);
    CHECK_INT(load(0), 0);
    write_file(text, 3 * CONFIG_MAX_FILE);
    CHECK_INT(load(0), CONFIG_E_INVALID);
    CHECK_INT(report.n_errors, 1);
    free(text);
    end();
}

TEST(load, sets_come_after_the_file)
{
    static const char *const good[] = {"connect.timeout=7s", "limits.line=2M"};
    static const char *const bad[] = {"connect.timeout=7", "nothing", "limits.line=64K"};
    begin();
    write_file("[connect]\ntimeout = 5s\nstagger = 20ms\n", 38);
    CHECK_INT(config_load(path, 0, good, 2, &report, &config), 0);
    CHECK_INT(config->connect_timeout, 7000);
    CHECK_INT(config->connect_stagger, 20);
    CHECK_INT(config->limits_line, 2097152);
    config = config_free(config);
    CHECK_INT(config_load(path, 0, bad, 3, &report, &config), CONFIG_E_INVALID);
    CHECK(config == NULL);
    CHECK_INT(report.n_errors, 2);
    end();
}

TEST(load, what_must_hold_between_options)
{
    static const char *const small[] = {"limits.held_bytes=64K"};
    static const char *const repaired[] = {"limits.held_bytes=64K", "limits.line=64K"};
    static const char *const nobody[] = {"tls.system_store=no", "tls.cacerts="};
    CHECK_INT(config_load(NULL, 0, small, 1, &report, &config), CONFIG_E_INVALID);
    CHECK(strstr(report.errors[0], "limits.held_bytes (65536) is less than limits.line") != NULL);
    CHECK_INT(config_load(NULL, 0, repaired, 2, &report, &config), 0);
    config = config_free(config);
    CHECK_INT(config_load(NULL, 0, nobody, 2, &report, &config), CONFIG_E_INVALID);
    CHECK(strstr(report.errors[0], "tls.system_store") != NULL);
    CHECK_INT(config_load(NULL, 0, nobody, 1, &report, &config), 0);
    config = config_free(config);
}

static char *sample(size_t *ret_n)
{
    char *text = NULL;
    FILE *stream = open_memstream(&text, ret_n);
    CHECK(stream != NULL);
    sample_write(stream);
    CHECK_INT(fclose(stream), 0);
    return text;
}

TEST(sample, committed_file_is_the_table)
{
    size_t n, n_file;
    char *text = sample(&n);
    char *found = malloc(n + 2);
    FILE *stream = fopen(CONFIG_SAMPLE_FILE, "r");
    CHECK(found != NULL && stream != NULL);
    n_file = fread(found, 1, n + 1, stream);
    fclose(stream);
    found[n_file] = 0;
    if (strcmp(text, found) != 0)
        fprintf(stderr,
                "config/tcpbroker.conf is not what options.def says: build update_config_sample\n");
    CHECK(n_file == n && memcmp(text, found, n) == 0);
    CHECK_INT(config_load(CONFIG_SAMPLE_FILE, 0, NULL, 0, &report, &config), 0);
    config = config_free(config);
    free(text);
    free(found);
}

TEST(sample, without_comment_signs_it_sets_every_option_to_its_default)
{
    size_t n, n_options = 0;
    char *text = sample(&n);
    for (char *line = text; line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL)
        if (line[0] == '#' && line[1] >= 'a' && line[1] <= 'z') {
            line[0] = ' ';
            n_options++;
        }
    CHECK_INT(n_options, OPTION_N);
    config = config_new_default();
    config_report_init(&report);
    CHECK_INT(config_parse(config, text, n, "sample", &report), 0);
    for (size_t i = 0; i < OPTION_N; i++) {
        char value[CONFIG_MAX_LINE];
        option_format(&options[i], config, value, sizeof(value));
        CHECK_STRING(value, options[i].preset);
    }
    config = config_free(config);
    free(text);
}

TEST(sample, documents_name_every_option)
{
    char *man = NULL, *markdown = NULL, name[128];
    size_t n;
    FILE *stream = open_memstream(&man, &n);
    sample_write_man(stream);
    fclose(stream);
    stream = open_memstream(&markdown, &n);
    sample_write_markdown(stream);
    fclose(stream);
    for (size_t i = 0; i < OPTION_N; i++) {
        snprintf(name, sizeof(name), "| `%s.%s` | ", options[i].section, options[i].key);
        CHECK(strstr(markdown, name) != NULL);
        snprintf(name, sizeof(name), ".BR %s \" = ", options[i].key);
        CHECK(strstr(man, name) != NULL);
    }
    free(man);
    free(markdown);
}
