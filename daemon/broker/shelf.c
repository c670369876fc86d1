#include "broker/shelf.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "broker/stats.h"

struct slot {
    struct connection *connection; /* NULL: free */
    struct shelf_tag tag;
    int64_t rests_ms;  /* since */
    uint64_t turn;     /* the greatest has come last */
    int64_t looked_ms; /* at it, last */
    bool lent;
};

/* Who has asked a personal shelf. */
struct user {
    uid_t uid;
    int64_t asked_ms;
    size_t n_ordered;
};

struct shelf {
    atomic_uint n_refs;
    struct shelf_settings settings; /* constant */
    pthread_mutex_t mutex;          /* leaf */
    bool closed, spoken;
    uint64_t turn;
    size_t n_ordered;
    size_t n_users;
    struct user users[SHELF_USERS];
    unsigned n_failed, n_ended; /* in a row */
    int64_t pause_until_ms, calm_from_ms;
    uint64_t n_taken, n_missed, n_stale;
    struct slot slots[];
};

struct shelf_now shelf_now(void)
{
    struct timespec up, wall;

    clock_gettime(CLOCK_BOOTTIME, &up);
    clock_gettime(CLOCK_REALTIME, &wall);
    return (struct shelf_now){.up_ms = (int64_t)up.tv_sec * 1000 + up.tv_nsec / 1000000,
                              .wall_s = wall.tv_sec};
}

int shelf_new(struct shelf **ret_shelf, const struct shelf_settings *settings)
{
    ASSERT(settings->max_idle > 0 && settings->max_idle <= SHELF_IDLE_MAX);
    struct shelf *shelf = calloc(1, sizeof(*shelf) + settings->max_idle * sizeof(shelf->slots[0]));
    if (!shelf)
        return -ENOMEM;
    atomic_init(&shelf->n_refs, 1);
    shelf->settings = *settings;
    pthread_mutex_init(&shelf->mutex, NULL);
    *ret_shelf = shelf;
    return 0;
}

struct shelf *shelf_ref(struct shelf *shelf)
{
    if (shelf)
        atomic_fetch_add_explicit(&shelf->n_refs, 1, memory_order_relaxed);
    return shelf;
}

struct shelf *shelf_unref(struct shelf *shelf)
{
    if (!shelf || atomic_fetch_sub_explicit(&shelf->n_refs, 1, memory_order_acq_rel) != 1)
        return NULL;
    for (struct connection *left; (left = shelf_clear(shelf));)
        connection_free(left);
    pthread_mutex_destroy(&shelf->mutex);
    free(shelf);
    return NULL;
}

const struct shelf_settings *shelf_settings(const struct shelf *shelf)
{
    return &shelf->settings;
}

/* ---- what is there; under the mutex ---- */

static struct slot *next_slot(struct shelf *shelf, const struct slot *after)
{
    size_t i = after ? (size_t)(after - shelf->slots) + 1 : 0;
    for (; i < shelf->settings.max_idle; i++)
        if (shelf->slots[i].connection)
            return &shelf->slots[i];
    return NULL;
}

#define for_each_slot(slot, shelf)                                                                 \
    for (struct slot *slot = next_slot(shelf, NULL); slot; slot = next_slot(shelf, slot))

static bool holds(const struct shelf *shelf, const struct shelf_tag *tag, struct shelf_now now)
{
    return now.up_ms - tag->made_ms < shelf->settings.max_age_ms && now.wall_s < tag->until_s &&
           now.wall_s < shelf->settings.until_s;
}

static bool is_over(const struct shelf *shelf, const struct slot *slot, struct shelf_now now)
{
    return !holds(shelf, &slot->tag, now) ||
           now.up_ms - slot->rests_ms >= shelf->settings.idle_time_ms;
}

static struct connection *remove_from(struct slot *slot)
{
    struct connection *connection = slot->connection;

    *slot = (struct slot){.connection = NULL};
    (void)stats_sub(pool_idle, 1);
    return connection;
}

/* Of no use any more first, then what was given back longest ago: but only for what is made ahead.
 */
static struct slot *place_for(struct shelf *shelf, const struct shelf_tag *tag,
                              struct shelf_now now)
{
    struct slot *oldest = NULL;

