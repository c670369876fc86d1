#include "cli/verbs.h"

#include <string.h>

#include "proto/text.h"

const struct cli_verb *const cli_verbs[] = {
    &verb_call,    &verb_connect,    &verb_check, &verb_ssh_proxy, &verb_session, &verb_ls,
    &verb_close,   &verb_tunnel,     &verb_pool,  &verb_stats,     &verb_users,   &verb_events,
    &verb_policy,  &verb_log,        &verb_drain, &verb_reload,    &verb_errors,  &verb_help,
    &verb_version, &verb_completion, NULL,
};

const struct cli_verb *cli_verb_by_name(const char *name)
{
    for (size_t i = 0; cli_verbs[i]; i++)
        if (strcmp(cli_verbs[i]->name, name) == 0)
            return cli_verbs[i];
    return NULL;
}

const char *cli_verb_nearest(const char *name)
{
    const char *nearest = NULL;
    size_t least = SIZE_MAX;
    for (size_t i = 0; cli_verbs[i]; i++) {
        size_t distance = text_near(name, cli_verbs[i]->name);
        if (distance < least) {
            least = distance;
            nearest = cli_verbs[i]->name;
        }
    }
    return nearest;
}
