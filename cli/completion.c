/*
 * completion: scripts for the shells, printed from the tables of verbs, options and methods.
 */
#include <string.h>

#include "cli/talk.h"
#include "cli/verbs.h"
#include "proto/methods.h"

static void print_options(const struct cli_option *options, const char *before)
{
    for (const struct cli_option *o = options; o && o->name; o++)
        printf("%s--%s", before, o->name);
}

static void print_methods(void)
{
    for (size_t i = 1; i < METHOD_N; i++)
        printf(" %s", method_infos[i].name);
}

static void print_params(const struct method_info *info)
{
    for (size_t i = 0; i < info->params->n_fields; i++)
        printf(" %s=", info->params->fields[i].name);
}

/* zsh runs it too, by bashcompinit. */
static void print_bash(void)
{
    printf("_tcpbroker()\n{\n"
           "    local word=${COMP_WORDS[COMP_CWORD]} verb= method= i words=\n"
           "    for ((i = 1; i < COMP_CWORD; i++)); do\n"
           "        case ${COMP_WORDS[i]} in\n"
           "        -S | --socket) ((i++)) ;;\n"
           "        -*) ;;\n"
           "        *) if [[ -z $verb ]]; then verb=${COMP_WORDS[i]}; elif [[ -z $method ]]; then "
           "method=${COMP_WORDS[i]}; fi ;;\n"
           "        esac\n    done\n"
           "    case $verb in\n    '') words=\"");
    for (size_t i = 0; cli_verbs[i]; i++)
        printf("%s ", cli_verbs[i]->name);
    print_options(cli_global_options, " ");
    printf("\" ;;\n");
    for (size_t i = 0; cli_verbs[i]; i++) {
        printf("    %s)\n        words=\"", cli_verbs[i]->name);
        print_options(cli_verbs[i]->options, " ");
        print_options(cli_global_options, " ");
        printf("\" ;;\n");
    }
    printf("    esac\n"
           "    case $verb:$method in\n"
           "    completion:) words+=' bash zsh fish' ;;\n"
           "    policy:) words+=' test show' ;;\n"
           "    session:) words+=' open close' ;;\n"
           "    tunnel: | pool:) words+=' ls' ;;\n"
           "    log:) words+=' error warning notice info debug' ;;\n"
           "    call: | help:) words+='");
    print_methods();
    printf("' ;;\n");
    for (size_t i = 1; i < METHOD_N; i++) {
        printf("    call:%s) words+='", method_infos[i].name);
        print_params(&method_infos[i]);
        printf("' ;;\n");
    }
    printf("    esac\n"
           "    COMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n"
           "    if [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *= ]]; then compopt -o nospace; "
           "fi\n"
           "}\n");
}

/* Text inside single quotes. */
static void print_quoted(const char *text)
{
    putchar('\'');
    for (; *text; text++)
        if (*text == '\'')
            printf("\\'");
        else
            putchar(*text);
    putchar('\'');
}

static void print_fish_options(const char *condition, const struct cli_option *options)
{
    for (const struct cli_option *o = options; o && o->name; o++) {
        printf("complete -c tcpbroker%s -l %s%s", condition, o->name, o->argument ? " -r" : "");
        if (o->letter)
            printf(" -s %c", o->letter);
        printf(" -d ");
        print_quoted(o->doc);
        printf("\n");
    }
}

static void print_fish(void)
{
    char condition[128];
    printf("complete -c tcpbroker -f\n");
    print_fish_options("", cli_global_options);
    for (size_t i = 0; cli_verbs[i]; i++) {
        printf("complete -c tcpbroker -n __fish_use_subcommand -a %s -d ", cli_verbs[i]->name);
        print_quoted(cli_verbs[i]->summary);
        snprintf(condition, sizeof(condition), " -n '__fish_seen_subcommand_from %s'",
                 cli_verbs[i]->name);
        printf("\n");
        print_fish_options(condition, cli_verbs[i]->options);
    }
    printf("complete -c tcpbroker -n '__fish_seen_subcommand_from call help' -a '");
    print_methods();
    printf("'\ncomplete -c tcpbroker -n '__fish_seen_subcommand_from completion' -a 'bash zsh "
           "fish'\n"
           "complete -c tcpbroker -n '__fish_seen_subcommand_from policy' -a 'test show'\n"
           "complete -c tcpbroker -n '__fish_seen_subcommand_from session' -a 'open close'\n"
           "complete -c tcpbroker -n '__fish_seen_subcommand_from tunnel pool' -a ls\n"
           "complete -c tcpbroker -n '__fish_seen_subcommand_from log' -a 'error warning notice "
           "info debug'\n");
}

static int run(struct cli *cli)
{
    if (strcmp(cli->words[0], "bash") == 0) {
        printf("# bash completion for tcpbroker\n");
        print_bash();
        printf("complete -F _tcpbroker tcpbroker\n");
    } else if (strcmp(cli->words[0], "zsh") == 0) {
        printf("#compdef tcpbroker\nautoload -U +X bashcompinit && bashcompinit\n");
        print_bash();
        printf("complete -F _tcpbroker tcpbroker\n");
    } else if (strcmp(cli->words[0], "fish") == 0) {
        printf("# fish completion for tcpbroker\n");
        print_fish();
    } else {
        return talk_usage("completion", "there is no completion for %s", cli->words[0]);
    }
    return EXIT_OK;
}

const struct cli_verb verb_completion = {
    .name = "completion",
    .arguments = "bash | zsh | fish",
    .summary = "print the completion script of a shell",
    .min_words = 1,
    .max_words = 1,
    .run = run,
};