    if (shelf->closed || !holds(shelf, tag, now))
        return NULL;
    for (size_t i = 0; i < shelf->settings.max_idle; i++)
        if (!shelf->slots[i].connection)
            return &shelf->slots[i];
    for_each_slot(slot, shelf)
    {
        if (slot->lent)
            continue;
        if (is_over(shelf, slot, now))
            return slot;
        if (slot->tag.used && (!oldest || slot->turn < oldest->turn))
            oldest = slot;
    }
    return tag->used ? NULL : oldest;
}

/* ---- users of a personal shelf; under the mutex ---- */

static struct user *find_user(struct shelf *shelf, uid_t uid)
{
    for (size_t i = 0; i < shelf->n_users; i++)
        if (shelf->users[i].uid == uid)
            return &shelf->users[i];
    return NULL;
}

static void note_user(struct shelf *shelf, uid_t uid, struct shelf_now now)
{
    struct user *user = find_user(shelf, uid);

    if (!user && shelf->n_users < SHELF_USERS) {
        user = &shelf->users[shelf->n_users++];
        *user = (struct user){.uid = uid};
    } else if (!user) {
        user = &shelf->users[0];
        for (size_t i = 1; i < shelf->n_users; i++)
            if (shelf->users[i].asked_ms < user->asked_ms)
                user = &shelf->users[i];
        *user = (struct user){.uid = uid};
    }
    user->asked_ms = now.up_ms;
}

/* ---- taking and giving back ---- */

struct connection *shelf_take(struct shelf *shelf, uid_t uid, struct shelf_now now,
                              struct shelf_tag *ret_tag)
{
    struct connection *connection = NULL;
    struct slot *best = NULL;

    pthread_mutex_lock(&shelf->mutex);
    if (shelf->settings.personal && !shelf->closed)
        note_user(shelf, uid, now);
    for (struct slot *slot = NULL; !shelf->closed && (slot = next_slot(shelf, slot));)
        if (!slot->lent && (slot->tag.uid == uid || slot->tag.uid == SHELF_ANYBODY) &&
            !is_over(shelf, slot, now) && (!best || slot->turn > best->turn))
            best = slot;
    if (best) {
        *ret_tag = best->tag;
        connection = remove_from(best);
        shelf->calm_from_ms = now.up_ms + SHELF_CALM_MS;
    } else {
        shelf->n_missed++;
    }
    pthread_mutex_unlock(&shelf->mutex);
    return connection;
}

bool shelf_put(struct shelf *shelf, struct connection **connection, const struct shelf_tag *tag,
               struct shelf_now now)
{
    struct connection *displaced = NULL;

    ASSERT(!(tag->uid == SHELF_ANYBODY && (tag->used || shelf->settings.personal)));
    pthread_mutex_lock(&shelf->mutex);
    struct slot *slot = place_for(shelf, tag, now);
    if (slot) {
        if (slot->connection)
            displaced = remove_from(slot);
        *slot = (struct slot){.connection = *connection,
                              .tag = *tag,
                              .rests_ms = now.up_ms,
                              .looked_ms = now.up_ms,
                              .turn = ++shelf->turn};
        *connection = displaced;
        stats_count(pool_idle);
    }
    pthread_mutex_unlock(&shelf->mutex);
    return slot != NULL;
}

bool shelf_has_place(struct shelf *shelf, const struct shelf_tag *tag, struct shelf_now now)
{
    pthread_mutex_lock(&shelf->mutex);
    bool has = place_for(shelf, tag, now) != NULL;
    pthread_mutex_unlock(&shelf->mutex);
    return has;
}

/* ---- what is wanted; under the mutex where it is static ---- */

static void pause_for(struct shelf *shelf, unsigned n_in_a_row, struct shelf_now now)
{
    int64_t pause_ms = SHELF_PAUSE_MIN_MS;

    for (; n_in_a_row > 1 && pause_ms < SHELF_PAUSE_MAX_MS; n_in_a_row--)
        pause_ms *= 2;
    if (pause_ms > SHELF_PAUSE_MAX_MS)
        pause_ms = SHELF_PAUSE_MAX_MS;
    shelf->pause_until_ms = now.up_ms + pause_ms;
}

