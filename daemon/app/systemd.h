#pragma once
/*
 * systemd: what the daemon says to its service manager and gets from it (sd_notify(3),
 * sd_listen_fds(3), sd_watchdog_enabled(3)). Without libsystemd, or without a service manager, it
 * does nothing.
 *
 * Threads: the control thread only.
 */
#include <stdbool.h>
#include <stdint.h>

/* The listening Unix socket given by socket activation, made non-blocking and close-on-exec; -1:
 * none. */
int systemd_listen_fd(void);
/* Microseconds within which a sign of life is wanted; 0: none. */
uint64_t systemd_watchdog_us(void);
/* Is there a service manager that systemd_notify() tells? */
bool systemd_manages(void);
/* "READY=1", "STOPPING=1", ... as in sd_notify(3). */
__attribute__((format(printf, 1, 2))) void systemd_notify(const char *format, ...);
/* Does standard error go to the journal (JOURNAL_STREAM, systemd.exec(5))? */
bool systemd_journal(void);
