/* status: its words. When they are sent is in tests/integration/notify_test.py. */
#include "app/status.h"
#include "support/test.h"

TEST(status, tells_what_is_there_and_what_is_unusual)
{
    char line[STATUS_LINE_MAX];
    struct status_figures figures = {.clients = 1, .requests = 5};

    status_text(&figures, line);
    CHECK_STRING(line, "Listening: 1 client, 0 sockets");
    figures = (struct status_figures){.clients = 2,
                                      .sockets = 1,
                                      .passages = 3,
                                      .lookups = 1,
                                      .connects_per_s = 12,
                                      .log_lost = 4,
                                      .restart_needed = true,
                                      .reload_failed = "a.conf:3: no"};
    status_text(&figures, line);
    CHECK_STRING(line, "Listening: 2 clients, 1 socket, 3 tunnels in use, 12 connects/s, 1 look-up "
                       "waiting, 4 lines of the log lost; a restart is needed for some of the "
                       "configuration; the last reload failed: a.conf:3: no");
    figures = (struct status_figures){.clients = 2, .stopping = true, .requests = 1};
    status_text(&figures, line);
    CHECK_STRING(line, "Finishing: 2 clients, 0 sockets, 1 request running");
}

TEST(status, has_room_for_the_longest)
{
    char line[STATUS_LINE_MAX];
    struct status_figures figures = {
        .clients = INT64_MAX,
        .sockets = INT64_MAX,
        .passages = INT64_MAX,
        .lookups = INT64_MAX,
        .connects_per_s = INT64_MAX,
        .requests = INT64_MAX,
        .log_lost = INT64_MAX,
        .stopping = true,
        .restart_needed = true,
    };

    memset(figures.reload_failed, 'x', sizeof(figures.reload_failed) - 1);
    status_text(&figures, line);
    CHECK(strlen(line) < sizeof(line));
}
