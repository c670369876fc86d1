/*
 * fail_malloc: preloaded into the daemon, lets one allocation fail: the one with the number
 * $FAIL_MALLOC_AT, counted from 1 over all that the program itself and cJSON ask for, and the
 * library whose name has $FAIL_MALLOC_LIBRARY in it. Those of others never fail: libuv ends the
 * process when it gets no memory, which says nothing of us.
 *
 * With $FAULT_PAGE the test says in the page (fault_page.h) which one fails, and whose.
 */
#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fault_page.h"

enum { RANGES_MAX = 8 };

static struct {
    uintptr_t start, end;
} ranges[RANGES_MAX];
static size_t n_ranges;
static atomic_long count;
static long fail_at;

/* Those of the program's allocator, whichever that is; found at the first call. */
static struct {
    void *(*malloc)(size_t n);
    void *(*calloc)(size_t n, size_t size);
    void *(*realloc)(void *old, size_t n);
    void *(*aligned_alloc)(size_t alignment, size_t n);
} next;

static int note_object(struct dl_phdr_info *info, size_t size, void *data)
{
    (void)size;
    (void)data;
    const char *library = getenv("FAIL_MALLOC_LIBRARY");
    bool wanted = info->dlpi_name[0] == '\0' || strstr(info->dlpi_name, "libcjson") ||
                  (library && strstr(info->dlpi_name, library));
    for (int i = 0; wanted && i < info->dlpi_phnum && n_ranges < RANGES_MAX; i++) {
        const ElfW(Phdr) *header = &info->dlpi_phdr[i];
        if (header->p_type != PT_LOAD || !(header->p_flags & PF_X))
            continue;
        ranges[n_ranges].start = info->dlpi_addr + header->p_vaddr;
        ranges[n_ranges].end = ranges[n_ranges].start + header->p_memsz;
        n_ranges++;
    }
    return 0;
}

__attribute__((constructor)) static void begin(void)
{
    const char *at = getenv("FAIL_MALLOC_AT");
    dl_iterate_phdr(note_object, NULL);
    fail_at = at ? atol(at) : 0;
}

/* dlsym(3) itself asks for no memory when it finds the name. */
static void find_next(void)
{
    next.realloc = (void *(*)(void *, size_t))dlsym(RTLD_NEXT, "realloc");
    next.calloc = (void *(*)(size_t, size_t))dlsym(RTLD_NEXT, "calloc");
    next.aligned_alloc = (void *(*)(size_t, size_t))dlsym(RTLD_NEXT, "aligned_alloc");
    next.malloc = (void *(*)(size_t))dlsym(RTLD_NEXT, "malloc");
}

static bool fails(const void *caller)
{
    uintptr_t address = (uintptr_t)caller;
    int error;

    if (!next.malloc)
        find_next();
    if (fault_page()) {
        if (!fault_due(FAULT_allocate, caller, &error))
            return false;
        errno = ENOMEM;
        return true;
    }
    if (fail_at <= 0)
        return false;
    for (size_t i = 0; i < n_ranges; i++)
        if (address >= ranges[i].start && address < ranges[i].end &&
            atomic_fetch_add(&count, 1) + 1 == fail_at) {
            errno = ENOMEM;
            return true;
        }
    return false;
}

__attribute__((visibility("default"))) void *malloc(size_t n)
{
    return fails(__builtin_return_address(0)) ? NULL : next.malloc(n);
}

__attribute__((visibility("default"))) void *calloc(size_t n, size_t size)
{
    return fails(__builtin_return_address(0)) ? NULL : next.calloc(n, size);
}

__attribute__((visibility("default"))) void *realloc(void *old, size_t n)
{
    return fails(__builtin_return_address(0)) ? NULL : next.realloc(old, n);
}

__attribute__((visibility("default"))) void *aligned_alloc(size_t alignment, size_t n)
{
    return fails(__builtin_return_address(0)) ? NULL : next.aligned_alloc(alignment, n);
}

/* inside strdup() and strndup() the caller would be the C library */
__attribute__((visibility("default"))) char *strdup(const char *text)
{
    size_t n = strlen(text) + 1;
    char *copy = fails(__builtin_return_address(0)) ? NULL : next.malloc(n);
    return copy ? memcpy(copy, text, n) : NULL;
}

__attribute__((visibility("default"))) char *strndup(const char *text, size_t n_text)
{
    size_t n = strnlen(text, n_text);
    char *copy = fails(__builtin_return_address(0)) ? NULL : next.malloc(n + 1);
    if (!copy)
        return NULL;
    copy[n] = 0;
    return memcpy(copy, text, n);
}

__attribute__((visibility("default"))) int __asprintf_chk(char **ret_text, int flag,
                                                          const char *format, ...)
{
    va_list arguments;

    (void)flag;
    if (fails(__builtin_return_address(0)))
        return -1;
    va_start(arguments, format);
    int n = vasprintf(ret_text, format, arguments);
    va_end(arguments);
    return n;
}
