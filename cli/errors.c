/*
 * errors: the table of error codes. From the table this command was built with: it is for looking
 * up what went wrong, also when there is no daemon to ask.
 */
#include "cli/talk.h"
#include "cli/verbs.h"
#include "proto/methods.h"
#include "proto/writer.h"

static void print_json(void)
{
    struct writer writer = WRITER_INIT;
    writer_array_begin(&writer);
    for (size_t i = 1; i < WIRE_N; i++) {
        const struct error_info *info = &error_infos[i];
        writer_object_begin(&writer);
        writer_key(&writer, "code");
        writer_int(&writer, info->code);
        writer_key(&writer, "symbol");
        writer_string(&writer, info->symbol);
        writer_key(&writer, "stage");
        writer_string(&writer, error_stage_name(info->stage));
        writer_key(&writer, "retryable");
        writer_bool(&writer, info->retryable);
        writer_key(&writer, "text");
        writer_string(&writer, info->text);
        writer_object_end(&writer);
    }
    writer_array_end(&writer);
    if (writer_failed(&writer))
        talk("out of memory");
    else
        printf("{\"errors\":%.*s}\n", (int)writer.n_data, writer.data);
    writer_deinit(&writer);
}

static int run(struct cli *cli)
{
    if (cli->json) {
        print_json();
        return EXIT_OK;
    }
    printf("%-7s %-21s %-8s %-5s %s\n", "CODE", "SYMBOL", "STAGE", "RETRY", "TEXT");
    for (size_t i = 1; i < WIRE_N; i++) {
        const struct error_info *info = &error_infos[i];
        printf("%-7d %-21s %-8s %-5s %s\n", (int)info->code, info->symbol,
               error_stage_name(info->stage), info->retryable ? "yes" : "no", info->text);
    }
    return EXIT_OK;
}

const struct cli_verb verb_errors = {
    .name = "errors",
    .arguments = "",
    .summary = "print the table of error codes (needs no broker)",
    .run = run,
};
