#include "config/sample.h"

#include <string.h>

#include "config/option.h"

#define COLUMNS 100

/* of the named sections in the sample */
#define SAMPLE_NAME "partner"

/* text in words, each line after prefix, broken before COLUMNS */
static void wrap(FILE *stream, const char *prefix, const char *text)
{
    size_t column = 0;
    while (*text) {
        size_t n = strcspn(text, " ");
        if (column > 0 && column + 1 + n > COLUMNS) {
            fputc('\n', stream);
            column = 0;
        }
        column += (size_t)fprintf(stream, "%s%.*s", column ? " " : prefix, (int)n, text);
        text += n;
        text += strspn(text, " ");
    }
    fputc('\n', stream);
}

/* [connect], [tls "name"] */
static void write_head(const struct option_section *section, const char *quote, const char *name,
                       FILE *stream)
{
    if (section->named)
        fprintf(stream, "[%s %s%s%s]", section->name, quote, name, quote);
    else
        fprintf(stream, "[%s]", section->name);
}

/* What holds when the option is not set: 1.2, (empty), (as in [tls]) */
static const char *absent(const struct option *option, char *text, size_t n_text)
{
    if (option->inherit)
        snprintf(text, n_text, "(as in [%s])", option->section->name);
    else if (!*option->preset)
        snprintf(text, n_text, option->special ? "(empty)" : "(none; it must be set)");
    else
        snprintf(text, n_text, "%s", option->preset);
    return text;
}

static void write_sample_option(const struct option *option, FILE *stream)
{
    char allowed[OPTION_DESCRIPTION_SIZE], preset[64], line[OPTION_DESCRIPTION_SIZE + 128];
    const char *value = option->section->named ? option->example : option->preset;
    wrap(stream, "# ", option->doc);
    option_describe(option, allowed, sizeof(allowed));
    if (option->section->named)
        snprintf(line, sizeof(line), "Allowed: %s. Default: %s.", allowed,
                 absent(option, preset, sizeof(preset)));
    else
        snprintf(line, sizeof(line), "Allowed: %s.", allowed);
    wrap(stream, "# ", line);
    fprintf(stream, "#%s =%s%s\n", option->key, *value ? " " : "", value);
}

void sample_write(FILE *stream)
{
    fprintf(stream,
            "# tcpbroker.conf: the configuration of tcpbrokerd.\n"
            "#\n"
            "# Every option stands here with its default; take away the # to change one. Sections "
            "with\n"
            "# a name are examples; there may be several of a kind, each with another name.\n"
            "# Comments stand on lines of their own, values without quotes. After a change:\n"
            "#   tcpbrokerd --check-config /etc/tcpbroker/tcpbroker.conf\n");
    for (size_t k = 0; k < OPTION_SECTION_N; k++) {
        const struct option_section *section = &option_sections[k];
        fprintf(stream, "\n");
        wrap(stream, "# ", section->doc);
        fprintf(stream, section->named ? "#" : "");
        write_head(section, "\"", SAMPLE_NAME, stream);
        fprintf(stream, "\n");
        for (size_t i = 0; i < OPTION_N; i++) {
            if (options[i].section != section)
                continue;
            fprintf(stream, "\n");
            write_sample_option(&options[i], stream);
        }
    }
}

/* | would end a cell */
static void write_cell(FILE *stream, const char *text)
{
    for (; *text; text++)
        fprintf(stream, *text == '|' ? "\\%c" : "%c", *text);
}

static void write_row(const struct option *option, FILE *stream)
{
    char allowed[OPTION_DESCRIPTION_SIZE], preset[64];
    option_describe(option, allowed, sizeof(allowed));
    option_name(option, NULL, preset, sizeof(preset));
    fprintf(stream, "| `%s` | ", preset);
    absent(option, preset, sizeof(preset));
    fprintf(stream, *preset == '(' ? "%s | " : "`%s` | ", preset);
    write_cell(stream, allowed);
    fprintf(stream, " | ");
    write_cell(stream, option->doc);
    fprintf(stream, " |\n");
}

void sample_write_markdown(FILE *stream)
{
    for (size_t k = 0; k < OPTION_SECTION_N; k++) {
        const struct option_section *section = &option_sections[k];
        fprintf(stream, "%s### ", k ? "\n" : "");
        write_head(section, "\"", "name", stream);
        fprintf(stream,
                "\n\n%s.\n\n"
                "| option | default | allowed | what it does |\n|---|---|---|---|\n",
                section->doc);
        for (size_t i = 0; i < OPTION_N; i++)
            if (options[i].section == section)
                write_row(&options[i], stream);
    }
}

/* roff takes a line that begins with . or ' as a request, and \ and - as its own */
static void write_roff(FILE *stream, const char *text)
{
    if (*text == '.' || *text == '\'')
        fprintf(stream, "\\&");
    for (; *text; text++) {
        if (*text == '\\')
            fprintf(stream, "\\e");
        else if (*text == '-')
            fprintf(stream, "\\-");
        else
            fputc(*text, stream);
    }
}

static void write_paragraph(const struct option *option, FILE *stream)
{
    char allowed[OPTION_DESCRIPTION_SIZE], preset[64];
    option_describe(option, allowed, sizeof(allowed));
    fprintf(stream, ".TP\n.BR %s \" = ", option->key);
    write_roff(stream, absent(option, preset, sizeof(preset)));
    fprintf(stream, "\"\n");
    write_roff(stream, option->doc);
    fprintf(stream, "\n.br\nAllowed: ");
    write_roff(stream, allowed);
    fprintf(stream, ".\n");
}

void sample_write_man(FILE *stream)
{
    for (size_t k = 0; k < OPTION_SECTION_N; k++) {
        const struct option_section *section = &option_sections[k];
        fprintf(stream, ".SS ");
        /* quotes of its own would be taken by the macro */
        write_head(section, "\\(dq", "name", stream);
        fprintf(stream, "\n");
        write_roff(stream, section->doc);
        fprintf(stream, ".\n");
        for (size_t i = 0; i < OPTION_N; i++)
            if (options[i].section == section)
                write_paragraph(&options[i], stream);
    }
}
