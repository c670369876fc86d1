/*
 * metrics_process: what the system says of the process. What it does not tell (no /proc) is left
 * out.
 */
#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "rpc/metrics_internal.h"

void collect_cpu(const struct metrics_family *family)
{
    struct rusage usage;

    if (getrusage(RUSAGE_SELF, &usage) < 0)
        return;
    exposition_micro(family->writer, family->name, NULL,
                     (int64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 +
                         usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

/* proc(5): /proc/self/statm, the first two numbers are pages in all and in memory. */
static void tell_pages(const struct metrics_family *family, bool resident)
{
    int64_t pages[2];
    FILE *file = fopen("/proc/self/statm", "re");

    if (!file)
        return;
    if (fscanf(file, "%" SCNd64 " %" SCNd64, &pages[0], &pages[1]) == 2)
        exposition_int(family->writer, family->name, NULL,
                       pages[resident ? 1 : 0] * sysconf(_SC_PAGESIZE));
    fclose(file);
}

void collect_resident(const struct metrics_family *family)
{
    tell_pages(family, true);
}

void collect_virtual(const struct metrics_family *family)
{
    tell_pages(family, false);
}

static int64_t count_entries(const char *folder)
{
    int64_t n = 0;
    DIR *entries = opendir(folder);

    if (!entries)
        return -1;
    while (readdir(entries))
        n++;
    closedir(entries);
    return n - 3; /* ., .., and the descriptor of the folder itself */
}

/* Linux 6.2 tells how many there are as the size of the folder. */
void collect_open_fds(const struct metrics_family *family)
{
    struct stat folder;
    int64_t n = 0;

    if (stat("/proc/self/fd", &folder) == 0)
        n = folder.st_size;
    if (n <= 0)
        n = count_entries("/proc/self/fd");
    if (n >= 0)
        exposition_int(family->writer, family->name, NULL, n);
}

void collect_max_fds(const struct metrics_family *family)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
        exposition_int(family->writer, family->name, NULL, (int64_t)limit.rlim_cur);
}

void collect_start_time(const struct metrics_family *family)
{
    exposition_int(family->writer, family->name, NULL, family->shared->started_s);
}