/* Several that come to the same end at the same time are one reason to pause, not several. */
static void note_bad(struct shelf *shelf, unsigned *n_in_a_row, struct shelf_now now)
{
    if (now.up_ms < shelf->pause_until_ms)
        return;
    if (*n_in_a_row < UINT16_MAX)
        (*n_in_a_row)++;
    pause_for(shelf, *n_in_a_row, now);
}

void shelf_judge(struct shelf *shelf, const struct shelf_tag *tag, enum warm_state state,
                 struct shelf_now now)
{
    pthread_mutex_lock(&shelf->mutex);
    *(state == WARM_ALIVE ? &shelf->n_taken : &shelf->n_stale) += 1;
    if (state == WARM_ALIVE)
        shelf->n_ended = 0;
    else if (!tag->used && state == WARM_SPEAKS)
        shelf->spoken = true;
    else if (!tag->used)
        note_bad(shelf, &shelf->n_ended, now);
    pthread_mutex_unlock(&shelf->mutex);
}

/* How many rest for that user, or of those made ahead. */
static size_t count_for(struct shelf *shelf, uid_t uid)
{
    size_t n = 0;

    for_each_slot(slot, shelf) n += slot->tag.uid == uid;
    return n;
}

/* How many are missing, and for whom; NULL: anybody. */
static size_t count_missing(struct shelf *shelf, struct shelf_now now, struct user **ret_user)
{
    const struct shelf_settings *settings = &shelf->settings;
    size_t n_rest = 0, n;

    *ret_user = NULL;
    if (shelf->closed || shelf->spoken || shelf->n_ordered >= SHELF_ORDERS ||
        now.wall_s >= settings->until_s)
        return 0;
    if (!settings->personal) { /* what was given back makes room */
        n = count_for(shelf, SHELF_ANYBODY) + shelf->n_ordered;
        return n < settings->min_idle ? settings->min_idle - n : 0;
    }
    for_each_slot(slot, shelf) n_rest += !slot->tag.used; /* these do so here, too */
    if (n_rest + shelf->n_ordered >= settings->max_idle)
        return 0;
    for (size_t i = 0; i < shelf->n_users; i++) {
        struct user *user = &shelf->users[i];
        n = count_for(shelf, user->uid) + user->n_ordered;
        if (now.up_ms - user->asked_ms < settings->max_age_ms && n < settings->min_idle) {
            *ret_user = user;
            return settings->min_idle - n;
        }
    }
    return 0;
}

/* In how many milliseconds one more is to be made; -1: none is. */
static int64_t wanted_in_ms(struct shelf *shelf, struct shelf_now now, struct user **ret_user)
{
    size_t n_missing = count_missing(shelf, now, ret_user);
    int64_t from_ms = shelf->pause_until_ms;

    if (n_missing == 0)
        return -1;
    if (2 * n_missing < shelf->settings.min_idle && from_ms < shelf->calm_from_ms)
        from_ms = shelf->calm_from_ms;
    return from_ms > now.up_ms ? from_ms - now.up_ms : 0;
}

bool shelf_order(struct shelf *shelf, struct shelf_now now, uid_t *ret_uid)
{
    struct user *user;

    pthread_mutex_lock(&shelf->mutex);
    bool wanted = wanted_in_ms(shelf, now, &user) == 0;
    if (wanted) {
        *ret_uid = user ? user->uid : SHELF_ANYBODY;
        shelf->n_ordered++;
        if (user)
            user->n_ordered++;
    }
    pthread_mutex_unlock(&shelf->mutex);
    return wanted;
}

static void end_order(struct shelf *shelf, uid_t uid)
{
    struct user *user = find_user(shelf, uid);

    ASSERT(shelf->n_ordered > 0);
    shelf->n_ordered--;
    if (user && user->n_ordered > 0) /* else another has had his place meanwhile */
        user->n_ordered--;
}

void shelf_made(struct shelf *shelf, uid_t uid)
{
    pthread_mutex_lock(&shelf->mutex);
    end_order(shelf, uid);
    shelf->n_failed = 0;
    pthread_mutex_unlock(&shelf->mutex);
}

