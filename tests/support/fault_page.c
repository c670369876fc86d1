#include "fault_page.h"

#include <fcntl.h>
#include <link.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { RANGES_MAX = 64 };

static struct {
    uintptr_t start, end, base;
    enum fault_caller caller;
} ranges[RANGES_MAX];
static size_t n_ranges;
static struct fault_page *page;

static enum fault_caller caller_of(const char *name)
{
    if (name[0] == '\0' || strstr(name, "libcjson"))
        return FAULT_OWN;
    if (strstr(name, "libuv"))
        return FAULT_UV;
    return strstr(name, "libssl") || strstr(name, "libcrypto") ? FAULT_SSL : FAULT_OTHER;
}

static int note_object(struct dl_phdr_info *info, size_t size, void *data)
{
    (void)size;
    (void)data;
    for (int i = 0; i < info->dlpi_phnum && n_ranges < RANGES_MAX; i++) {
        const ElfW(Phdr) *header = &info->dlpi_phdr[i];
        if (header->p_type != PT_LOAD || !(header->p_flags & PF_X))
            continue;
        ranges[n_ranges].base = info->dlpi_addr;
        ranges[n_ranges].start = info->dlpi_addr + header->p_vaddr;
        ranges[n_ranges].end = ranges[n_ranges].start + header->p_memsz;
        ranges[n_ranges++].caller = caller_of(info->dlpi_name);
    }
    return 0;
}

/* By bare system calls, as open(2) and mmap(2) are among what fails. */
__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("FAULT_PAGE");
    long fd = path ? syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC) : -1;

    if (fd < 0)
        return;
    dl_iterate_phdr(note_object, NULL);
    long mapped = syscall(SYS_mmap, NULL, sizeof(*page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (mapped != -1)
        page = (struct fault_page *)(uintptr_t)mapped;
    syscall(SYS_close, fd);
}

struct fault_page *fault_page(void)
{
    return page;
}

static int find_range(uintptr_t address)
{
    for (size_t i = 0; i < n_ranges; i++)
        if (address >= ranges[i].start && address < ranges[i].end)
            return (int)i;
    return -1;
}

bool fault_due(enum fault_kind kind, const void *caller, int *ret_error)
{
    uintptr_t address = (uintptr_t)caller;

    if (!page)
        return false;
    int range = find_range(address);
    enum fault_caller who = range < 0 ? FAULT_OTHER : ranges[range].caller;
    atomic_fetch_add_explicit(&page->calls[kind][who], 1, memory_order_relaxed);
    if (!atomic_load(&page->armed) || atomic_load(&page->kind) != (int64_t)kind ||
        !(atomic_load(&page->callers) & 1 << who))
        return false;
    int64_t n = atomic_fetch_add(&page->count, 1) + 1, at = atomic_load(&page->at);
    if (n < at || n >= at + atomic_load(&page->repeat))
        return false;
    atomic_fetch_add(&page->hits, 1);
    atomic_store(&page->where, (int64_t)(address - (range < 0 ? 0 : ranges[range].base)));
    *ret_error = (int)atomic_load(&page->error);
    return true;
}
