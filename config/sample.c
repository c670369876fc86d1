#include "config/sample.h"

#include <string.h>

#include "config/option.h"

#define COLUMNS 100

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

static bool begins_section(size_t i)
{
    return i == 0 || strcmp(options[i].section, options[i - 1].section) != 0;
}

static const char *section_doc(const char *section)
{
    for (size_t i = 0; i < OPTION_SECTION_N; i++)
        if (strcmp(option_sections[i].name, section) == 0)
            return option_sections[i].doc;
    return "";
}

void sample_write(FILE *stream)
{
    char allowed[OPTION_TEXT_SIZE], line[OPTION_TEXT_SIZE + 32];
    fprintf(stream,
            "# tcpbroker.conf: the configuration of tcpbrokerd.\n"
            "#\n"
            "# Every option stands here with its default; take away the # to change one.\n"
            "# Comments stand on lines of their own, values without quotes. After a change:\n"
            "#   tcpbrokerd --check-config /etc/tcpbroker/tcpbroker.conf\n");
    for (size_t i = 0; i < OPTION_N; i++) {
        const struct option *option = &options[i];
        if (begins_section(i)) {
            fprintf(stream, "\n");
            wrap(stream, "# ", section_doc(option->section));
            fprintf(stream, "[%s]\n", option->section);
        }
        fprintf(stream, "\n");
        wrap(stream, "# ", option->doc);
        option_describe(option, allowed, sizeof(allowed));
        snprintf(line, sizeof(line), "Allowed: %s.", allowed);
        wrap(stream, "# ", line);
        fprintf(stream, "#%s =%s%s\n", option->key, *option->preset ? " " : "", option->preset);
    }
}

/* | would end a cell */
static void write_cell(FILE *stream, const char *text)
{
    for (; *text; text++)
        fprintf(stream, *text == '|' ? "\\%c" : "%c", *text);
}

void sample_write_markdown(FILE *stream)
{
    char allowed[OPTION_TEXT_SIZE];
    for (size_t i = 0; i < OPTION_N; i++) {
        const struct option *option = &options[i];
        if (begins_section(i))
            fprintf(stream,
                    "%s### [%s]\n\n%s.\n\n"
                    "| option | default | allowed | what it does |\n|---|---|---|---|\n",
                    i ? "\n" : "", option->section, section_doc(option->section));
        option_describe(option, allowed, sizeof(allowed));
        fprintf(stream, "| `%s.%s` | ", option->section, option->key);
        fprintf(stream, *option->preset ? "`%s` | " : "(empty)%s | ", option->preset);
        write_cell(stream, allowed);
        fprintf(stream, " | ");
        write_cell(stream, option->doc);
        fprintf(stream, " |\n");
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

void sample_write_man(FILE *stream)
{
    char allowed[OPTION_TEXT_SIZE];
    for (size_t i = 0; i < OPTION_N; i++) {
        const struct option *option = &options[i];
        if (begins_section(i)) {
            fprintf(stream, ".SS [%s]\n", option->section);
            write_roff(stream, section_doc(option->section));
            fprintf(stream, ".\n");
        }
        option_describe(option, allowed, sizeof(allowed));
        fprintf(stream, ".TP\n.BR %s \" = ", option->key);
        write_roff(stream, *option->preset ? option->preset : "(empty)");
        fprintf(stream, "\"\n");
        write_roff(stream, option->doc);
        fprintf(stream, "\n.br\nAllowed: ");
        write_roff(stream, allowed);
        fprintf(stream, ".\n");
    }
}
