/*
 * tcpbroker: the command.
 */
#include <signal.h>
#include <string.h>

#include "cli/talk.h"
#include "cli/verb.h"

int main(int argc, char **argv)
{
    struct cli cli = {0};
    bool help;
    /* a reader of ours that went away is an error of write(), told or not by the exit status */
    signal(SIGPIPE, SIG_IGN);
    int r = cli_parse(NULL, &cli, argc - 1, argv + 1, &help);
    if (r)
        return r;
    if (help && cli.n_words == 0) {
        cli_help(stdout);
        return talk_finish(EXIT_OK);
    }
    if (cli.n_words == 0) {
        cli_help(stderr);
        return EXIT_USAGE;
    }
    const struct cli_verb *verb = cli_verb_by_name(cli.words[0]);
    if (!verb) {
        const char *near = cli_verb_nearest(cli.words[0]);
        return talk_usage(NULL, "there is no verb %s%s%s%s", cli.words[0],
                          near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
    }
    bool global_help = help;
    r = cli_parse(verb, &cli, (int)cli.n_words - 1, cli.words + 1, &help);
    if (r)
        return r;
    if (help || global_help) {
        cli_help_verb(stdout, verb);
        return talk_finish(EXIT_OK);
    }
    return talk_finish(verb->run(&cli));
}
