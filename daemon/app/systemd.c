#include "app/systemd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#ifdef HAVE_LIBSYSTEMD
#include <systemd/sd-daemon.h>
#endif

#include "app/store.h"
#include "util/log.h"

int systemd_listen_fd(void)
{
#ifdef HAVE_LIBSYSTEMD
    char **names = NULL;
    int n = sd_listen_fds_with_names(1, &names);
    int found = -1;
    for (int fd = SD_LISTEN_FDS_START; fd < SD_LISTEN_FDS_START + n; fd++) {
        bool stored = store_is_ours(names[fd - SD_LISTEN_FDS_START]);
        free(names[fd - SD_LISTEN_FDS_START]);
        if (stored)
            continue;
        if (found < 0 && sd_is_socket_unix(fd, SOCK_STREAM, 1, NULL, 0) > 0) {
            int flags = fcntl(fd, F_GETFL);
            if (flags >= 0 && fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0)
                found = fd;
            continue;
        }
        log_warning("descriptor %d given by the service manager is not wanted: only one listening "
                    "Unix stream socket is",
                    fd);
        close(fd);
    }
    free(names);
    return found;
#else
    return -1;
#endif
}

uint64_t systemd_watchdog_us(void)
{
#ifdef HAVE_LIBSYSTEMD
    uint64_t us;
    return sd_watchdog_enabled(0, &us) > 0 ? us : 0;
#else
    return 0;
#endif
}

bool systemd_manages(void)
{
#ifdef HAVE_LIBSYSTEMD
    return getenv("NOTIFY_SOCKET") != NULL;
#else
    return false;
#endif
}

void systemd_notify(const char *format, ...)
{
    char text[512];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
#ifdef HAVE_LIBSYSTEMD
    (void)sd_notify(0, text);
#endif
}

bool systemd_journal(void)
{
    const char *stream = getenv("JOURNAL_STREAM");
    unsigned long long device, inode;
    struct stat status;

    return stream && sscanf(stream, "%llu:%llu", &device, &inode) == 2 &&
           fstat(STDERR_FILENO, &status) == 0 && status.st_dev == device && status.st_ino == inode;
}
