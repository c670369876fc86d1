#include "app/restart.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/keep.h"
#include "rpc/keeping.h"
#include "rpc/sessions.h"
#include "util/log.h"

enum {
    STORE_ASSUMED = 1024, /* when nobody knows how many descriptors the store takes */
    STORE_BESIDE = 160,   /* of them, for doors, state and ledgers */
    STORE_NAMES = 6000,   /* their names are one variable of the environment, of 128 KiB at most */
    AFTER_DEATH = 65536,  /* numbers passed over: the ledger knows only those of durable sessions */
    CLOCKS = 256,         /* threads.io at most */
};

struct restart {
    struct rpc_shared *shared;
    struct store store;
    struct keep keep;
    char ledger_name[sizeof(STORE_LEDGER) + 24];
    struct keeping **keepings; /* one for each io thread, while they are away */
    size_t n_away;
    size_t n_sessions, n_sockets, n_lost;
    bool died; /* the daemon before */
    void (*on_left)(void *context);
    void *context;
};

static struct restart *the_restart; /* a done mail has no room for a context */

static void put(void *context, const char *name, int fd)
{
    (void)context;
    store_put(name, fd);
}

static void drop(void *context, const char *name)
{
    (void)context;
    store_drop(name);
}

/* ---- the store ---- */

static uint32_t places(const struct config *config)
{
    bool manager;
    uint32_t n = store_size(&manager);

    if (!manager || config->stop_keep == CONFIG_KEEP_NO)
        return 0;
    if (n == 0 && config->stop_keep == CONFIG_KEEP_YES)
        n = STORE_ASSUMED;
    if (n > STORE_NAMES)
        n = STORE_NAMES;
    return n > STORE_BESIDE ? n - STORE_BESIDE : n / 2;
}

static int start_keeping(struct restart *restart, const struct config *config, uint32_t n_places)
{
    struct keep *keep = &restart->keep;
    size_t n_slots = (size_t)(config->limits_sockets + config->limits_durable_sessions);

    *keep = (struct keep){.put = put, .drop = drop, .max_stored = n_places};
    int r = ledger_new(&keep->ledger, n_slots, CLOCKS);
    if (r)
        return r;
    snprintf(restart->ledger_name, sizeof(restart->ledger_name), "%s-%llx", STORE_LEDGER,
             (unsigned long long)loop_clock_us());
    restart->shared->keep = keep;
    return 0;
}

int restart_new(struct restart **ret_restart, const struct config *config,
                struct rpc_shared *shared)
{
    struct restart *restart = calloc(1, sizeof(*restart));
    if (!restart)
        return -ENOMEM;
    restart->shared = shared;
    int r = store_init(&restart->store);
    uint32_t n_places = places(config);
    if (r == 0 && n_places > 0)
        r = start_keeping(restart, config, n_places);
    if (r) {
        restart_free(restart);
        return r;
    }
    *ret_restart = restart;
    return 0;
}

static void free_keepings(struct restart *restart)
{
    for (size_t i = 0; restart->keepings && i < restart->shared->n_ios; i++)
        keeping_free(restart->keepings[i]);
    free(restart->keepings);
    restart->keepings = NULL;
}

struct restart *restart_free(struct restart *restart)
{
    if (!restart)
        return NULL;
    free_keepings(restart);
    /* what was not taken over because the start failed waits for the next one */
    for (size_t i = 0; i < restart->store.n; i++)
        if (restart->store.items[i].fd >= 0)
            close(restart->store.items[i].fd);
    free(restart->store.items);
    ledger_free(restart->keep.ledger);
    restart->shared->keep = NULL;
    free(restart);
    return NULL;
}

bool restart_keeps(const struct restart *restart)
{
    return restart->shared->keep != NULL;
}

int restart_take_door(struct restart *restart, const char *name)
{
    return store_take(&restart->store, name);
}

static int new_keepings(struct restart *restart, void (*done)(struct mail *mail))
{
    size_t n = restart->shared->n_ios;

    restart->keepings = calloc(n, sizeof(struct keeping *));
    if (!restart->keepings)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        int r = keeping_new(&restart->keepings[i], restart->shared->ios[i], done);
        if (r) {
            free_keepings(restart);
            return r;
        }
    }
    restart->n_away = n;
    the_restart = restart;
    return 0;
}

/* ---- what the one before has left ---- */

