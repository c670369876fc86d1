#include "broker/shelf.h"

#include <pthread.h>

#include "broker/stats.h"
#include "support/test.h"

/* Times are milliseconds since a moment at which the wall clock shows WALL. */
enum { WALL = 1000000, ALICE = 1000, BOB = 1001 };

static const struct shelf_settings usual = {
    .min_idle = 2, .max_idle = 4, .max_age_ms = 60000, .idle_time_ms = 10000, .until_s = INT64_MAX};

static struct shelf_now at(int64_t ms)
{
    return (struct shelf_now){.up_ms = 5000000 + ms, .wall_s = WALL + ms / 1000};
}

static struct shelf *make(const struct shelf_settings *settings)
{
    struct shelf *shelf;
    CHECK_INT(shelf_new(&shelf, settings), 0);
    return shelf;
}

static struct connection *connection(void)
{
    struct connection *made = calloc(1, sizeof(*made));
    CHECK(made);
    made->fd = -1;
    return made;
}

static struct shelf_tag tag_of(uid_t uid, bool used, int64_t made_ms)
{
    return (struct shelf_tag){
        .uid = uid, .used = used, .made_ms = at(made_ms).up_ms, .until_s = INT64_MAX};
}

/* Puts one there at that time, made at that time; NULL: it was refused. What is displaced goes. */
static struct connection *put(struct shelf *shelf, uid_t uid, bool used, int64_t ms)
{
    struct shelf_tag tag = tag_of(uid, used, ms);
    struct connection *moved = connection(), *it = moved;
    bool placed = shelf_put(shelf, &moved, &tag, at(ms));
    if (!placed)
        CHECK(moved == it);
    connection_free(moved);
    return placed ? it : NULL;
}

static bool takes(struct shelf *shelf, uid_t uid, int64_t ms)
{
    struct shelf_tag tag;
    struct connection *taken = shelf_take(shelf, uid, at(ms), &tag);
    connection_free(taken);
    return taken != NULL;
}

static bool orders(struct shelf *shelf, int64_t ms)
{
    uid_t uid = 0;
    bool wanted = shelf_order(shelf, at(ms), &uid);
    if (wanted)
        CHECK_INT(uid, SHELF_ANYBODY);
    return wanted;
}

TEST(shelf, newest_first_and_once)
{
    struct shelf *shelf = make(&usual);
    struct shelf_tag tag;

    struct connection *first = put(shelf, SHELF_ANYBODY, false, 0);
    struct connection *second = put(shelf, SHELF_ANYBODY, false, 0);
    CHECK_INT(shelf_count(shelf), 2);
    CHECK_INT(stats.pool_idle, 2);
    struct connection *taken = shelf_take(shelf, ALICE, at(1), &tag);
    CHECK(taken == second);
    CHECK(!tag.used && tag.uid == SHELF_ANYBODY && tag.made_ms == at(0).up_ms);
    connection_free(taken);
    taken = shelf_take(shelf, ALICE, at(1), &tag);
    CHECK(taken == first);
    connection_free(taken);
    CHECK(!takes(shelf, ALICE, 1));
    CHECK_INT(stats.pool_idle, 0);
    shelf_unref(shelf);
}

TEST(shelf, what_is_over_is_not_given_out)
{
    struct shelf *shelf = make(&usual);

    CHECK(put(shelf, SHELF_ANYBODY, false, 0));
    CHECK(!takes(shelf, ALICE, 10000)); /* idle_time */
    CHECK_INT(shelf_count(shelf), 1);
    CHECK(takes(shelf, ALICE, 9999));
    /* max_age, of one that has come lately */
    struct shelf_tag tag = tag_of(ALICE, true, 0);
    struct connection *old = connection();
    CHECK(shelf_put(shelf, &old, &tag, at(55000)));
    CHECK(!takes(shelf, ALICE, 60000));
    struct connection *over = shelf_over(shelf, at(60000));
    CHECK(over);
    connection_free(over);
    CHECK(!shelf_over(shelf, at(60000)));
    old = connection();
    CHECK(!shelf_put(shelf, &old, &tag, at(60000)));
    CHECK(!shelf_has_place(shelf, &tag, at(60000)));
    CHECK(shelf_has_place(shelf, &tag, at(59999)));
    connection_free(old);
    shelf_unref(shelf);
}

