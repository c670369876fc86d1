/*
 * fuzz_config: any bytes as a configuration file, or, after a NUL, as an argument of --set.
 * Whatever was accepted must be written in a form that is accepted again and means the same.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_data);

static struct config_report report;

static void must(bool holds, const char *what)
{
    if (!holds) {
        fprintf(stderr, "does not hold: %s\n", what);
        abort();
    }
}

static char *write_config(const struct config *config, size_t *ret_n)
{
    char *text = NULL;
    FILE *stream = open_memstream(&text, ret_n);
    must(stream != NULL, "memory for a stream");
    config_write(config, stream);
    fclose(stream);
    return text;
}

static int read_input(struct config *config, const uint8_t *data, size_t n_data)
{
    if (n_data == 0 || data[0] != 0)
        return config_parse(config, (const char *)data, n_data, "fuzz", &report);
    char *text = strndup((const char *)data + 1, n_data - 1);
    must(text != NULL, "memory for a copy");
    int r = config_set(config, text, &report);
    free(text);
    return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_data)
{
    struct config *config = config_new_default(), *again = config_new_default();
    must(config && again, "memory for two configurations");
    config_report_init(&report);
    int r = read_input(config, data, n_data);
    must(r == 0 || r == CONFIG_E_INVALID, "nothing but 0 and CONFIG_E_INVALID");
    must((r == 0) == (report.n_errors == 0), "an error is reported if and only if there is one");
    for (size_t i = 0; i < report.n_errors; i++)
        must(!strpbrk(report.errors[i], "\n\r\x1b"), "errors are one line of text");

    config_report_init(&report);
    r = config_check(config, "check", &report);
    must((r == CONFIG_E_INVALID) == (report.n_errors > 0), "a check that fails says why");

    /* also after errors: what is left is a valid configuration */
    size_t n_first, n_second;
    char *first = write_config(config, &n_first);
    config_report_init(&report);
    must(config_parse(again, first, n_first, "again", &report) == 0, "what is written can be read");
    char *second = write_config(again, &n_second);
    must(n_first == n_second && memcmp(first, second, n_first) == 0, "and means the same");
    free(first);
    free(second);
    config_free(config);
    config_free(again);
    return 0;
}
