/*
 * help: of the command, a verb, or a method (from the table).
 */
#include <inttypes.h>
#include <string.h>

#include "cli/talk.h"
#include "cli/verbs.h"
#include "proto/methods.h"

static void print_preset(const struct field *field)
{
    if (field->flags & FIELD_REQUIRED) {
        printf(", required");
    } else if (field->preset == FIELD_NO_PRESET) {
        printf(", optional");
    } else if (field->type == FIELD_BOOL) {
        printf(", default %s", field->preset ? "true" : "false");
    } else if (field->type == FIELD_ENUM) {
        const char *word = field->extra;
        for (int64_t i = 0; i < field->preset; i++)
            word = strchr(word, '|') + 1;
        printf(", default %.*s", (int)strcspn(word, "|"), word);
    } else {
        printf(", default %" PRId64, field->preset);
    }
}

static void print_fields(const struct field_table *table, int indent, bool params)
{
    for (size_t i = 0; i < table->n_fields; i++) {
        const struct field *field = &table->fields[i];
        char what[256];
        if (field->type == FIELD_OBJECT)
            snprintf(what, sizeof(what), "object");
        else if (field->type == FIELD_OBJECTS)
            snprintf(what, sizeof(what), "list of objects");
        else
            field_describe(field, what, sizeof(what));
        printf("%*s%s: %s", indent, "", field->name, what);
        if (params)
            print_preset(field);
        else if (!(field->flags & FIELD_REQUIRED))
            printf(", not always");
        if (params && field->extra && field->type != FIELD_ENUM)
            printf(", also called %s", field->extra);
        printf("\n%*s%s\n", indent + 4, "", field->doc);
        if (field->sub)
            print_fields(field->sub, indent + 4, params);
    }
}

static void print_method(const struct method_info *info)
{
    printf("%s: %s\n", info->name, info->summary);
    printf("\nParameters:%s\n", info->params->n_fields ? "" : " none");
    print_fields(info->params, 2, true);
    bool first = true;
    for (size_t i = 0; i < info->params->n_fields; i++)
        if (info->params->fields[i].flags & FIELD_POSITIONAL) {
            printf("%s%s", first ? "  By position: [" : ", ", info->params->fields[i].name);
            first = false;
        }
    printf("%s\nResult:\n", first ? "" : "]\n");
    print_fields(info->result, 2, false);
}

static int run(struct cli *cli)
{
    if (cli->n_words == 0) {
        cli_help(stdout);
        printf("\nMethods:\n");
        for (size_t i = 1; i < METHOD_N; i++)
            printf("  %-18s %s\n", method_infos[i].name, method_infos[i].summary);
        return EXIT_OK;
    }
    const char *name = cli->words[0];
    const struct cli_verb *verb = cli_verb_by_name(name);
    enum method method = method_by_name(name);
    if (verb) {
        cli_help_verb(stdout, verb);
    } else if (method != METHOD_UNKNOWN) {
        print_method(&method_infos[method]);
    } else {
        const char *near = method_nearest(name);
        if (!near)
            near = cli_verb_nearest(name);
        return talk_usage("help", "there is no verb and no method %s%s%s%s", name,
                          near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
    }
    return EXIT_OK;
}

const struct cli_verb verb_help = {
    .name = "help",
    .arguments = "[VERB | METHOD]",
    .summary = "explain a verb, or a method with its parameters and result",
    .max_words = 1,
    .run = run,
};