TEST(shelf, what_was_verified_must_hold)
{
    struct shelf_settings settings = usual;
    settings.until_s = WALL + 5;
    struct shelf *shelf = make(&settings);

    struct shelf_tag tag = tag_of(SHELF_ANYBODY, false, 0);
    tag.until_s = WALL + 3;
    struct connection *moved = connection();
    CHECK(shelf_put(shelf, &moved, &tag, at(0)));
    CHECK(!takes(shelf, ALICE, 3000)); /* the certificate */
    CHECK(takes(shelf, ALICE, 2999));
    CHECK(put(shelf, SHELF_ANYBODY, false, 2000));
    CHECK(!takes(shelf, ALICE, 5000)); /* the revocation list */
    CHECK(!put(shelf, SHELF_ANYBODY, false, 5000));
    CHECK(!orders(shelf, 5000));
    CHECK(orders(shelf, 4999));
    shelf_unref(shelf);
}

TEST(shelf, what_is_given_back_is_for_that_user_only)
{
    struct shelf *shelf = make(&usual);

    CHECK(put(shelf, ALICE, true, 0));
    CHECK(!takes(shelf, BOB, 1));
    CHECK(takes(shelf, ALICE, 1));
    shelf_unref(shelf);
}

TEST(shelf, who_makes_room_for_whom)
{
    struct shelf *shelf = make(&usual);

    struct connection *oldest = put(shelf, ALICE, true, 0);
    CHECK(oldest && put(shelf, ALICE, true, 1) && put(shelf, BOB, true, 2));
    CHECK(put(shelf, BOB, true, 3));
    CHECK(!put(shelf, ALICE, true, 4)); /* full, and what is there is as good */
    struct shelf_tag tag = tag_of(SHELF_ANYBODY, false, 5);
    struct connection *moved = connection();
    CHECK(shelf_put(shelf, &moved, &tag, at(5)));
    CHECK(moved == oldest);
    connection_free(moved);
    CHECK(put(shelf, SHELF_ANYBODY, false, 6));
    CHECK_INT(shelf_count(shelf), 4);
    /* two ahead and two of Bob's: what is given back does not push out what is made ahead */
    CHECK(!put(shelf, ALICE, true, 7));
    CHECK(put(shelf, ALICE, true, 10002)); /* but what is over */
    CHECK_INT(shelf_count(shelf), 4);
    shelf_unref(shelf);
}

TEST(shelf, orders_what_is_missing)
{
    struct shelf *shelf = make(&usual);

    CHECK_INT(shelf_wait_ms(shelf, at(0)), 0);
    CHECK(orders(shelf, 0) && orders(shelf, 0));
    CHECK(!orders(shelf, 0)); /* both are under way */
    CHECK_INT(shelf_wait_ms(shelf, at(0)), -1);
    shelf_made(shelf, SHELF_ANYBODY);
    CHECK(put(shelf, SHELF_ANYBODY, false, 5));
    CHECK_INT(shelf_wait_ms(shelf, at(5)), SHELF_LOOK_MS);
    CHECK(!orders(shelf, 5));
    CHECK(takes(shelf, ALICE, 6));
    CHECK(orders(shelf, 6));
    CHECK(!orders(shelf, 6));
    /* what was given back is no substitute for others */
    shelf_made(shelf, SHELF_ANYBODY);
    shelf_made(shelf, SHELF_ANYBODY);
    CHECK(put(shelf, ALICE, true, 7) && put(shelf, ALICE, true, 7));
    CHECK(orders(shelf, 7));
    shelf_unref(shelf);
}

