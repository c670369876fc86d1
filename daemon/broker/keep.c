#include "broker/keep.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "util/log.h"

const char *keep_name(char *name, uint32_t number)
{
    snprintf(name, KEEP_NAME_SIZE, "s-%u", number);
    return name;
}

uint32_t keep_number(const char *name)
{
    char again[KEEP_NAME_SIZE];
    unsigned number;

    if (sscanf(name, "s-%u", &number) != 1 || number == 0 || number > INT32_MAX ||
        strcmp(keep_name(again, number), name) != 0)
        return 0;
    return number;
}

static void on_put(struct mail *mail)
{
    struct keep_item *item = container_of(mail, struct keep_item, put);

    ASSERT_OWNER(item->keep->control);
    item->keep->put(item->keep->context, item->name, item->fd);
    close(item->fd);
}

static void on_drop(struct mail *mail)
{
    struct keep_item *item = container_of(mail, struct keep_item, drop);

    ASSERT_OWNER(item->keep->control);
    if (item->stored) {
        item->keep->drop(item->keep->context, item->name);
        atomic_fetch_sub(&item->keep->n_stored, 1);
    }
    free(item);
}

int keep_item_new(struct keep *keep, uint32_t number, bool stored, struct keep_item **ret_item)
{
    struct keep_item *item = calloc(1, sizeof(*item));
    if (!item)
        return -ENOMEM;
    item->keep = keep;
    item->put.deliver = on_put;
    item->drop.deliver = on_drop;
    item->fd = -1;
    item->stored = stored;
    item->slot = LEDGER_NONE;
    (void)keep_name(item->name, number);
    if (stored)
        atomic_fetch_add(&keep->n_stored, 1);
    *ret_item = item;
    return 0;
}

void keep_item_store(struct keep_item *item, int fd)
{
    struct keep *keep = item->keep;

    if (item->stored)
        return;
    ASSERT(item->fd < 0);
    if (atomic_fetch_add(&keep->n_stored, 1) < keep->max_stored)
        item->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    else
        errno = ENOSPC;
    if (item->fd < 0) {
        log_info("%s would not outlive a restart: %s", item->name, strerror(errno));
        atomic_fetch_sub(&keep->n_stored, 1);
        return;
    }
    item->stored = true;
    loop_post(keep->control, &item->put);
}

static void write_slot(struct keep *keep, size_t *slot, size_t clock, const struct kept *kept)
{
    struct writer writer = WRITER_INIT;

    if (!keep->ledger)
        return;
    if (*slot == LEDGER_NONE)
        *slot = ledger_take(keep->ledger, clock);
    if (*slot == LEDGER_NONE)
        return;
    kept_encode(kept, &writer);
    /* without memory the slot is empty: rather nothing than what is not true any more */
    ledger_write(keep->ledger, *slot, writer.data, writer_failed(&writer) ? 0 : writer.n_data);
    writer_deinit(&writer);
}

void keep_item_write(struct keep_item *item, size_t clock, const struct kept_socket *socket)
{
    struct kept_socket copy = *socket;
    struct kept kept;

    kept_init(&kept);
    copy.ahead = NULL; /* the bytes do not outlive a death */
    copy.n_ahead = 0;
    list_append(&kept.sockets, &copy.link);
    write_slot(item->keep, &item->slot, clock, &kept);
    if (item->keep->ledger)
        ledger_next(item->keep->ledger, socket->number + 1, 1);
}

struct ledger_live *keep_item_live(struct keep_item *item)
{
    return item->slot == LEDGER_NONE ? NULL : ledger_live(item->keep->ledger, item->slot);
}

static void give_slot(struct keep *keep, size_t *slot)
{
    if (keep->ledger)
        ledger_give(keep->ledger, *slot);
    *slot = LEDGER_NONE;
}

struct keep_item *keep_item_drop(struct keep_item *item)
{
    if (!item)
        return NULL;
    give_slot(item->keep, &item->slot);
    loop_post(item->keep->control, &item->drop);
    return NULL;
}

bool keep_item_leave(struct keep_item *item)
{
    if (!item)
        return false;
    bool stored = item->stored;
    give_slot(item->keep, &item->slot);
    item->stored = false; /* so that it is not dropped there */
    loop_post(item->keep->control, &item->drop);
    return stored;
}

void keep_write_session(struct keep *keep, size_t *slot, size_t clock,
                        const struct kept_session *session)
{
    struct kept_session copy = *session;
    struct kept kept;

    kept_init(&kept);
    list_init(&copy.sockets);
    list_append(&kept.sessions, &copy.link);
    write_slot(keep, slot, clock, &kept);
    if (keep->ledger)
        ledger_next(keep->ledger, 1, session->id + 1);
}

void keep_drop_session(struct keep *keep, size_t *slot)
{
    give_slot(keep, slot);
}
