/*
 * config_sample: prints what options.def says in one of the forms people read. Usage: config_sample
 * sample|markdown|man
 */
#include <stdio.h>
#include <string.h>

#include "config/sample.h"

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "sample") == 0) {
        sample_write(stdout);
    } else if (argc == 2 && strcmp(argv[1], "markdown") == 0) {
        sample_write_markdown(stdout);
    } else if (argc == 2 && strcmp(argv[1], "man") == 0) {
        sample_write_man(stdout);
    } else {
        fprintf(stderr, "usage: config_sample sample|markdown|man\n");
        return 2;
    }
    if (fflush(stdout) != 0 || ferror(stdout)) {
        perror("config_sample");
        return 1;
    }
    return 0;
}