TEST(shelf, does_not_disturb_who_takes_many)
{
    struct shelf_settings settings = usual;
    settings.min_idle = settings.max_idle = 8;
    struct shelf *shelf = make(&settings);

    for (int i = 0; i < 8; i++)
        CHECK(orders(shelf, 0));
    for (int i = 0; i < 8; i++)
        shelf_made(shelf, SHELF_ANYBODY);
    for (int i = 0; i < 8; i++)
        CHECK(put(shelf, SHELF_ANYBODY, false, 0));
    CHECK(takes(shelf, ALICE, 0) && takes(shelf, ALICE, 5));
    CHECK(!orders(shelf, 5));
    CHECK_INT(shelf_wait_ms(shelf, at(5)), SHELF_CALM_MS);
    CHECK(!orders(shelf, 4 + SHELF_CALM_MS));
    CHECK(orders(shelf, 5 + SHELF_CALM_MS) && orders(shelf, 5 + SHELF_CALM_MS));
    CHECK(!orders(shelf, 5 + SHELF_CALM_MS));
    shelf_made(shelf, SHELF_ANYBODY);
    shelf_made(shelf, SHELF_ANYBODY);
    /* two are missing already; the fourth is half of them */
    CHECK(takes(shelf, ALICE, 30) && !orders(shelf, 30));
    CHECK(takes(shelf, ALICE, 30) && orders(shelf, 30));
    shelf_unref(shelf);
}

TEST(shelf, not_too_many_at_a_time)
{
    struct shelf_settings settings = usual;
    settings.min_idle = settings.max_idle = 100;
    struct shelf *shelf = make(&settings);
    int n = 0;

    while (orders(shelf, 0))
        n++;
    CHECK_INT(n, SHELF_ORDERS);
    shelf_made(shelf, SHELF_ANYBODY);
    CHECK(orders(shelf, 0));
    CHECK(!orders(shelf, 0));
    shelf_unref(shelf);
}

TEST(shelf, none_ahead)
{
    struct shelf_settings settings = usual;
    settings.min_idle = 0;
    struct shelf *shelf = make(&settings);

    CHECK(!orders(shelf, 0));
    CHECK_INT(shelf_wait_ms(shelf, at(0)), -1);
    CHECK(put(shelf, ALICE, true, 0));
    CHECK_INT(shelf_wait_ms(shelf, at(0)), SHELF_LOOK_MS);
    shelf_unref(shelf);
}

/* The pause after the n-th failure in a row. */
TEST(shelf, failures_double_the_pause)
{
    static const int64_t pauses[] = {1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000};
    struct shelf *shelf = make(&usual);
    int64_t now = 0;

    for (size_t i = 0; i < sizeof(pauses) / sizeof(pauses[0]); i++) {
        CHECK(orders(shelf, now) && orders(shelf, now));
        shelf_failed(shelf, SHELF_ANYBODY, at(now));
        shelf_failed(shelf, SHELF_ANYBODY, at(now)); /* the same failure once more */
        CHECK_INT(shelf_trouble(shelf), SHELF_FAILING);
        CHECK_INT(shelf_wait_ms(shelf, at(now)), pauses[i]);
        CHECK(!orders(shelf, now + pauses[i] - 1));
        now += pauses[i];
    }
    CHECK(orders(shelf, now));
    shelf_made(shelf, SHELF_ANYBODY);
    CHECK_INT(shelf_trouble(shelf), SHELF_WELL);
    CHECK(orders(shelf, now));
    shelf_failed(shelf, SHELF_ANYBODY, at(now));
    CHECK_INT(shelf_wait_ms(shelf, at(now)), 1000);
    shelf_unref(shelf);
}

TEST(shelf, ends_of_what_nobody_has_used)
{
    struct shelf *shelf = make(&usual);
    struct shelf_tag fresh = tag_of(SHELF_ANYBODY, false, 0), used = tag_of(ALICE, true, 0);

    shelf_judge(shelf, &used, WARM_ENDED, at(0));
    shelf_judge(shelf, &used, WARM_SPEAKS, at(0));
    CHECK_INT(shelf_trouble(shelf), SHELF_WELL);
    CHECK_INT(shelf_wait_ms(shelf, at(0)), 0);
    /* once is a server that was restarted */
    shelf_judge(shelf, &fresh, WARM_ENDED, at(0));
    CHECK_INT(shelf_trouble(shelf), SHELF_WELL);
    CHECK_INT(shelf_wait_ms(shelf, at(0)), 1000);
    shelf_judge(shelf, &fresh, WARM_ENDED, at(1000));
    CHECK_INT(shelf_trouble(shelf), SHELF_ENDING);
    CHECK_INT(shelf_wait_ms(shelf, at(1000)), 2000);
    /* making one is no success yet, a good one taken is */
    CHECK(orders(shelf, 3000));
    shelf_made(shelf, SHELF_ANYBODY);
    CHECK_INT(shelf_trouble(shelf), SHELF_ENDING);
    shelf_judge(shelf, &fresh, WARM_ALIVE, at(3000));
    CHECK_INT(shelf_trouble(shelf), SHELF_WELL);
    /* so is one that was kept for as long as it was wanted */
    shelf_judge(shelf, &fresh, WARM_ENDED, at(3000));
    shelf_judge(shelf, &fresh, WARM_ENDED, at(4000));
    CHECK_INT(shelf_trouble(shelf), SHELF_ENDING);
    CHECK(put(shelf, SHELF_ANYBODY, false, 4000));
    connection_free(shelf_over(shelf, at(14000)));
    CHECK_INT(shelf_trouble(shelf), SHELF_WELL);
    shelf_unref(shelf);
}

