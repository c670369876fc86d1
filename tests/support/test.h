#pragma once
/*
 * test: one source for two runners. TEST(suite, name) { … CHECK(…); } becomes a Criterion test, or,
 * with PLAIN_RUNNER defined (ThreadSanitizer, valgrind, fuzz builds), a function that
 * tests/support/plain_runner.c calls one after the other in one process.
 *
 * CHECK(condition[, format, …]) ends the test when it does not hold. SKIP(format, …) ends it as
 * skipped, with the reason.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef PLAIN_RUNNER
#include <criterion/criterion.h>
#define TEST(suite, name) Test(suite, name)
#define CHECK(...)        cr_assert(__VA_ARGS__)
#define SKIP(...)         cr_skip_test(__VA_ARGS__)
#else
#include <setjmp.h>
void plain_register(const char *suite, const char *name, void (*body)(void));
_Noreturn void plain_fail(const char *file, int line, const char *what);
_Noreturn void plain_skip(const char *why);
#define TEST(suite, name)                                                                          \
    static void plain_##suite##_##name(void);                                                      \
    __attribute__((constructor)) static void register_##suite##_##name(void)                       \
    {                                                                                              \
        plain_register(#suite, #name, plain_##suite##_##name);                                     \
    }                                                                                              \
    static void plain_##suite##_##name(void)
#define CHECK(condition, ...)                                                                      \
    do {                                                                                           \
        if (!(condition))                                                                          \
            plain_fail(__FILE__, __LINE__, #condition);                                            \
    } while (0)
#define SKIP(...) plain_skip("" __VA_ARGS__)
#endif

#define CHECK_INT(actual, wanted)                                                                  \
    do {                                                                                           \
        long long actual_ = (long long)(actual), wanted_ = (long long)(wanted);                    \
        if (actual_ != wanted_)                                                                    \
            fprintf(stderr, "%s:%d: %s is %lld, not %lld\n", __FILE__, __LINE__, #actual, actual_, \
                    wanted_);                                                                      \
        CHECK(actual_ == wanted_);                                                                 \
    } while (0)
#define CHECK_STRING(actual, wanted)                                                               \
    do {                                                                                           \
        const char *actual_ = (actual), *wanted_ = (wanted);                                       \
        bool same_ = actual_ && wanted_ && strcmp(actual_, wanted_) == 0;                          \
        if (!same_)                                                                                \
            fprintf(stderr, "%s:%d: %s is \"%s\", not \"%s\"\n", __FILE__, __LINE__, #actual,      \
                    actual_ ? actual_ : "(null)", wanted_ ? wanted_ : "(null)");                   \
        CHECK(same_);                                                                              \
    } while (0)
