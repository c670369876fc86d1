/*
 * options: reading the command line by the verbs' tables, and printing them as help.
 */
#include <string.h>

#include "cli/talk.h"
#include "cli/verb.h"

const struct cli_option cli_global_options[] = {
    {"socket", "PATH", "the broker's socket (else $TCPBROKER_SOCKET, else the usual places)", 'S'},
    {"json", NULL, "print JSON; errors as {\"error\":…} on standard error", 0},
    {"help", NULL, "print this help", 'h'},
    {0},
};

const char *cli_value(const struct cli *cli, const struct cli_verb *verb, const char *option)
{
    for (size_t i = 0; verb->options && verb->options[i].name; i++)
        if (strcmp(verb->options[i].name, option) == 0)
            return cli->values[i];
    return NULL;
}

/* Is word (after its dashes) this option? *ret_value: what stands behind '=', or NULL. */
static bool matches(const struct cli_option *option, const char *word, const char **ret_value)
{
    *ret_value = NULL;
    if (word[1] != '-')
        return option->letter && word[1] == option->letter && word[2] == 0;
    size_t n = strlen(option->name);
    if (strncmp(word + 2, option->name, n) != 0 || (word[2 + n] && word[2 + n] != '='))
        return false;
    if (word[2 + n] == '=')
        *ret_value = word + 2 + n + 1;
    return true;
}

static const struct cli_option *find(const struct cli_option *options, const char *word,
                                     const char **ret_value)
{
    for (const struct cli_option *option = options; option && option->name; option++)
        if (matches(option, word, ret_value))
            return option;
    return NULL;
}

static void set_global(struct cli *cli, const struct cli_option *option, const char *value,
                       bool *ret_help)
{
    switch (option - cli_global_options) {
    case 0:
        cli->socket = value;
        break;
    case 1:
        cli->json = true;
        break;
    default:
        *ret_help = true;
        break;
    }
}

/* Read the option in argv[*i] (and its argument behind it). */
static int parse_option(const struct cli_verb *verb, struct cli *cli, int argc, char **argv, int *i,
                        bool *ret_help)
{
    const char *word = argv[*i], *value, *name = verb ? verb->name : NULL;
    const struct cli_option *own = verb ? find(verb->options, word, &value) : NULL;
    const struct cli_option *option = own ? own : find(cli_global_options, word, &value);
    if (!option)
        return talk_usage(name, "there is no option %s", word);
    if (option->argument && !value) {
        if (*i + 1 >= argc)
            return talk_usage(name, "%s needs an argument: %s", word, option->argument);
        value = argv[++*i];
    } else if (!option->argument && value) {
        return talk_usage(name, "--%s takes no argument", option->name);
    }
    if (own)
        cli->values[own - verb->options] = option->argument ? value : "";
    else
        set_global(cli, option, value, ret_help);
    return 0;
}

int cli_parse(const struct cli_verb *verb, struct cli *cli, int argc, char **argv, bool *ret_help)
{
    bool options_end = false;
    *ret_help = false;
    cli->words = argv;
    cli->n_words = 0;
    for (int i = 0; i < argc; i++) {
        const char *word = argv[i];
        if (!options_end && strcmp(word, "--") == 0) {
            options_end = true;
        } else if (!options_end && word[0] == '-' && word[1]) {
            int r = parse_option(verb, cli, argc, argv, &i, ret_help);
            if (r)
                return r;
        } else {
            if (!verb) { /* the verb: the rest is its business */
                cli->words = argv + i;
                cli->n_words = (size_t)(argc - i);
                return 0;
            }
            cli->words[cli->n_words++] = argv[i]; /* never overtakes i */
        }
    }
    if (verb && !*ret_help && cli->n_words < verb->min_words)
        return talk_usage(verb->name, "%s needs: %s", verb->name, verb->arguments);
    if (verb && !*ret_help && cli->n_words > verb->max_words)
        return talk_usage(verb->name, "\"%s\" is too much: %s%s%s", cli->words[verb->max_words],
                          verb->name, verb->arguments[0] ? " " : "", verb->arguments);
    return 0;
}

static void print_options(FILE *out, const struct cli_option *options)
{
    for (const struct cli_option *o = options; o && o->name; o++) {
        char left[64], letter[8] = "   ";
        if (o->letter)
            snprintf(letter, sizeof(letter), "-%c,", o->letter);
        snprintf(left, sizeof(left), "%s --%s%s%s", letter, o->name, o->argument ? " " : "",
                 o->argument ? o->argument : "");
        fprintf(out, "  %-26s %s\n", left, o->doc);
    }
}

void cli_help_verb(FILE *out, const struct cli_verb *verb)
{
    fprintf(out, "Usage: tcpbroker %s%s%s%s\n\n%s\n", verb->name, verb->options ? " [OPTION…]" : "",
            *verb->arguments ? " " : "", verb->arguments, verb->summary);
    if (verb->details)
        fprintf(out, "\n%s\n", verb->details);
    fprintf(out, "\nOptions:\n");
    print_options(out, verb->options);
    print_options(out, cli_global_options);
}

void cli_help(FILE *out)
{
    fprintf(out, "Usage: tcpbroker [OPTION…] VERB …\n\n"
                 "Ask tcpbrokerd, the connection broker, from the shell. Data goes to standard "
                 "output, talk to\n"
                 "standard error.\n\nVerbs:\n");
    for (size_t i = 0; cli_verbs[i]; i++)
        fprintf(out, "  %-12s %s\n", cli_verbs[i]->name, cli_verbs[i]->summary);
    fprintf(out, "\nOptions:\n");
    print_options(out, cli_global_options);
    fprintf(out,
            "\nExit status: 0 done, 1 error, 2 wrong usage, 3 policy, 4 resolve, 5 connect, 6 tls, "
            "7 time-out,\n"
            "69 no broker. More: tcpbroker VERB --help, tcpbroker help METHOD, man tcpbroker\n");
}