static int decode_state(int fd, struct kept *kept)
{
    struct stat status;

    if (fstat(fd, &status) < 0)
        return -errno;
    if (!S_ISREG(status.st_mode) || status.st_size <= 0)
        return KEPT_E_FORMAT;
    void *bytes = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (bytes == MAP_FAILED)
        return -errno;
    int r = kept_decode(kept, bytes, (size_t)status.st_size);
    munmap(bytes, (size_t)status.st_size);
    return r;
}

/* Written at an orderly end. */
static bool read_state(struct restart *restart, struct kept *kept)
{
    int fd = store_take(&restart->store, STORE_STATE);
    if (fd < 0)
        return false;
    int r = decode_state(fd, kept);
    close(fd);
    store_drop(STORE_STATE);
    if (r == 0)
        return true;
    log_warning("what the daemon before has left is given up, and its durable sessions with it: %s",
                r == KEPT_E_VERSION  ? "its version is another one"
                : r == KEPT_E_FORMAT ? "it is damaged"
                                     : strerror(-r));
    return false;
}

/* Left by one that has died: of several the last one, which had taken over from the others. */
static bool read_ledger(struct restart *restart, struct kept *kept)
{
    uint64_t born, latest = 0;
    struct kept found;
    bool any = false;

    for (size_t i = 0; i < restart->store.n; i++) {
        const struct stored *item = &restart->store.items[i];
        if (item->fd < 0 || strncmp(item->name, STORE_LEDGER, strlen(STORE_LEDGER)) != 0)
            continue;
        kept_init(&found);
        int r = ledger_read(item->fd, &found, &born);
        if (r || born < latest) {
            kept_deinit(&found);
            continue;
        }
        kept_deinit(kept);
        kept_init(kept);
        list_splice(&kept->sessions, &found.sessions);
        list_splice(&kept->sockets, &found.sockets);
        kept->next_number = found.next_number;
        kept->next_session = found.next_session + AFTER_DEATH;
        kept->next_number +=
            kept->next_number < INT32_MAX - AFTER_DEATH ? (uint32_t)AFTER_DEATH : 0;
        latest = born;
        any = true;
    }
    return any;
}

static bool fits(enum kept_kind kind, int fd)
{
    int type, domain, listens;
    socklen_t n = sizeof(int);

    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &n) < 0 ||
        getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &n) < 0 ||
        getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &n) < 0)
        return false;
    return type == SOCK_STREAM && (domain == AF_INET || domain == AF_INET6) &&
           (listens != 0) == (kind == KEPT_LISTENING);
}

static void lose(struct kept_socket *socket, const char *why)
{
    socket->kind = KEPT_LOST;
    socket->lost_errno = ECONNABORTED;
    snprintf(socket->why, sizeof(socket->why), "%s", why);
}

/* Bring a socket and its descriptor together again. False: without memory it is given up. */
static bool resolve(struct restart *restart, struct kept_socket *socket)
{
    char name[KEEP_NAME_SIZE];

    if (socket->kind != KEPT_LOST && socket->kind != KEPT_UNBOUND) {
        int fd = store_take(&restart->store, keep_name(name, socket->number));
        if (fd >= 0 && !fits(socket->kind, fd)) {
            store_drop(name);
            close(fd);
            fd = -1;
        }
        socket->fd = fd;
        if (fd < 0)
            lose(socket, "the service manager has not kept it while the broker was restarted");
    }
    if (socket->kind == KEPT_LOST)
        restart->n_lost++;
    bool keeps = restart_keeps(restart);
    if (socket->fd >= 0 && !keeps)
        store_drop(keep_name(name, socket->number));
    if (!keeps ||
        keep_item_new(&restart->keep, socket->number, socket->fd >= 0, &socket->item) == 0)
        return true;
    if (socket->fd >= 0)
        store_drop(keep_name(name, socket->number));
    return false;
}

static void hand_out(struct restart *restart, struct kept *kept)
{
    for (struct list *link; (link = list_pop(&kept->sessions));) {
        struct kept_session *session = container_of(link, struct kept_session, link);
        list_for_each_safe (inner, &session->sockets) {
            struct kept_socket *socket = container_of(inner, struct kept_socket, link);
            if (!resolve(restart, socket)) {
                list_remove(inner);
                kept_socket_free(socket);
            }
        }
        const struct io *io = sessions_home(restart->shared, &session->token);
        list_append(&restart->keepings[io->index]->kept.sessions, link);
    }
    table_set_next(restart->shared->table, kept->next_number);
    atomic_store(&restart->shared->next_session, kept->next_session);
}

