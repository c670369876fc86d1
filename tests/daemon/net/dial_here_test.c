#include "net/dial_here.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <unistd.h>

#include "net_fixture.h"
#include "support/test.h"

static struct dial *dial_to(const struct address *address)
{
    struct dial *dial = calloc(1, sizeof(*dial));
    CHECK(dial != NULL);
    dial->addresses = malloc(sizeof(*address));
    CHECK(dial->addresses != NULL);
    dial->addresses[0] = *address;
    dial->n_addresses = 1;
    dial->deadline_us = loop_clock_us() + 60 * INT64_C(1000000);
    dial->own_settings = true;
    dial->settings = (struct dial_settings){
        .tcp = {.nodelay = true},
        .backoff = {.after = 1, .min_ms = 600000, .max_ms = 600000},
    };
    return dial;
}

struct scene {
    struct backoff *backoff;
    struct address address;
    int listener;
    struct dial *dial;
};

static void scene_init(struct scene *scene)
{
    CHECK_INT(backoff_new(&scene->backoff), 0);
    scene->listener = fixture_listen(&scene->address, 8);
    scene->dial = dial_to(&scene->address);
}

static void scene_deinit(struct scene *scene)
{
    dial_free(scene->dial);
    backoff_free(scene->backoff);
    if (scene->listener >= 0)
        close(scene->listener);
}

/* Nothing was even tried: no connection has come. */
static void check_untried(struct scene *scene)
{
    CHECK(!dial_here(scene->dial, scene->backoff));
    CHECK(scene->dial->connection == NULL);
    CHECK(fcntl(scene->listener, F_SETFL, O_NONBLOCK) == 0);
    CHECK_INT(accept(scene->listener, NULL, NULL), -1);
    CHECK_INT(errno, EAGAIN);
    scene_deinit(scene);
}

TEST(dial_here, connects)
{
    struct scene scene;
    int value = 0;
    socklen_t n = sizeof(value);
    scene_init(&scene);
    CHECK(dial_here(scene.dial, scene.backoff));
    const struct connection *connection = scene.dial->connection;
    CHECK(connection != NULL && !connection->tls && !connection->facts);
    CHECK(address_equal(&connection->remote, &scene.address));
    CHECK(address_port(&connection->local) != 0);
    CHECK_INT(scene.dial->error.cause, NET_OK);
    CHECK(fcntl(connection->fd, F_GETFL) & O_NONBLOCK);
    CHECK_INT(getsockopt(connection->fd, IPPROTO_TCP, TCP_NODELAY, &value, &n), 0);
    CHECK_INT(value, 1);
    scene_deinit(&scene);
}

TEST(dial_here, ends_a_pause)
{
    struct scene scene;
    struct backoff_pause pause;
    scene_init(&scene);
    struct backoff_settings *settings = &scene.dial->settings.backoff;
    int64_t now_us = loop_clock_us();
    settings->after = 2;
    backoff_refused(scene.backoff, &scene.address, settings, now_us, now_us);
    CHECK(dial_here(scene.dial, scene.backoff));
    /* one more is the first again */
    now_us = loop_clock_us();
    backoff_refused(scene.backoff, &scene.address, settings, now_us, now_us);
    CHECK(!backoff_pausing(scene.backoff, &scene.address, settings, now_us, &pause));
    scene_deinit(&scene);
}

TEST(dial_here, not_in_a_pause)
{
    struct scene scene;
    scene_init(&scene);
    int64_t now_us = loop_clock_us();
    backoff_refused(scene.backoff, &scene.address, &scene.dial->settings.backoff, now_us, now_us);
    check_untried(&scene);
}

TEST(dial_here, not_after_the_deadline)
{
    struct scene scene;
    scene_init(&scene);
    scene.dial->deadline_us = loop_clock_us();
    check_untried(&scene);
}

TEST(dial_here, not_when_more_is_wanted)
{
    struct scene scene;
    scene_init(&scene);
    scene.dial->secure = true;
    check_untried(&scene);
    scene_init(&scene);
    scene.dial->explain = true;
    check_untried(&scene);
    scene_init(&scene);
    scene.dial->family = AF_INET6;
    check_untried(&scene);
    scene_init(&scene);
    CHECK_INT(address_parse(&scene.dial->local, "127.0.0.1", 0), 0);
    check_untried(&scene);
}

TEST(dial_here, not_elsewhere)
{
    struct scene scene;
    scene_init(&scene);
    /* documentation addresses (RFC 5737): a SYN would not come back */
    CHECK_INT(address_parse(&scene.dial->addresses[0], "192.0.2.1", 9), 0);
    check_untried(&scene);
}

TEST(dial_here, refused_is_for_others)
{
    struct scene scene;
    scene_init(&scene);
    close(scene.listener);
    scene.listener = -1;
    CHECK(!dial_here(scene.dial, scene.backoff));
    CHECK(scene.dial->connection == NULL);
    scene_deinit(&scene);
}

/* Linux drops SYNs when the queue is full, so the second connect goes on. */
TEST(dial_here, one_that_hangs_is_for_others)
{
    struct scene scene;
    int fillers[4];
    scene_init(&scene);
    close(scene.listener);
    scene.listener = fixture_listen(&scene.dial->addresses[0], 0);
    for (int i = 0; i < 4; i++) {
        fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        (void)!connect(fillers[i], &scene.dial->addresses[0].any, scene.dial->addresses[0].n_bytes);
    }
    CHECK(!dial_here(scene.dial, scene.backoff));
    CHECK(scene.dial->connection == NULL);
    for (int i = 0; i < 4; i++)
        close(fillers[i]);
    scene_deinit(&scene);
}
