/*
 * proto_tables: prints what the tables of proto/ expand to, for documents and headers that are kept
 * in the tree:
 *
 *   proto_tables methods    Markdown: every method, its parameters, its result
 *   proto_tables errors     Markdown: the error codes
 *   proto_tables stats      Markdown: the counters of Broker.Stats
 *   proto_tables event      Markdown: the members of a Broker.Event
 *   proto_tables ends       Markdown: why a connection has ended
 *   proto_tables header     C: the typed part of <tcpbroker.h>
 *   proto_tables openrpc    JSON: what rpc.discover answers
 *
 * Tests compare the kept texts with this output.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "proto/gen/proto_tables.h"
#include "proto/methods.h"
#include "proto/openrpc.h"

static void print_cell(const char *text)
{
    for (; *text; text++) {
        if (*text == '|')
            putchar('\\');
        putchar(*text);
    }
}

static void print_preset(const struct field *field)
{
    const char *word = field->extra ? field->extra : "";

    if (field->preset == FIELD_NO_PRESET)
        return;
    printf("; default ");
    if (field->type == FIELD_BOOL) {
        printf("%s", field->preset ? "true" : "false");
    } else if (field->type == FIELD_ENUM) {
        for (int64_t i = 0; i < field->preset; i++)
            word += strcspn(word, "|") + 1;
        printf("\"%.*s\"", (int)strcspn(word, "|"), word);
    } else {
        printf("%" PRId64, field->preset);
    }
}

static void print_member(const struct field *field, const char *prefix, size_t position, bool in)
{
    char text[256];

    field_describe(field, text, sizeof(text));
    printf("| `%s%s`", prefix, field->name);
    if (field->extra && field->type != FIELD_ENUM)
        printf(" (or `%s`)", field->extra);
    if (in && position > 0)
        printf(" | %zu", position);
    else if (in)
        printf(" | ");
    printf(" | ");
    /* a result's range is a promise about types, not something to obey */
    if (in ||
        (field->type != FIELD_INT && field->type != FIELD_STRING && field->type != FIELD_TEXT &&
         field->type != FIELD_BASE64 && field->type != FIELD_STRINGS))
        print_cell(text);
    else
        printf("%s", field->type == FIELD_INT       ? "integer"
                     : field->type == FIELD_BASE64  ? "base64"
                     : field->type == FIELD_STRINGS ? "list of strings"
                                                    : "string");
    printf(" | %s", field->flags & FIELD_REQUIRED ? "always" : "optional");
    if (in)
        print_preset(field);
    printf(" | ");
    print_cell(field->doc);
    printf(" |\n");
}

static void print_members(const struct field_table *table, const char *prefix, bool in)
{
    size_t position = 0;

    for (size_t i = 0; i < table->n_fields; i++) {
        const struct field *field = &table->fields[i];
        char inner[160];
        if (field->flags & FIELD_POSITIONAL)
            position++;
        print_member(field, prefix, field->flags & FIELD_POSITIONAL ? position : 0, in);
        if (!field->sub)
            continue;
        snprintf(inner, sizeof(inner), "%s%s%s.", prefix, field->name,
                 field->type == FIELD_OBJECTS ? "[]" : "");
        print_members(field->sub, inner, in);
    }
}

static void print_methods(void)
{
    for (unsigned i = METHOD_UNKNOWN + 1; i < METHOD_N; i++) {
        const struct method_info *info = &method_infos[i];

        printf("%s### %s\n\n%c%s%s.\n\n", i > METHOD_UNKNOWN + 1 ? "\n" : "", info->name,
               info->summary[0] >= 'a' && info->summary[0] <= 'z' ? info->summary[0] - 32
                                                                  : info->summary[0],
               info->summary + 1,
               info->traits & METHOD_ADMIN ? " (root or an administrator only)" : "");
        if (info->params->n_fields == 0) {
            printf("No parameters.\n\n");
        } else {
            printf("| parameter | position | type | given | meaning |\n|---|---|---|---|---|\n");
            print_members(info->params, "", true);
            printf("\n");
        }
        printf("| result | type | given | meaning |\n|---|---|---|---|\n");
        print_members(info->result, "", false);
    }
}

static void print_errors(void)
{
    printf("| code | symbol | stage | retryable | meaning |\n|---|---|---|---|---|\n");
    for (unsigned i = WIRE_NONE + 1; i < WIRE_N; i++) {
        const struct error_info *info = &error_infos[i];
        printf("| %" PRId32 " | %s | %s | %s | ", info->code, info->symbol,
               error_stage_name(info->stage), info->retryable ? "yes" : "no");
        print_cell(info->text);
        printf(" |\n");
    }
}

static void print_stats(void)
{
    printf("| name | kind | meaning |\n|---|---|---|\n");
#define STAT(name, kind, doc)                                                                      \
    printf("| `" #name "` | %s | ", strcmp(#kind, "GAUGE") == 0 ? "gauge" : "counter");            \
    print_cell(doc);                                                                               \
    printf(" |\n");
#include "proto/stats.def"
#undef STAT
}

static void print_event(void)
{
    printf("| member | type | given | meaning |\n|---|---|---|---|\n");
    print_members(&proto_event_table, "", false);
}

static void print_ends(void)
{
    printf("| reason | meaning |\n|---|---|\n");
#define END(symbol, word, text)                                                                    \
    printf("| `%s` | ", word);                                                                     \
    print_cell(text);                                                                              \
    printf(" |\n");
#include "proto/ends.def"
#undef END
}

static bool print_openrpc(void)
{
    struct writer writer = WRITER_INIT;
    bool written;

    openrpc_write(&writer);
    written = !writer_failed(&writer);
    if (written)
        printf("%.*s\n", (int)writer.n_data, writer.data);
    writer_deinit(&writer);
    return written;
}

int main(int argc, char **argv)
{
    const char *what = argc == 2 ? argv[1] : "";
    bool written = true;

    if (strcmp(what, "methods") == 0)
        print_methods();
    else if (strcmp(what, "errors") == 0)
        print_errors();
    else if (strcmp(what, "stats") == 0)
        print_stats();
    else if (strcmp(what, "event") == 0)
        print_event();
    else if (strcmp(what, "ends") == 0)
        print_ends();
    else if (strcmp(what, "header") == 0)
        print_header();
    else if (strcmp(what, "openrpc") == 0)
        written = print_openrpc();
    else {
        fprintf(stderr, "usage: proto_tables methods|errors|stats|event|ends|header|openrpc\n");
        return 2;
    }
    return written && fflush(stdout) == 0 && !ferror(stdout) ? 0 : 1;
}
