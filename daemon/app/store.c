#include "app/store.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef HAVE_LIBSYSTEMD
#include <systemd/sd-daemon.h>
#endif

#include "broker/keep.h"
#include "util/log.h"

enum { SETTLE_US = 5000000 };

bool store_is_ours(const char *name)
{
    return keep_number(name) > 0 || strncmp(name, "d-", 2) == 0 ||
           strncmp(name, "tcpbroker-", 10) == 0;
}

uint32_t store_size(bool *ret_manager)
{
    const char *size = getenv("FDSTORE");

    *ret_manager = getenv("NOTIFY_SOCKET") != NULL;
    if (!size)
        size = getenv("TCPBROKER_FDSTORE");
    long n = size ? strtol(size, NULL, 10) : 0;
    return n > 0 && n <= INT32_MAX ? (uint32_t)n : 0;
}

#ifdef HAVE_LIBSYSTEMD

static void free_names(char **names)
{
    for (char **name = names; name && *name; name++)
        free(*name);
    free(names);
}

int store_init(struct store *store)
{
    char **names = NULL;
    int n = sd_listen_fds_with_names(0, &names);

    *store = (struct store){0};
    if (n > 0)
        store->items = calloc((size_t)n, sizeof(*store->items));
    if (n > 0 && !store->items)
        n = -ENOMEM;
    for (int i = 0; i < n; i++) {
        if (!store_is_ours(names[i]))
            continue;
        struct stored *item = &store->items[store->n++];
        item->fd = SD_LISTEN_FDS_START + i;
        snprintf(item->name, sizeof(item->name), "%s", names[i]);
    }
    free_names(names);
    return n < 0 ? n : 0;
}

void store_put(const char *name, int fd)
{
    char text[128];

    /* it is kept also when its peer has ended it: that is for the next daemon to find */
    snprintf(text, sizeof(text), "FDSTORE=1\nFDPOLL=0\nFDNAME=%s", name);
    int r = sd_pid_notify_with_fds(0, 0, text, &fd, 1);
    if (r < 0)
        log_warning("%s would not outlive a restart: %s", name, strerror(-r));
}

void store_drop(const char *name)
{
    char text[128];

    snprintf(text, sizeof(text), "FDSTOREREMOVE=1\nFDNAME=%s", name);
    int r = sd_notify(0, text);
    if (r < 0)
        log_warning("the service manager keeps %s: %s", name, strerror(-r));
}

void store_settle(void)
{
    int r = sd_notify_barrier(0, SETTLE_US);
    if (r < 0)
        log_warning("the service manager may not have got all that it shall keep: %s",
                    strerror(-r));
}

#else

int store_init(struct store *store)
{
    *store = (struct store){0};
    return 0;
}
void store_put(const char *name, int fd)
{
    (void)name;
    (void)fd;
}
void store_drop(const char *name)
{
    (void)name;
}
void store_settle(void)
{
}

#endif

void store_deinit(struct store *store)
{
    for (size_t i = 0; i < store->n; i++) {
        if (store->items[i].fd < 0)
            continue;
        store_drop(store->items[i].name);
        close(store->items[i].fd);
    }
    free(store->items);
    *store = (struct store){0};
}

int store_take(struct store *store, const char *name)
{
    for (size_t i = 0; i < store->n; i++) {
        struct stored *item = &store->items[i];
        if (item->fd < 0 || strcmp(item->name, name) != 0)
            continue;
        int fd = item->fd;
        item->fd = -1;
        return fd;
    }
    return -1;
}
