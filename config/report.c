#include "config/report.h"

#include <stdarg.h>
#include <string.h>

void config_report_init(struct config_report *report)
{
    report->n_errors = 0;
    report->n_more = 0;
}

void config_report_print(const struct config_report *report, FILE *stream)
{
    for (size_t i = 0; i < report->n_errors; i++)
        fprintf(stream, "%s\n", report->errors[i]);
    if (report->n_more > 0)
        fprintf(stream, "… and %zu more\n", report->n_more);
}

/* a text that did not fit must not end in half a character */
static void drop_half_character(char *text)
{
    size_t n = strlen(text), start = n;
    while (start > 0 && ((unsigned char)text[start - 1] & 0xC0) == 0x80)
        start--;
    if (start == 0)
        return;
    unsigned char lead = (unsigned char)text[start - 1];
    size_t wanted = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC0 ? 2 : 1;
    if (n - (start - 1) < wanted)
        text[start - 1] = 0;
}

int report_add(struct config_report *report, const char *name, size_t line, const char *format, ...)
{
    if (report->n_errors == CONFIG_MAX_ERRORS) {
        report->n_more++;
        return CONFIG_E_INVALID;
    }
    char *text = report->errors[report->n_errors++];
    /* a very long path must leave room for what is wrong: its end says more than its beginning */
    size_t n_name = strlen(name), skip = n_name > 300 ? n_name - 300 : 0;
    while (skip > 0 && ((unsigned char)name[skip] & 0xC0) == 0x80)
        skip++;
    int used =
        line ? snprintf(text, CONFIG_ERROR_SIZE, "%s%s:%zu: ", skip ? "…" : "", name + skip, line)
             : snprintf(text, CONFIG_ERROR_SIZE, "%s%s: ", skip ? "…" : "", name + skip);
    va_list arguments;
    va_start(arguments, format);
    int n = vsnprintf(text + used, CONFIG_ERROR_SIZE - (size_t)used, format, arguments);
    va_end(arguments);
    if (n >= CONFIG_ERROR_SIZE - used)
        drop_half_character(text);
    return CONFIG_E_INVALID;
}

int report_cut(const char *text)
{
    size_t n = strlen(text);
    if (n <= 60)
        return (int)n;
    for (n = 60; n > 0 && ((unsigned char)text[n] & 0xC0) == 0x80; n--) {
    }
    return (int)n;
}