TEST(shelf, who_speaks_first_is_left_alone)
{
    struct shelf *shelf = make(&usual);
    struct shelf_tag fresh = tag_of(SHELF_ANYBODY, false, 0);

    shelf_judge(shelf, &fresh, WARM_SPEAKS, at(0));
    CHECK_INT(shelf_trouble(shelf), SHELF_SPOKEN);
    CHECK(!orders(shelf, 0));
    CHECK(!orders(shelf, 3600000));
    CHECK_INT(shelf_wait_ms(shelf, at(3600000)), -1);
    shelf_unref(shelf);
}

TEST(shelf, personal)
{
    struct shelf_settings settings = usual;
    settings.min_idle = 1;
    settings.max_idle = 3;
    settings.personal = true;
    struct shelf *shelf = make(&settings);
    uid_t uid = 0;

    CHECK(!shelf_order(shelf, at(0), &uid)); /* nobody has asked */
    CHECK(!takes(shelf, ALICE, 0));
    CHECK(shelf_order(shelf, at(0), &uid));
    CHECK_INT(uid, ALICE);
    CHECK(!shelf_order(shelf, at(0), &uid));
    shelf_made(shelf, ALICE);
    CHECK(put(shelf, ALICE, false, 1));
    CHECK(!takes(shelf, BOB, 2));
    CHECK(shelf_order(shelf, at(2), &uid));
    CHECK_INT(uid, BOB);
    shelf_failed(shelf, BOB, at(2));
    CHECK(takes(shelf, ALICE, 3));
    /* who has not asked for long is not served ahead any more */
    CHECK(shelf_order(shelf, at(60001), &uid));
    CHECK_INT(uid, ALICE); /* he asked at 3, and Bob at 2 */
    shelf_made(shelf, ALICE);
    CHECK(shelf_order(shelf, at(60001), &uid));
    shelf_made(shelf, uid);
    CHECK(!shelf_order(shelf, at(60003), &uid));
    shelf_unref(shelf);
}

TEST(shelf, personal_too_what_was_given_back_makes_room)
{
    struct shelf_settings settings = usual;
    settings.min_idle = 1;
    settings.max_idle = 2;
    settings.personal = true;
    struct shelf *shelf = make(&settings);
    uid_t uid = 0;

    CHECK(put(shelf, ALICE, true, 0) && put(shelf, ALICE, true, 0));
    CHECK(!takes(shelf, BOB, 1));
    CHECK(shelf_order(shelf, at(1), &uid));
    CHECK_INT(uid, BOB);
    shelf_made(shelf, BOB);
    CHECK(put(shelf, BOB, false, 2));
    CHECK_INT(shelf_count(shelf), 2);
    CHECK(takes(shelf, BOB, 3) && takes(shelf, ALICE, 3));
    shelf_unref(shelf);
}

