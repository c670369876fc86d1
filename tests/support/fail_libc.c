/*
 * fail_libc: the other half of fail_call: what fails within the C library, and the time of day,
 * which may jump.
 */
#include <dirent.h>
#include <grp.h>
#include <ifaddrs.h>
#include <pthread.h>
#include <pwd.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "fail_call.h"

EXPORT FILE *fopen(const char *restrict path, const char *restrict mode)
{
    MAY_FAIL(fopen, NULL);
    NEXT(fopen);
    return function(path, mode);
}

EXPORT FILE *fopen64(const char *restrict path, const char *restrict mode)
{
    MAY_FAIL(fopen, NULL);
    NEXT(fopen64);
    return function(path, mode);
}

EXPORT FILE *fdopen(int fd, const char *mode)
{
    MAY_FAIL(fdopen, NULL);
    NEXT(fdopen);
    return function(fd, mode);
}

EXPORT DIR *opendir(const char *path)
{
    MAY_FAIL(opendir, NULL);
    NEXT(opendir);
    return function(path);
}

EXPORT struct dirent *readdir(DIR *folder)
{
    MAY_FAIL(readdir, NULL);
    NEXT(readdir);
    return function(folder);
}

EXPORT void *mmap(void *address, size_t n, int protection, int flags, int fd, off_t offset)
{
    MAY_FAIL(mmap, MAP_FAILED);
    return (void *)(uintptr_t)syscall(SYS_mmap, address, n, protection, flags, fd, offset);
}

EXPORT int getifaddrs(struct ifaddrs **addresses)
{
    MAY_FAIL(getifaddrs, -1);
    NEXT(getifaddrs);
    return function(addresses);
}

EXPORT int gethostname(char *name, size_t n)
{
    MAY_FAIL(gethostname, -1);
    NEXT(gethostname);
    return function(name, n);
}

EXPORT int setpriority(__priority_which_t which, id_t who, int value)
{
    MAY_FAIL(setpriority, -1);
    NEXT(setpriority);
    return function(which, who, value);
}

EXPORT int setrlimit(__rlimit_resource_t resource, const struct rlimit *limit)
{
    MAY_FAIL(setrlimit, -1);
    NEXT(setrlimit);
    return function(resource, limit);
}

EXPORT int getrlimit(__rlimit_resource_t resource, struct rlimit *limit)
{
    MAY_FAIL(getrlimit, -1);
    NEXT(getrlimit);
    return function(resource, limit);
}

EXPORT int sched_getaffinity(pid_t pid, size_t n, cpu_set_t *set)
{
    MAY_FAIL(sched_getaffinity, -1);
    NEXT(sched_getaffinity);
    return function(pid, n, set);
}

/* ---- those that return the error ---- */

EXPORT int pthread_create(pthread_t *restrict thread, const pthread_attr_t *restrict attributes,
                          void *(*run)(void *), void *restrict context)
{
    int fault;
    if (fault_due(FAULT_pthread_create, __builtin_return_address(0), &fault))
        return fault;
    NEXT(pthread_create);
    return function(thread, attributes, run, context);
}

EXPORT int getpwnam_r(const char *restrict name, struct passwd *restrict entry,
                      char *restrict buffer, size_t n, struct passwd **restrict found)
{
    int fault;
    *found = NULL;
    if (fault_due(FAULT_getpwnam_r, __builtin_return_address(0), &fault))
        return fault;
    NEXT(getpwnam_r);
    return function(name, entry, buffer, n, found);
}

EXPORT int getgrnam_r(const char *restrict name, struct group *restrict entry,
                      char *restrict buffer, size_t n, struct group **restrict found)
{
    int fault;
    *found = NULL;
    if (fault_due(FAULT_getgrnam_r, __builtin_return_address(0), &fault))
        return fault;
    NEXT(getgrnam_r);
    return function(name, entry, buffer, n, found);
}

/* ---- the time of day, which may jump ---- */

static time_t ahead(void)
{
    const struct fault_page *page = fault_page();
    return page ? (time_t)atomic_load(&page->clock_s) : 0;
}

EXPORT int clock_gettime(clockid_t clock, struct timespec *now)
{
    /* by the C library: it takes no system call there */
    static int (*function)(clockid_t, struct timespec *);
    if (!function) {
        void *symbol = dlsym(RTLD_NEXT, "clock_gettime");
        memcpy(&function, &symbol, sizeof(function));
    }
    int r = function(clock, now);
    if (r == 0 && clock == CLOCK_REALTIME)
        now->tv_sec += ahead();
    return r;
}

EXPORT time_t time(time_t *ret_now)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    if (ret_now)
        *ret_now = now.tv_sec;
    return now.tv_sec;
}

EXPORT int gettimeofday(struct timeval *restrict ret_now, void *restrict zone)
{
    struct timespec now;
    (void)zone;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    *ret_now = (struct timeval){.tv_sec = now.tv_sec, .tv_usec = now.tv_nsec / 1000};
    return 0;
}
