/*
 * plain_runner: runs the tests of one executable in order, in one process. For ThreadSanitizer
 * (under which Criterion aborts) and valgrind. Arguments: names "suite/name" (or a suite) to run
 * only those.
 */
#include <setjmp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void plain_register(const char *suite, const char *name, void (*body)(void));
_Noreturn void plain_fail(const char *file, int line, const char *what);
_Noreturn void plain_skip(const char *why);

static struct {
    const char *suite, *name;
    void (*body)(void);
} tests[4096];
static size_t n_tests;
static jmp_buf out;

void plain_register(const char *suite, const char *name, void (*body)(void))
{
    if (n_tests == sizeof(tests) / sizeof(tests[0]))
        abort();
    tests[n_tests].suite = suite;
    tests[n_tests].name = name;
    tests[n_tests].body = body;
    n_tests++;
}

_Noreturn void plain_fail(const char *file, int line, const char *what)
{
    fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, what);
    longjmp(out, 1);
}

_Noreturn void plain_skip(const char *why)
{
    fprintf(stderr, "skipped: %s\n", why);
    longjmp(out, 2);
}

static bool wanted(size_t i, int argc, char **argv)
{
    char full[256];
    if (argc < 2)
        return true;
    snprintf(full, sizeof(full), "%s/%s", tests[i].suite, tests[i].name);
    for (int k = 1; k < argc; k++)
        if (strcmp(argv[k], full) == 0 || strcmp(argv[k], tests[i].suite) == 0)
            return true;
    return false;
}

int main(int argc, char **argv)
{
    static volatile size_t i, passed, failed, skipped;
    for (i = 0; i < n_tests; i++) {
        if (!wanted(i, argc, argv))
            continue;
        switch (setjmp(out)) {
        case 0:
            tests[i].body();
            passed++;
            break;
        case 1:
            fprintf(stderr, "FAILED %s/%s\n", tests[i].suite, tests[i].name);
            failed++;
            break;
        default:
            skipped++;
            break;
        }
    }
    printf("%zu passed, %zu failed, %zu skipped\n", passed, failed, skipped);
    return failed ? 1 : 0;
}
