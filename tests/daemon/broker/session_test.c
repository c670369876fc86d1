/* session: sockets by number and owner, limits, held bytes. */
#include "broker/session.h"
#include "support/test.h"

struct bench {
    struct socket_room room;
    struct table *table;
    struct session *session, *other;
};

static void set_up(struct bench *bench, uint32_t max_table, uint32_t max_session)
{
    memset(bench, 0, sizeof(*bench));
    CHECK_INT(table_new(&bench->table, max_table), 0);
    CHECK_INT(loop_new(&bench->room.loop, "test", 0), 0);
    bench->room.table = bench->table;
    CHECK_INT(session_new(&bench->session, 1, &bench->room), 0);
    CHECK_INT(session_new(&bench->other, 2, &bench->room), 0);
    bench->session->max_sockets = bench->other->max_sockets = max_session;
    bench->session->max_held = 100;
}

static void tear_down(struct bench *bench)
{
    session_end(bench->session);
    session_end(bench->other);
    CHECK_INT(table_count(bench->table), 0);
    table_free(bench->table);
    loop_free(bench->room.loop);
}

TEST(session, owner)
{
    struct bench bench;
    struct socket *socket, *found = NULL;
    struct label mine = label_from(true, &(struct proto_thread){.text = "mine"});
    struct label none = label_from(false, NULL);

    set_up(&bench, 10, 10);
    CHECK_INT(session_socket_new(bench.session, SOCKET_CONNECTING, &mine, "host", &socket), 0);
    CHECK_INT(session_socket(bench.session, socket->number, &mine, &found), 0);
    CHECK(found == socket);
    CHECK_INT(session_socket(bench.session, socket->number, &none, &found), SESSION_E_NOT_OWNER);
    CHECK_INT(session_socket(bench.other, socket->number, &mine, &found), SESSION_E_FOREIGN);
    CHECK_INT(session_socket(bench.session, socket->number + 1, &mine, &found), SESSION_E_NONE);
    uint32_t stale = socket->number;
    session_socket_free(bench.session, socket, true);
    CHECK_INT(session_socket(bench.session, stale, &mine, &found), SESSION_E_NONE);
    CHECK_INT(session_socket(bench.other, stale, &mine, &found), SESSION_E_NONE);
    tear_down(&bench);
}

TEST(session, limits)
{
    struct bench bench;
    struct socket *socket;
    struct label none = label_from(false, NULL);

    set_up(&bench, 3, 2);
    CHECK_INT(session_socket_new(bench.session, SOCKET_CONNECTING, &none, "a", &socket), 0);
    CHECK_INT(session_socket_new(bench.session, SOCKET_CONNECTING, &none, "b", &socket), 0);
    CHECK_INT(session_socket_new(bench.session, SOCKET_CONNECTING, &none, "c", &socket),
              SESSION_E_FULL);
    CHECK_INT(session_socket_new(bench.other, SOCKET_CONNECTING, &none, "d", &socket), 0);
    CHECK_INT(session_socket_new(bench.other, SOCKET_CONNECTING, &none, "e", &socket),
              SESSION_E_ALL_FULL);
    tear_down(&bench);
}

TEST(session, held_bytes)
{
    struct bench bench;

    set_up(&bench, 1, 1);
    CHECK_INT(session_hold(bench.session, 60, true), 0);
    CHECK_INT(session_hold(bench.session, 41, true), SESSION_E_HELD);
    CHECK_INT(session_hold(bench.session, 40, true), 0);
    CHECK_INT(session_hold(bench.session, SIZE_MAX, true), SESSION_E_HELD);
    session_unhold(bench.session, 100);
    tear_down(&bench);
}

/* Nothing can be done with a socket that is still connecting, and asking does no harm. */
TEST(session, connecting)
{
    struct bench bench;
    struct socket *socket;
    struct label none = label_from(false, NULL);
    struct socket_send send = {.data = "x", .n_data = 1};
    struct socket_receive receive = {.wish = {.max_bytes = 1}};
    struct socket_close close = {.option = SOCKET_CLOSE_ABORT};

    set_up(&bench, 1, 1);
    CHECK_INT(session_socket_new(bench.session, SOCKET_CONNECTING, &none, "a", &socket), 0);
    CHECK_INT(socket_send(socket, &send), SOCKET_E_NOT_CONNECTED);
    CHECK_INT(socket_receive(socket, &receive), SOCKET_E_NOT_CONNECTED);
    CHECK_INT(socket_close(socket, &close), SOCKET_E_NOT_CONNECTED);
    CHECK_STRING(socket_state_text(socket), "connecting");
    tear_down(&bench);
}