static void on_returned(struct mail *mail)
{
    struct restart *restart = the_restart;
    const struct keeping *keeping = container_of(mail, struct keeping, done);

    restart->n_sessions += keeping->n_sessions;
    restart->n_sockets += keeping->n_sockets;
    restart->n_lost += keeping->n_lost;
    if (--restart->n_away > 0)
        return;
    free_keepings(restart);
    if (restart->keep.ledger)
        ledger_ready(restart->keep.ledger);
    if (restart->n_sessions > 0 || restart->died)
        log_event(LOG_NOTICE_, EVENT_RESTORED, NULL, 0,
                  "%s: %zu durable sessions go on with %zu sockets; %zu are lost",
                  restart->died ? "the daemon before ended without a word" : "restarted",
                  restart->n_sessions, restart->n_sockets, restart->n_lost);
}

int restart_begin(struct restart *restart)
{
    struct kept kept;

    int r = new_keepings(restart, on_returned);
    if (r)
        return r;
    kept_init(&kept);
    if (!read_state(restart, &kept))
        restart->died = read_ledger(restart, &kept);
    r = kept_group(&kept);
    if (r == 0) {
        if (restart->keep.ledger)
            store_put(restart->ledger_name, ledger_fd(restart->keep.ledger));
        restart->keep.control = restart->shared->control;
        hand_out(restart, &kept);
        store_deinit(&restart->store); /* what nobody has taken */
        for (size_t i = 0; i < restart->shared->n_ios; i++)
            keeping_post_return(restart->keepings[i]);
    }
    kept_deinit(&kept);
    return r;
}

/* ---- what this one leaves ---- */

static int write_state(const struct kept *kept)
{
    struct writer writer = WRITER_INIT;
    int fd = memfd_create(STORE_STATE, MFD_CLOEXEC);
    int r = fd < 0 ? -errno : 0;

    kept_encode(kept, &writer);
    if (r == 0 && writer_failed(&writer))
        r = -ENOMEM;
    for (size_t n = 0; r == 0 && n < writer.n_data;) {
        ssize_t n_now = write(fd, writer.data + n, writer.n_data - n);
        if (n_now < 0 && errno != EINTR)
            r = -errno;
        n += n_now > 0 ? (size_t)n_now : 0;
    }
    if (r == 0)
        store_put(STORE_STATE, fd);
    if (fd >= 0)
        close(fd);
    writer_deinit(&writer);
    return r;
}

static void put_sockets(const struct kept *kept)
{
    char name[KEEP_NAME_SIZE];

    list_for_each (link, &kept->sessions) {
        const struct kept_session *session = container_of(link, struct kept_session, link);
        list_for_each (inner, &session->sockets) {
            const struct kept_socket *socket = container_of(inner, struct kept_socket, link);
            if (socket->fd >= 0 && !socket->stored)
                store_put(keep_name(name, socket->number), socket->fd);
        }
    }
}

static void write_all(struct restart *restart)
{
    struct kept kept;

    kept_init(&kept);
    kept.next_number = table_next(restart->shared->table);
    kept.next_session = atomic_load(&restart->shared->next_session);
    for (size_t i = 0; i < restart->shared->n_ios; i++)
        list_splice(&kept.sessions, &restart->keepings[i]->kept.sessions);
    int r = write_state(&kept);
    if (r)
        log_warning("durable sessions end with this process: %s", strerror(-r));
    else
        put_sockets(&kept);
    store_drop(restart->ledger_name);
    store_settle();
    kept_deinit(&kept);
}

static void on_left(struct mail *mail)
{
    struct restart *restart = the_restart;
    (void)mail;

    if (--restart->n_away > 0)
        return;
    write_all(restart);
    free_keepings(restart);
    restart->on_left(restart->context);
}

void restart_leave(struct restart *restart, void (*on_left_)(void *context), void *context)
{
    int r = restart_keeps(restart) ? new_keepings(restart, on_left) : -ENOTSUP;

    if (r) {
        if (r != -ENOTSUP)
            log_warning("durable sessions end with this process: %s", strerror(-r));
        on_left_(context);
        return;
    }
    restart->on_left = on_left_;
    restart->context = context;
    for (size_t i = 0; i < restart->shared->n_ios; i++)
        keeping_post_leave(restart->keepings[i]);
}
