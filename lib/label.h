#pragma once
/*
 * label: what the daemon knows each thread of this process by.
 *
 * "<pid>.<n>", n counting the threads that asked. Not the kernel's thread id: that one is reused,
 * and a new thread would own the sockets of a dead one.
 *
 * Threads:   any.
 * Ownership: static per thread.
 * Errors:    none.
 */
#include <stdint.h>

/* This thread's label. */
const char *label_get(void);
/* Changes with every fork(), in the child. */
uint64_t label_generation(void);
