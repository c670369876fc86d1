/*
 * fault_page: what a test and the libraries that it has preloaded into the daemon (fail_call,
 * fail_malloc) share: a file of this size, $FAULT_PAGE, mapped by both. So one daemon lives through
 * many faults, and none of them costs a start.
 *
 * Threads: any; all fields are atomic.
 * Ownership: none.
 * Errors: no file, no faults.
 * Limits: one fault is armed at a time.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum fault_kind {
#define KIND(name) FAULT_##name,
#include "fault_kinds.def"
#undef KIND
    FAULT_KINDS
};

/* Whose call it is, by where it returns to. */
enum fault_caller { FAULT_OWN, FAULT_UV, FAULT_SSL, FAULT_OTHER, FAULT_CALLERS };

enum { FAULT_KINDS_MAX = 96, FAULT_SHORT = 0 };

/* Python: faults.py, class Page. All are int64_t. */
struct fault_page {
    _Atomic int64_t armed;   /* 0: nothing fails */
    _Atomic int64_t kind;    /* enum fault_kind */
    _Atomic int64_t callers; /* bits 1 << enum fault_caller */
    _Atomic int64_t error;   /* errno; FAULT_SHORT: one byte only is read or written */
    _Atomic int64_t at;      /* the call that fails first, counted from 1 */
    _Atomic int64_t repeat;  /* how many fail in a row */
    _Atomic int64_t count;   /* calls since it was armed, of this kind and these callers */
    _Atomic int64_t hits;    /* that failed */
    _Atomic int64_t where;   /* the last one that did: return address, relative to its object */
    _Atomic int64_t clock_s; /* added to the time of day */
    _Atomic int64_t unused[6];
    _Atomic int64_t calls[FAULT_KINDS_MAX][FAULT_CALLERS]; /* all calls, armed or not */
};

/* The page, mapped at the first call; NULL without $FAULT_PAGE. */
struct fault_page *fault_page(void);

/* Is this the call that fails? */
bool fault_due(enum fault_kind kind, const void *caller, int *ret_error);
