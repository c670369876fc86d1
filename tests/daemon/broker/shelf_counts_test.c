/* shelf: what it tells of itself. Times are milliseconds. */
#include "broker/shelf.h"
#include "support/test.h"

static struct shelf_now at(int64_t ms)
{
    return (struct shelf_now){.up_ms = 5000000 + ms, .wall_s = 1000000 + ms / 1000};
}

static void put(struct shelf *shelf, const struct shelf_tag *tag)
{
    struct connection *made = calloc(1, sizeof(*made));

    CHECK(made);
    made->fd = -1;
    CHECK(shelf_put(shelf, &made, tag, at(0)));
}

static bool takes(struct shelf *shelf)
{
    struct shelf_tag tag;
    struct connection *taken = shelf_take(shelf, 1000, at(100), &tag);

    connection_free(taken);
    return taken != NULL;
}

TEST(shelf_counts, all)
{
    const struct shelf_settings settings = {.min_idle = 2,
                                            .max_idle = 4,
                                            .max_age_ms = 60000,
                                            .idle_time_ms = 10000,
                                            .until_s = INT64_MAX};
    const struct shelf_tag tag = {
        .uid = SHELF_ANYBODY, .made_ms = at(0).up_ms, .until_s = INT64_MAX};
    struct shelf_counts counts;
    struct shelf *shelf;
    uid_t uid;

    CHECK_INT(shelf_new(&shelf, &settings), 0);
    CHECK(!takes(shelf));
    shelf_read(shelf, at(0), &counts);
    CHECK(counts.n_idle == 0 && counts.n_missed == 1 && counts.n_taken == 0 && counts.n_stale == 0);
    CHECK_INT(counts.refill_ms, 0);
    CHECK(shelf_order(shelf, at(0), &uid));
    shelf_failed(shelf, uid, at(0));
    shelf_read(shelf, at(100), &counts);
    CHECK_INT(counts.refill_ms, SHELF_PAUSE_MIN_MS - 100);
    put(shelf, &tag);
    put(shelf, &tag);
    shelf_read(shelf, at(100), &counts);
    CHECK(counts.n_idle == 2 && counts.refill_ms == -1);
    CHECK(takes(shelf) && takes(shelf));
    shelf_judge(shelf, &tag, WARM_ALIVE, at(100));
    shelf_judge(shelf, &tag, WARM_ENDED, at(100));
    shelf_read(shelf, at(100), &counts);
    CHECK(counts.n_idle == 0 && counts.n_missed == 1 && counts.n_taken == 1 && counts.n_stale == 1);
    shelf_unref(shelf);
}