void shelf_failed(struct shelf *shelf, uid_t uid, struct shelf_now now)
{
    pthread_mutex_lock(&shelf->mutex);
    end_order(shelf, uid);
    note_bad(shelf, &shelf->n_failed, now);
    pthread_mutex_unlock(&shelf->mutex);
}

enum shelf_trouble shelf_trouble(struct shelf *shelf)
{
    pthread_mutex_lock(&shelf->mutex);
    enum shelf_trouble trouble = shelf->spoken         ? SHELF_SPOKEN
                                 : shelf->n_failed > 0 ? SHELF_FAILING
                                 : shelf->n_ended > 1  ? SHELF_ENDING
                                                       : SHELF_WELL;
    pthread_mutex_unlock(&shelf->mutex);
    return trouble;
}

int64_t shelf_wait_ms(struct shelf *shelf, struct shelf_now now)
{
    struct user *user;
    int64_t wait_ms = -1;

    pthread_mutex_lock(&shelf->mutex);
    if (next_slot(shelf, NULL))
        wait_ms = SHELF_LOOK_MS;
    int64_t wanted_ms = wanted_in_ms(shelf, now, &user);
    if (wanted_ms >= 0 && (wait_ms < 0 || wanted_ms < wait_ms))
        wait_ms = wanted_ms;
    pthread_mutex_unlock(&shelf->mutex);
    return wait_ms;
}

/* ---- looking after it ---- */

struct connection *shelf_over(struct shelf *shelf, struct shelf_now now)
{
    struct connection *connection = NULL;

    pthread_mutex_lock(&shelf->mutex);
    for_each_slot(slot, shelf)
    {
        if (slot->lent || !is_over(shelf, slot, now))
            continue;
        if (!slot->tag.used) /* the peer has kept it for as long as it was wanted */
            shelf->n_ended = 0;
        connection = remove_from(slot);
        break;
    }
    pthread_mutex_unlock(&shelf->mutex);
    return connection;
}

struct connection *shelf_lend(struct shelf *shelf, size_t *position, struct shelf_now now,
                              struct shelf_tag *ret_tag)
{
    struct connection *connection = NULL;

    pthread_mutex_lock(&shelf->mutex);
    for (; !connection && *position < shelf->settings.max_idle; (*position)++) {
        struct slot *slot = &shelf->slots[*position];
        if (!slot->connection || now.up_ms - slot->looked_ms < SHELF_LOOK_MS / 2)
            continue;
        connection = slot->connection;
        slot->lent = true;
        slot->looked_ms = now.up_ms;
        *ret_tag = slot->tag;
    }
    pthread_mutex_unlock(&shelf->mutex);
    return connection;
}

void shelf_lent(struct shelf *shelf, size_t position, bool keep)
{
    ASSERT(position > 0 && position <= shelf->settings.max_idle);
    pthread_mutex_lock(&shelf->mutex);
    struct slot *slot = &shelf->slots[position - 1];
    ASSERT(slot->lent);
    slot->lent = false;
    if (!keep)
        (void)remove_from(slot);
    pthread_mutex_unlock(&shelf->mutex);
}

struct connection *shelf_clear(struct shelf *shelf)
{
    struct connection *connection = NULL;

    pthread_mutex_lock(&shelf->mutex);
    shelf->closed = true;
    struct slot *slot = next_slot(shelf, NULL);
    if (slot) {
        ASSERT(!slot->lent);
        connection = remove_from(slot);
    }
    pthread_mutex_unlock(&shelf->mutex);
    return connection;
}

size_t shelf_count(struct shelf *shelf)
{
    size_t n = 0;

    pthread_mutex_lock(&shelf->mutex);
    for_each_slot(slot, shelf) n++;
    pthread_mutex_unlock(&shelf->mutex);
    return n;
}

void shelf_read(struct shelf *shelf, struct shelf_now now, struct shelf_counts *ret_counts)
{
    struct user *user;

    pthread_mutex_lock(&shelf->mutex);
    *ret_counts = (struct shelf_counts){.n_taken = shelf->n_taken,
                                        .n_missed = shelf->n_missed,
                                        .n_stale = shelf->n_stale,
                                        .refill_ms = wanted_in_ms(shelf, now, &user)};
    for_each_slot(slot, shelf) ret_counts->n_idle++;
    pthread_mutex_unlock(&shelf->mutex);
}
