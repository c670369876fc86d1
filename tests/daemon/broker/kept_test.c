#include "broker/kept.h"

#include "support/test.h"

#include <unistd.h>

static struct kept_session *add_session(struct kept *kept, uint64_t id)
{
    struct kept_session *session = calloc(1, sizeof(*session));
    CHECK(session);
    session->id = id;
    session->uid = 1000;
    session->gid = 1001;
    session->pid = 4711;
    session->lease_ms = 60000;
    session->deadlines = SESSION_DEADLINES_NONE;
    session->deadlines.receive = 123;
    CHECK_INT(token_new(&session->token, TOKEN_SESSION, 3, id), 0);
    list_init(&session->sockets);
    list_append(&kept->sessions, &session->link);
    return session;
}

static struct kept_socket *add_socket(struct kept *kept, uint64_t session, uint32_t number)
{
    struct kept_socket *socket = calloc(1, sizeof(*socket));
    CHECK(socket);
    socket->number = number;
    socket->session = session;
    socket->kind = KEPT_OPEN;
    socket->fd = -1;
    CHECK_INT(address_parse(&socket->local, "127.0.0.1", 1), 0);
    CHECK_INT(address_parse(&socket->remote, "2001:db8::1", 2), 0);
    list_append(&kept->sockets, &socket->link);
    return socket;
}

static struct writer bytes_of(const struct kept *kept)
{
    struct writer writer = WRITER_INIT;
    kept_encode(kept, &writer);
    CHECK(!writer_failed(&writer));
    return writer;
}

static struct writer sample(void)
{
    struct kept kept;
    kept_init(&kept);
    kept.next_number = 77;
    kept.next_session = 99;
    (void)add_session(&kept, 5);
    struct kept_socket *socket = add_socket(&kept, 5, 42);
    socket->hostname = strdup("example.net");
    socket->ahead = strdup("read ahead");
    socket->n_ahead = 10;
    socket->shut = socket->non_blocking = true;
    socket->bytes_in = 1234567890123;
    socket->born_us = -5;
    socket->owner = (struct label){.kind = LABEL_TEXT, .n_text = 6, .text = "worker"};
    socket = add_socket(&kept, 5, 43);
    socket->kind = KEPT_LOST;
    socket->lost_errno = 103;
    snprintf(socket->why, sizeof(socket->why), "because");
    struct writer writer = bytes_of(&kept);
    kept_deinit(&kept);
    return writer;
}

TEST(kept, comes_back_as_it_was)
{
    struct writer writer = sample();
    struct kept kept;

    kept_init(&kept);
    CHECK_INT(kept_decode(&kept, writer.data, writer.n_data), 0);
    CHECK_INT(kept.next_number, 77);
    CHECK_INT(kept.next_session, 99);
    CHECK_INT(kept_group(&kept), 0);
    CHECK(list_empty(&kept.sockets));
    struct kept_session *session =
        container_of(list_first(&kept.sessions), struct kept_session, link);
    CHECK_INT(session->id, 5);
    CHECK_INT(session->uid, 1000);
    CHECK_INT(session->gid, 1001);
    CHECK_INT(session->pid, 4711);
    CHECK_INT(session->lease_ms, 60000);
    CHECK_INT(session->deadlines.receive, 123);
    CHECK_INT(session->deadlines.send, -1);
    CHECK_INT(session->token.home, 3);
    CHECK_INT(session->token.id, 5);
    CHECK_INT(session->token.kind, TOKEN_SESSION);
    struct kept_socket *socket =
        container_of(list_first(&session->sockets), struct kept_socket, link);
    CHECK_INT(socket->number, 42);
    CHECK_INT(socket->kind, KEPT_OPEN);
    CHECK(socket->shut && socket->non_blocking && !socket->ended);
    CHECK_STRING(socket->hostname, "example.net");
    CHECK_INT(socket->n_ahead, 10);
    CHECK(memcmp(socket->ahead, "read ahead", 10) == 0);
    CHECK_INT(socket->bytes_in, 1234567890123);
    CHECK_INT(socket->born_us, -5);
    CHECK_STRING(socket->owner.text, "worker");
    CHECK_INT(address_port(&socket->remote), 2);
    CHECK_INT(address_family(&socket->local), AF_INET);
    struct kept_socket *lost = container_of(socket->link.next, struct kept_socket, link);
    CHECK_STRING(lost->why, "because");
    CHECK(!lost->hostname && !lost->ahead);
    CHECK_INT(lost->lost_errno, 103);
    /* and what was read is written as it was */
    struct writer again = bytes_of(&kept);
    CHECK_INT(again.n_data, writer.n_data);
    CHECK(memcmp(again.data, writer.data, again.n_data) == 0);
    writer_deinit(&again);
    writer_deinit(&writer);
    kept_deinit(&kept);
}

