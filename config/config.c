#include "config/config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/named.h"
#include "config/option.h"
#include "config/report.h"

struct config *config_free(struct config *config)
{
    if (!config)
        return NULL;
    named_deinit(config);
    for (size_t i = 0; i < OPTION_N; i++)
        if (!options[i].section->named)
            option_deinit(&options[i], config);
    free(config);
    return NULL;
}

struct config *config_new_default(void)
{
    struct config *config = calloc(1, sizeof(*config));
    if (!config)
        return NULL;
    for (size_t i = 0; i < OPTION_N; i++)
        if (!options[i].section->named && option_reset(&options[i], config) < 0)
            return config_free(config);
    return config;
}

int config_check(const struct config *config, const char *name, struct config_report *report)
{
    int result = 0;
    if (config->limits_held_bytes < config->limits_line)
        result = report_add(report, name, 0,
                            "limits.held_bytes (%lld) is less than limits.line (%lld): the longest "
                            "request could never run; raise the one or lower the other",
                            (long long)config->limits_held_bytes, (long long)config->limits_line);
    if (config->limits_held_bytes_per_user < config->limits_line)
        result = report_add(report, name, 0,
                            "limits.held_bytes_per_user (%lld) is less than limits.line (%lld): "
                            "the longest request could never run; raise the one or lower the other",
                            (long long)config->limits_held_bytes_per_user,
                            (long long)config->limits_line);
    if (config->connect_backoff_max < config->connect_backoff_min)
        result = report_add(report, name, 0,
                            "connect.backoff_max (%lld ms) is less than connect.backoff_min (%lld "
                            "ms); raise the one or lower the other",
                            (long long)config->connect_backoff_max,
                            (long long)config->connect_backoff_min);
    if (!config->tls_system_store && !*config->tls_cacerts)
        result = report_add(report, name, 0,
                            "tls.system_store is no and tls.cacerts is empty: no certificate could "
                            "ever be verified; set one of them");
    return named_check(config, name, report) == 0 ? result : CONFIG_E_INVALID;
}

/* A value that was as long as a line can be must still fit one. */
static void write_option(const struct option *option, const void *object, FILE *stream)
{
    char value[CONFIG_MAX_LINE + 1];
    option_format(option, object, value, sizeof(value));
    if (strlen(option->key) + 3 + strlen(value) > CONFIG_MAX_LINE)
        fprintf(stream, "%s=%s\n", option->key, value);
    else
        fprintf(stream, "%s =%s%s\n", option->key, *value ? " " : "", value);
}

static void write_named(const struct config *config, const struct option_section *section,
                        FILE *stream)
{
    const struct config_named *named = &config->named[section->kind];
    for (size_t k = 0; k < named->n; k++) {
        const struct config_named_item *item = &named->items[k];
        fprintf(stream, "\n[%s \"%s\"]\n", section->name, *(char *const *)item->object);
        for (size_t i = 0; i < OPTION_N; i++)
            if (options[i].section == section && named_sets(item, &options[i]))
                write_option(&options[i], item->object, stream);
    }
}

void config_write(const struct config *config, FILE *stream)
{
    for (size_t k = 0; k < OPTION_SECTION_N; k++) {
        const struct option_section *section = &option_sections[k];
        if (section->named) {
            write_named(config, section, stream);
            continue;
        }
        fprintf(stream, "%s[%s]\n", k ? "\n" : "", section->name);
        for (size_t i = 0; i < OPTION_N; i++)
            if (options[i].section == section)
                write_option(&options[i], config, stream);
    }
}

/* One byte more than a file may have, so that too long a file is noticed. 0, or -errno. */
static int read_all(int fd, char *buffer, size_t *ret_n)
{
    size_t n = 0;
    while (n < CONFIG_MAX_FILE + 1) {
        ssize_t r = read(fd, buffer + n, CONFIG_MAX_FILE + 1 - n);
        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0)
            return -errno;
        if (r == 0)
            break;
        n += (size_t)r;
    }
    *ret_n = n;
    return 0;
}

static int load_open(struct config *config, int fd, const char *path, struct config_report *report)
{
    struct stat status;
    size_t n = 0;
    if (fstat(fd, &status) < 0)
        return report_add(report, path, 0, "cannot be read: %s", strerror(errno));
    /* /dev/null is a fine empty file; a pipe or a folder is a mistake */
    if (!S_ISREG(status.st_mode) && !S_ISCHR(status.st_mode))
        return report_add(report, path, 0, "not a file; expected a text file with options");
    char *buffer = malloc(CONFIG_MAX_FILE + 1);
    if (!buffer)
        return -ENOMEM;
    int r = read_all(fd, buffer, &n);
    if (r < 0)
        r = report_add(report, path, 0, "cannot be read: %s", strerror(-r));
    else
        r = config_parse(config, buffer, n, path, report);
    free(buffer);
    return r;
}

static int load_file(struct config *config, const char *path, unsigned flags,
                     struct config_report *report)
{
    /* O_NONBLOCK: opening a pipe that nobody writes to must not hang the start */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0 && errno == ENOENT && (flags & CONFIG_MAY_BE_ABSENT))
        return 0;
    if (fd < 0)
        return report_add(report, path, 0, "cannot be opened: %s", strerror(errno));
    int r = load_open(config, fd, path, report);
    close(fd);
    return r;
}

/* 0 < CONFIG_E_INVALID, but a negative number beats both */
static int worse(int a, int b)
{
    if (a < 0 || b < 0)
        return a < 0 ? a : b;
    return a > b ? a : b;
}

int config_load(const char *path, unsigned flags, const char *const *sets, size_t n_sets,
                struct config_report *report, struct config **ret_config)
{
    config_report_init(report);
    *ret_config = NULL;
    struct config *config = config_new_default();
    if (!config)
        return -ENOMEM;
    int r = path ? load_file(config, path, flags, report) : 0;
    for (size_t i = 0; i < n_sets && r >= 0; i++)
        r = worse(r, config_set(config, sets[i], report));
    /* what holds between options is only worth a word when each is what its author wrote */
    if (r == 0)
        r = config_check(config, path ? path : "--set", report);
    if (r != 0) {
        config_free(config);
        return r;
    }
    *ret_config = config;
    return 0;
}
