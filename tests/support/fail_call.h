#pragma once
/*
 * fail_call: what the wrappers of fail_call.c and fail_libc.c are made of.
 *
 * Threads: any.
 * Ownership: none.
 * Errors: those of the function that is wrapped.
 * Limits: none.
 */
#include <dlfcn.h>
#include <errno.h>
#include <string.h>

#include "fault_page.h"

#define EXPORT __attribute__((visibility("default")))

/* Fails with what the page says. */
#define MAY_FAIL(kind, result)                                                                     \
    do {                                                                                           \
        int fault;                                                                                 \
        if (fault_due(FAULT_##kind, __builtin_return_address(0), &fault)) {                        \
            errno = fault;                                                                         \
            return result;                                                                         \
        }                                                                                          \
    } while (0)

/* function: the one of this name behind this one. */
#define NEXT(name)                                                                                 \
    __typeof__(name) *function;                                                                    \
    do {                                                                                           \
        void *symbol = dlsym(RTLD_NEXT, #name);                                                    \
        memcpy(&function, &symbol, sizeof(function));                                              \
    } while (0)