static int decode(const char *bytes, size_t n)
{
    struct kept kept;
    char *copy = malloc(n ? n : 1);

    CHECK(copy);
    memcpy(copy, bytes, n); /* a copy of its own, so that reading beyond it is seen */
    kept_init(&kept);
    int r = kept_decode(&kept, copy, n);
    if (r)
        CHECK(list_empty(&kept.sessions) && list_empty(&kept.sockets) && kept.next_number == 1);
    kept_deinit(&kept);
    free(copy);
    return r;
}

TEST(kept, cut_off_anywhere)
{
    struct writer writer = sample();
    for (size_t n = 0; n < writer.n_data; n++)
        CHECK_INT(decode(writer.data, n), KEPT_E_FORMAT);
    writer_deinit(&writer);
}

TEST(kept, each_bit_flipped)
{
    struct writer writer = sample();
    for (size_t i = 0; i < 8 * writer.n_data; i++) {
        writer.data[i / 8] = (char)(writer.data[i / 8] ^ (1 << i % 8));
        CHECK_INT(decode(writer.data, writer.n_data),
                  i / 8 >= 8 && i / 8 < 12 ? KEPT_E_VERSION : KEPT_E_FORMAT);
        writer.data[i / 8] = (char)(writer.data[i / 8] ^ (1 << i % 8));
    }
    CHECK_INT(decode(writer.data, writer.n_data), 0);
    writer_deinit(&writer);
}

TEST(kept, another_version)
{
    struct writer writer = sample();
    writer.data[8]++;
    CHECK_INT(decode(writer.data, writer.n_data), KEPT_E_VERSION);
    writer_deinit(&writer);
}

/* What the encoder would not write: the decoder refuses it although the checksum is right. */
TEST(kept, values_that_cannot_be)
{
    for (int what = 0; what < 6; what++) {
        struct kept kept;
        kept_init(&kept);
        struct kept_session *session = add_session(&kept, 5);
        struct kept_socket *socket = add_socket(&kept, 5, 42);
        switch (what) {
        case 0:
            socket->number = 0;
            break;
        case 1:
            socket->number = 1U << 31;
            break;
        case 2:
            socket->kind = KEPT_LOST + 1;
            break;
        case 3:
            socket->owner.kind = LABEL_TEXT; /* without a text */
            break;
        case 4:
            session->lease_ms = -1;
            break;
        default:
            socket->family = 12345;
        }
        struct writer writer = bytes_of(&kept);
        CHECK_INT(decode(writer.data, writer.n_data), KEPT_E_FORMAT);
        writer_deinit(&writer);
        kept_deinit(&kept);
    }
}

TEST(kept, strangers_and_twins)
{
    struct kept kept;
    kept_init(&kept);
    (void)add_session(&kept, 5);
    (void)add_session(&kept, 5);
    (void)add_session(&kept, 6);
    (void)add_socket(&kept, 5, 1);
    (void)add_socket(&kept, 6, 1); /* the number is another's */
    (void)add_socket(&kept, 7, 2); /* of nobody */
    CHECK_INT(kept_group(&kept), 0);
    size_t n_sessions = 0, n_left = 0;
    list_for_each (link, &kept.sessions)
        n_sessions++;
    list_for_each (link, &kept.sockets)
        n_left++;
    CHECK_INT(n_sessions, 2);
    CHECK_INT(n_left, 2);
    kept_deinit(&kept);
}

TEST(kept, the_largest_socket_fits_into_a_slot)
{
    struct kept kept;
    kept_init(&kept);
    struct kept_socket *socket = add_socket(&kept, 5, INT32_MAX);
    socket->hostname = calloc(1, KEPT_HOSTNAME_MAX + 1);
    CHECK(socket->hostname);
    memset(socket->hostname, 'h', KEPT_HOSTNAME_MAX);
    memset(socket->why, 'w', KEPT_WHY_MAX);
    socket->local = socket->remote;
    socket->owner = (struct label){.kind = LABEL_TEXT, .n_text = 64};
    memset(socket->owner.text, 'o', 64);
    struct writer writer = bytes_of(&kept);
    CHECK(writer.n_data <= KEPT_SOCKET_MAX);
    CHECK_INT(decode(writer.data, writer.n_data), 0);
    writer_deinit(&writer);
    kept_deinit(&kept);
}
