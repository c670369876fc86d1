#include "broker/ledger.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "loop/loop.h"

enum { LEDGER_VERSION = 1, CLOCKS_MAX = 256, SLOT_SIZE = 1024 };
static const char magic[8] = {'T', 'C', 'P', 'B', 'L', 'D', 'G', 'R'};

struct clock {
    _Alignas(64) _Atomic uint64_t out; /* a cache line of its own */
};

struct head {
    char magic[8];
    uint32_t version, n_clocks;
    uint64_t n_slots, n_bytes, born;
    _Atomic uint32_t ready, next_number;
    _Atomic uint64_t next_session;
    struct clock clocks[CLOCKS_MAX];
};

struct slot {
    _Alignas(SLOT_SIZE) _Atomic uint32_t n; /* bytes; 0: nothing in it, or being written */
    uint32_t clock;
    struct ledger_live live;
    char bytes[SLOT_SIZE - 32];
};
_Static_assert(sizeof(struct slot) == SLOT_SIZE, "a slot has no padding");
_Static_assert(KEPT_SOCKET_MAX <= SLOT_SIZE - 32, "a socket fits into a slot");

struct file {
    struct head head;
    struct slot slots[];
};

struct ledger {
    struct file *file;
    size_t n_bytes, n_slots;
    int fd;
    pthread_mutex_t mutex; /* leaf: what is free */
    uint32_t *free;
    size_t n_free;
};

static size_t size_for(size_t n_slots)
{
    return sizeof(struct file) + n_slots * sizeof(struct slot);
}

int ledger_new(struct ledger **ret_ledger, size_t n_slots, size_t n_clocks)
{
    struct ledger *ledger = calloc(1, sizeof(*ledger));
    int r;

    ASSERT(n_clocks <= CLOCKS_MAX && n_slots > 0 && n_slots < UINT32_MAX);
    if (!ledger)
        return -ENOMEM;
    pthread_mutex_init(&ledger->mutex, NULL);
    ledger->fd = -1;
    ledger->n_slots = n_slots;
    ledger->n_bytes = size_for(n_slots);
    ledger->free = malloc(n_slots * sizeof(*ledger->free));
    if (!ledger->free) {
        ledger_free(ledger);
        return -ENOMEM;
    }
    while (ledger->n_free < n_slots) {
        ledger->free[ledger->n_free] = (uint32_t)(n_slots - 1 - ledger->n_free);
        ledger->n_free++;
    }
    ledger->fd = memfd_create("tcpbroker-ledger", MFD_CLOEXEC);
    void *mapping = MAP_FAILED;
    if (ledger->fd >= 0 && ftruncate(ledger->fd, (off_t)ledger->n_bytes) == 0)
        mapping = mmap(NULL, ledger->n_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, ledger->fd, 0);
    if (mapping == MAP_FAILED) {
        r = -errno;
        ledger_free(ledger);
        return r;
    }
    ledger->file = mapping;
    struct head *head = &ledger->file->head;
    memcpy(head->magic, magic, sizeof(magic));
    head->version = LEDGER_VERSION;
    head->n_clocks = (uint32_t)n_clocks;
    head->n_slots = n_slots;
    head->n_bytes = ledger->n_bytes;
    head->born = (uint64_t)loop_clock_us();
    *ret_ledger = ledger;
    return 0;
}

struct ledger *ledger_free(struct ledger *ledger)
{
    if (!ledger)
        return NULL;
    if (ledger->file)
        munmap(ledger->file, ledger->n_bytes);
    if (ledger->fd >= 0)
        close(ledger->fd);
    pthread_mutex_destroy(&ledger->mutex);
    free(ledger->free);
    free(ledger);
    return NULL;
}

int ledger_fd(const struct ledger *ledger)
{
    return ledger->fd;
}

void ledger_ready(struct ledger *ledger)
{
    atomic_store(&ledger->file->head.ready, 1);
}

static struct slot *slot_of(struct ledger *ledger, size_t slot)
{
    ASSERT(slot < ledger->n_slots);
    return &ledger->file->slots[slot];
}

size_t ledger_take(struct ledger *ledger, size_t clock)
{
    size_t taken = LEDGER_NONE;

    pthread_mutex_lock(&ledger->mutex);
    if (ledger->n_free > 0)
        taken = ledger->free[--ledger->n_free];
    pthread_mutex_unlock(&ledger->mutex);
    if (taken == LEDGER_NONE)
        return taken;
    struct slot *slot = slot_of(ledger, taken);
    slot->clock = (uint32_t)clock;
    atomic_store_explicit(&slot->live.moved, 0, memory_order_relaxed);
    atomic_store_explicit(&slot->live.ahead, 0, memory_order_relaxed);
    atomic_store_explicit(&slot->live.parked, 0, memory_order_relaxed);
    return taken;
}

