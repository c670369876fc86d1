#include "broker/ledger.h"

#include "support/test.h"

#include <sys/mman.h>
#include <unistd.h>

static void write_socket(struct ledger *ledger, size_t slot, uint32_t number)
{
    struct kept kept;
    struct writer writer = WRITER_INIT;
    struct kept_socket socket = {.number = number, .session = 1, .kind = KEPT_OPEN, .fd = -1};

    kept_init(&kept);
    list_append(&kept.sockets, &socket.link);
    kept_encode(&kept, &writer);
    ledger_write(ledger, slot, writer.data, writer.n_data);
    writer_deinit(&writer);
}

static enum kept_kind kind_of(const struct ledger *ledger, uint32_t number)
{
    struct kept kept;
    uint64_t born;
    enum kept_kind kind = 0;

    kept_init(&kept);
    CHECK_INT(ledger_read(ledger_fd(ledger), &kept, &born), 0);
    list_for_each (link, &kept.sockets) {
        const struct kept_socket *socket = container_of(link, struct kept_socket, link);
        if (socket->number == number)
            kind = socket->kind;
    }
    kept_deinit(&kept);
    return kind;
}

TEST(ledger, nothing_counts_before_it_is_ready)
{
    struct ledger *ledger;
    struct kept kept;
    uint64_t born;

    CHECK_INT(ledger_new(&ledger, 4, 2), 0);
    kept_init(&kept);
    CHECK_INT(ledger_read(ledger_fd(ledger), &kept, &born), LEDGER_E_FORMAT);
    ledger_ready(ledger);
    CHECK_INT(ledger_read(ledger_fd(ledger), &kept, &born), 0);
    CHECK(list_empty(&kept.sockets));
    kept_deinit(&kept);
    ledger_free(ledger);
}

TEST(ledger, exact_or_lost)
{
    struct ledger *ledger;

    CHECK_INT(ledger_new(&ledger, 4, 2), 0);
    ledger_ready(ledger);
    size_t slot = ledger_take(ledger, 1);
    write_socket(ledger, slot, 7);
    struct ledger_live *live = ledger_live(ledger, slot);
    CHECK_INT(kind_of(ledger, 7), KEPT_OPEN);
    /* bytes move at time 3, and all answers of that time go out, of that thread */
    atomic_store(&live->moved, 3);
    CHECK_INT(kind_of(ledger, 7), KEPT_LOST);
    atomic_store(ledger_clock(ledger, 0), 9);
    CHECK_INT(kind_of(ledger, 7), KEPT_LOST);
    atomic_store(ledger_clock(ledger, 1), 3);
    CHECK_INT(kind_of(ledger, 7), KEPT_OPEN);
    atomic_store(&live->ahead, 1);
    CHECK_INT(kind_of(ledger, 7), KEPT_LOST);
    atomic_store(&live->ahead, 0);
    atomic_store(&live->parked, 1);
    CHECK_INT(kind_of(ledger, 7), KEPT_LOST);
    atomic_store(&live->parked, 0);
    CHECK_INT(kind_of(ledger, 7), KEPT_OPEN);
    ledger_give(ledger, slot);
    CHECK_INT(kind_of(ledger, 7), 0);
    ledger_free(ledger);
}

TEST(ledger, slots_are_bounded_and_used_again)
{
    struct ledger *ledger;
    size_t slots[4];

    CHECK_INT(ledger_new(&ledger, 4, 1), 0);
    ledger_ready(ledger);
    for (size_t i = 0; i < 4; i++) {
        slots[i] = ledger_take(ledger, 0);
        CHECK(slots[i] < 4);
        write_socket(ledger, slots[i], (uint32_t)i + 1);
    }
    CHECK(ledger_take(ledger, 0) == LEDGER_NONE);
    atomic_store(&ledger_live(ledger, slots[2])->ahead, 5);
    ledger_give(ledger, slots[2]);
    CHECK_INT(ledger_take(ledger, 0), slots[2]);
    write_socket(ledger, slots[2], 9);
    CHECK_INT(kind_of(ledger, 9), KEPT_OPEN);
    CHECK_INT(kind_of(ledger, 3), 0);
    ledger_give(ledger, LEDGER_NONE);
    ledger_free(ledger);
}

/* Whatever lies in the store under that name: it is refused, or its slots are passed over. */
TEST(ledger, damaged)
{
    struct ledger *ledger;
    struct kept kept;
    uint64_t born;

    CHECK_INT(ledger_new(&ledger, 2, 1), 0);
    ledger_ready(ledger);
    size_t slot = ledger_take(ledger, 0);
    write_socket(ledger, slot, 7);
    off_t size = lseek(ledger_fd(ledger), 0, SEEK_END);
    for (off_t at = 0; at < size; at++) {
        char byte;
        CHECK_INT(pread(ledger_fd(ledger), &byte, 1, at), 1);
        char other = (char)~byte;
        CHECK_INT(pwrite(ledger_fd(ledger), &other, 1, at), 1);
        kept_init(&kept);
        int r = ledger_read(ledger_fd(ledger), &kept, &born);
        CHECK(r == 0 || r == LEDGER_E_FORMAT);
        list_for_each (link, &kept.sockets)
            CHECK_INT(container_of(link, struct kept_socket, link)->number, 7);
        kept_deinit(&kept);
        CHECK_INT(pwrite(ledger_fd(ledger), &byte, 1, at), 1);
    }
    ledger_free(ledger);
    int fd = memfd_create("short", MFD_CLOEXEC);
    CHECK(fd >= 0);
    kept_init(&kept);
    CHECK_INT(ledger_read(fd, &kept, &born), LEDGER_E_FORMAT);
    kept_deinit(&kept);
    close(fd);
}
