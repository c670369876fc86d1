/*
 * bench_spawn: reads lines `COUNT PROGRAM [ARGUMENT…]`, runs the program so many times, one after
 * the other, and answers each line with {"us": time for all of them}.
 */
#include "bench/common.h"

#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ARGUMENTS_MAX = 16 };

static void run_once(char **arguments)
{
    pid_t pid;
    int status;
    if (posix_spawn(&pid, arguments[0], NULL, NULL, arguments, environ) != 0)
        bench_die("cannot start %s", arguments[0]);
    if (waitpid(pid, &status, 0) != pid || status != 0)
        bench_die("%s failed", arguments[0]);
}

int main(void)
{
    char line[4096];
    while (fgets(line, sizeof line, stdin) != NULL) {
        char *words[ARGUMENTS_MAX + 2] = {NULL}, *rest = line;
        for (int n = 0; n < ARGUMENTS_MAX + 1; n++)
            if ((words[n] = strtok_r(rest, " \n", &rest)) == NULL)
                break;
        if (words[0] == NULL || words[1] == NULL)
            bench_die("a count and a program are wanted");
        long count = bench_number(words[0], 1, 1000000);
        double start = bench_now_us();
        for (long i = 0; i < count; i++)
            run_once(words + 1);
        printf("{\"us\": %.1f}\n", bench_now_us() - start);
        fflush(stdout);
    }
    return 0;
}
