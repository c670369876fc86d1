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
    static const char *const shorter[] = {"connect.backoff_min=20s", "connect.backoff_max=20s"};
    static const char *const nobody[] = {"tls.system_store=no", "tls.cacerts="};
    CHECK_INT(config_load(NULL, 0, small, 1, &report, &config), CONFIG_E_INVALID);
    CHECK(strstr(report.errors[0], "limits.held_bytes (65536) is less than limits.line") != NULL);
    CHECK_INT(config_load(NULL, 0, repaired, 2, &report, &config), 0);
    config = config_free(config);
    CHECK_INT(config_load(NULL, 0, shorter, 1, &report, &config), CONFIG_E_INVALID);
    CHECK(strstr(report.errors[0], "connect.backoff_max (15000 ms) is less than") != NULL);
    CHECK_INT(config_load(NULL, 0, shorter, 2, &report, &config), 0);
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

/* what stands in the place of an option that is not set: its default, or for named sections the
 * example */
static void check_sample_value(const struct option *option)
{
    char value[CONFIG_MAX_LINE];
    const void *object = config;
    if (option->section->named) {
        CHECK_INT(config->named[option->section->kind].n, 1);
        object = config_named_find(config, option->section->kind, "partner");
        CHECK(object != NULL);
    }
    option_format(option, object, value, sizeof(value));
    CHECK_STRING(value, option->section->named ? option->example : option->preset);
}

TEST(sample, without_comment_signs_it_sets_every_option)
{
    size_t n, n_options = 0, n_sections = 0;
    char *text = sample(&n);
    for (char *line = text; line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
        if (line[0] != '#' || ((line[1] < 'a' || line[1] > 'z') && line[1] != '['))
            continue;
        if (line[1] == '[')
            n_sections++;
        else
            n_options++;
        line[0] = ' ';
    }
    CHECK_INT(n_options, OPTION_N);
    CHECK_INT(n_sections, CONFIG_KIND_N);
    config = config_new_default();
    config_report_init(&report);
    CHECK_INT(config_parse(config, text, n, "sample", &report), 0);
    CHECK_INT(config_check(config, "sample", &report), 0);
    for (size_t i = 0; i < OPTION_N; i++)
        check_sample_value(&options[i]);
    config = config_free(config);
    free(text);
}

static char *document(void (*write)(FILE *))
{
    char *text = NULL;
    size_t n;
    FILE *stream = open_memstream(&text, &n);
    CHECK(stream != NULL);
    write(stream);
    CHECK_INT(fclose(stream), 0);
    return text;
}

/* the part of a document that is about the section, with a NUL behind it */
static char *part(const char *text, const char *head, const char *next_head)
{
    const char *begin = strstr(text, head);
    CHECK(begin != NULL);
    const char *end = strstr(begin + strlen(head), next_head);
    char *copy = end ? strndup(begin, (size_t)(end - begin)) : strdup(begin);
    CHECK(copy != NULL);
    return copy;
}

TEST(sample, documents_name_every_option)
{
    char *man = document(sample_write_man), *markdown = document(sample_write_markdown);
    char name[OPTION_NAME_SIZE], wanted[OPTION_NAME_SIZE + 16], head[64];
    for (size_t i = 0; i < OPTION_N; i++) {
        option_name(&options[i], NULL, name, sizeof(name));
        snprintf(wanted, sizeof(wanted), "| `%s` | ", name);
        CHECK(strstr(markdown, wanted) != NULL);
        snprintf(head, sizeof(head),
                 options[i].section->named ? ".SS [%s \\(dqname\\(dq]\n" : ".SS [%s]\n",
                 options[i].section->name);
        char *section = part(man, head, ".SS ");
        snprintf(wanted, sizeof(wanted), ".BR %s \" = ", options[i].key);
        CHECK(strstr(section, wanted) != NULL);
        free(section);
    }
    free(man);
    free(markdown);
}
