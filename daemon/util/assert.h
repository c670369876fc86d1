#pragma once
/*
 * assert: checks that stay in every build. A broken invariant ends the daemon with file and line
 * before it can hurt somebody's data; systemd starts it again.
 *
 * Threads: any.
 */
_Noreturn void assert_failed(const char *expression, const char *file, int line);

#define ASSERT(expression) ((expression) ? (void)0 : assert_failed(#expression, __FILE__, __LINE__))

#define NODISCARD __attribute__((warn_unused_result))