void ledger_give(struct ledger *ledger, size_t slot)
{
    if (slot == LEDGER_NONE)
        return;
    atomic_store(&slot_of(ledger, slot)->n, 0);
    pthread_mutex_lock(&ledger->mutex);
    ledger->free[ledger->n_free++] = (uint32_t)slot;
    pthread_mutex_unlock(&ledger->mutex);
}

void ledger_write(struct ledger *ledger, size_t number, const char *bytes, size_t n)
{
    struct slot *slot = slot_of(ledger, number);

    atomic_store(&slot->n, 0);
    if (n > sizeof(slot->bytes))
        return;
    memcpy(slot->bytes, bytes, n);
    atomic_store(&slot->n, (uint32_t)n);
}

struct ledger_live *ledger_live(struct ledger *ledger, size_t slot)
{
    return &slot_of(ledger, slot)->live;
}

_Atomic uint64_t *ledger_clock(struct ledger *ledger, size_t clock)
{
    ASSERT(clock < ledger->file->head.n_clocks);
    return &ledger->file->head.clocks[clock].out;
}

void ledger_next(struct ledger *ledger, uint32_t number, uint64_t session)
{
    struct head *head = &ledger->file->head;

    pthread_mutex_lock(&ledger->mutex);
    if (number > atomic_load(&head->next_number))
        atomic_store(&head->next_number, number);
    if (session > atomic_load(&head->next_session))
        atomic_store(&head->next_session, session);
    pthread_mutex_unlock(&ledger->mutex);
}

/* ---- what is left of another one ---- */

static bool is_exact(const struct head *head, const struct slot *slot)
{
    return slot->clock < head->n_clocks && atomic_load(&slot->live.ahead) == 0 &&
           atomic_load(&slot->live.parked) == 0 &&
           atomic_load(&slot->live.moved) <= atomic_load(&head->clocks[slot->clock].out);
}

static void lose(struct kept_socket *socket)
{
    socket->kind = KEPT_LOST;
    socket->lost_errno = ECONNABORTED;
    snprintf(socket->why, sizeof(socket->why),
             "the broker died while bytes of this socket were on their way, so the connection was "
             "given up");
}

/* Returns 0 or -ENOMEM; a slot that makes no sense is passed over. */
static int read_slot(const struct head *head, const struct slot *slot, struct kept *kept)
{
    uint32_t n = atomic_load(&slot->n);
    struct kept found;

    if (n == 0 || n > sizeof(slot->bytes))
        return 0;
    kept_init(&found);
    int r = kept_decode(&found, slot->bytes, n);
    if (r)
        return r < 0 ? r : 0;
    if (!is_exact(head, slot))
        list_for_each (link, &found.sockets) {
            struct kept_socket *socket = container_of(link, struct kept_socket, link);
            if (socket->kind == KEPT_OPEN)
                lose(socket);
        }
    list_splice(&kept->sessions, &found.sessions);
    list_splice(&kept->sockets, &found.sockets);
    return 0;
}

static int read_file(const struct file *file, size_t n_bytes, struct kept *kept, uint64_t *ret_born)
{
    const struct head *head = &file->head;

    if (memcmp(head->magic, magic, sizeof(magic)) != 0 || head->version != LEDGER_VERSION ||
        head->n_bytes != n_bytes || head->n_slots > (n_bytes - sizeof(*file)) / SLOT_SIZE ||
        head->n_clocks > CLOCKS_MAX || !atomic_load(&head->ready))
        return LEDGER_E_FORMAT;
    for (size_t i = 0; i < head->n_slots; i++) {
        int r = read_slot(head, &file->slots[i], kept);
        if (r)
            return r;
    }
    uint32_t number = atomic_load(&head->next_number);
    uint64_t session = atomic_load(&head->next_session);
    if (number > kept->next_number && number <= INT32_MAX)
        kept->next_number = number;
    if (session > kept->next_session)
        kept->next_session = session;
    *ret_born = head->born;
    return 0;
}

int ledger_read(int fd, struct kept *kept, uint64_t *ret_born)
{
    struct stat status;

    if (fstat(fd, &status) < 0)
        return -errno;
    if (!S_ISREG(status.st_mode) || status.st_size < (off_t)sizeof(struct file))
        return LEDGER_E_FORMAT;
    size_t n_bytes = (size_t)status.st_size;
    void *mapping = mmap(NULL, n_bytes, PROT_READ, MAP_SHARED, fd, 0);
    if (mapping == MAP_FAILED)
        return -errno;
    int r = read_file(mapping, n_bytes, kept, ret_born);
    munmap(mapping, n_bytes);
    return r;
}