TEST(shelf, personal_users_are_bounded)
{
    struct shelf_settings settings = usual;
    settings.min_idle = 1;
    settings.max_idle = SHELF_USERS + 10;
    settings.personal = true;
    struct shelf *shelf = make(&settings);
    unsigned n = 0;
    uid_t uid;

    for (uid_t i = 0; i < SHELF_USERS + 2; i++)
        CHECK(!takes(shelf, 100 + i, (int64_t)i));
    while (shelf_order(shelf, at(1000), &uid)) {
        CHECK(uid >= 102); /* who asked first is forgotten */
        shelf_made(shelf, uid);
        CHECK(put(shelf, uid, false, 1000));
        n++;
    }
    CHECK_INT(n, SHELF_USERS);
    /* all of them together have max_idle places */
    for (unsigned i = 0; i < 10; i++)
        CHECK(put(shelf, 200, true, 1000));
    CHECK(takes(shelf, 200, 1001));
    CHECK(put(shelf, 201, true, 1001));
    CHECK(!put(shelf, 201, true, 1001));
    CHECK(!shelf_order(shelf, at(1001), &uid));
    shelf_unref(shelf);
}

TEST(shelf, lent_is_passed_over)
{
    struct shelf *shelf = make(&usual);
    struct shelf_tag tag;
    size_t position = 0;

    struct connection *first = put(shelf, SHELF_ANYBODY, false, 0);
    struct connection *second = put(shelf, SHELF_ANYBODY, false, 0);
    CHECK(!shelf_lend(shelf, &position, at(SHELF_LOOK_MS / 2 - 1), &tag)); /* they have just come */
    position = 0;
    CHECK(shelf_lend(shelf, &position, at(1000), &tag) == first);
    CHECK(!shelf_over(shelf, at(1000)));
    CHECK(takes(shelf, ALICE, 1000)); /* the second */
    CHECK(!takes(shelf, ALICE, 1000));
    CHECK(!shelf_over(shelf, at(20000)));
    shelf_lent(shelf, position, true);
    position = 0;
    CHECK(!shelf_lend(shelf, &position, at(1001), &tag)); /* it was looked at */
    CHECK(takes(shelf, ALICE, 1001));
    position = 0;
    CHECK(!shelf_lend(shelf, &position, at(9000), &tag));
    (void)second;
    first = put(shelf, SHELF_ANYBODY, false, 2);
    position = 0;
    CHECK(shelf_lend(shelf, &position, at(1000), &tag) == first);
    shelf_lent(shelf, position, false);
    connection_free(first);
    CHECK_INT(shelf_count(shelf), 0);
    shelf_unref(shelf);
}

TEST(shelf, cleared_takes_nothing_any_more)
{
    struct shelf *shelf = make(&usual);

    CHECK(put(shelf, SHELF_ANYBODY, false, 0) && put(shelf, ALICE, true, 0));
    struct connection *one = shelf_clear(shelf);
    CHECK(one);
    connection_free(one);
    CHECK(!takes(shelf, ALICE, 1)); /* although there is one still */
    connection_free(shelf_clear(shelf));
    CHECK(!shelf_clear(shelf));
    CHECK(!put(shelf, SHELF_ANYBODY, false, 1));
    CHECK(!orders(shelf, 1));
    CHECK_INT(shelf_wait_ms(shelf, at(1)), -1);
    shelf_unref(shelf);
}

/* ---- several threads ---- */

enum { THREADS = 4, ROUNDS = 5000 };

static void *use(void *context)
{
    struct shelf *shelf = context;
    struct shelf_tag tag;
    uid_t uid;

    for (int i = 0; i < ROUNDS; i++) {
        struct connection *taken = shelf_take(shelf, ALICE, at(i), &tag);
        if (!taken) {
            if (!shelf_order(shelf, at(i), &uid))
                continue;
            shelf_made(shelf, uid);
            taken = connection();
        }
        taken->fd = -1; /* for ThreadSanitizer: nobody else has it */
        tag = tag_of(i % 2 ? ALICE : SHELF_ANYBODY, i % 2, i);
        (void)!shelf_put(shelf, &taken, &tag, at(i));
        connection_free(taken);
    }
    shelf_unref(shelf);
    return NULL;
}

TEST(shelf, threads)
{
    struct shelf *shelf = make(&usual);
    pthread_t threads[THREADS];

    for (int i = 0; i < THREADS; i++)
        CHECK_INT(pthread_create(&threads[i], NULL, use, shelf_ref(shelf)), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    CHECK(shelf_count(shelf) <= usual.max_idle);
    shelf_unref(shelf);
    CHECK_INT(stats.pool_idle, 0);
}
