#pragma once
/*
 * common: what the benchmark programs share. A benchmark that meets an error has no figure to
 * give, so every function here ends the process with a message instead of returning an error.
 *
 * Threads:   programs have one thread.
 * Ownership: descriptors belong to the caller.
 * Limits:    IPv4 addresses only; blocking descriptors.
 */
#include <stddef.h>
#include <stdint.h>

__attribute__((noreturn, format(printf, 1, 2))) void bench_die(const char *format, ...);

double bench_now_us(void);
/* The number in text, or the end of the process. */
long bench_number(const char *text, long min, long max);

/* A connected TCP socket with TCP_NODELAY. */
int bench_dial(const char *address, uint16_t port);
/* A connected Unix socket. */
int bench_dial_unix(const char *path);
void bench_write(int fd, const char *data, size_t n);
void bench_read(int fd, char *data, size_t n);
