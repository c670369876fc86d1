#include "cli/verbs.h"

#include <string.h>

const struct cli_verb *const cli_verbs[] = {
    &verb_call, &verb_connect, &verb_ls,         &verb_stats, &verb_errors,
    &verb_help, &verb_version, &verb_completion, NULL,
};

const struct cli_verb *cli_verb_by_name(const char *name)
{
    for (size_t i = 0; cli_verbs[i]; i++)
        if (strcmp(cli_verbs[i]->name, name) == 0)
            return cli_verbs[i];
    return NULL;
}
