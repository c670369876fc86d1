#include "broker/kept.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char magic[8] = {'T', 'C', 'P', 'B', 'K', 'E', 'P', 'T'};
enum { HEADER_SIZE = 32, TAG_END = 0, TAG_SESSION = 'S', TAG_SOCKET = 'K' };

void kept_init(struct kept *kept)
{
    *kept = (struct kept){.next_number = 1, .next_session = 1};
    list_init(&kept->sessions);
    list_init(&kept->sockets);
}

struct kept_socket *kept_socket_free(struct kept_socket *socket)
{
    if (!socket)
        return NULL;
    if (socket->fd >= 0)
        close(socket->fd);
    free(socket->hostname);
    free(socket->ahead);
    free(socket);
    return NULL;
}

static void free_sockets(struct list *sockets)
{
    for (struct list *link; (link = list_pop(sockets));)
        kept_socket_free(container_of(link, struct kept_socket, link));
}

struct kept_session *kept_session_free(struct kept_session *session)
{
    if (!session)
        return NULL;
    free_sockets(&session->sockets);
    free(session);
    return NULL;
}

static void free_sessions(struct list *sessions)
{
    for (struct list *link; (link = list_pop(sessions));)
        kept_session_free(container_of(link, struct kept_session, link));
}

void kept_deinit(struct kept *kept)
{
    free_sessions(&kept->sessions);
    free_sockets(&kept->sockets);
}

/* FNV-1a, 64 bits: against accidents, not against people. */
static uint64_t checksum(const char *bytes, size_t n)
{
    uint64_t sum = 0xcbf29ce484222325;

    for (size_t i = 0; i < n; i++)
        sum = (sum ^ (unsigned char)bytes[i]) * 0x100000001b3;
    return sum;
}

/* ---- writing ---- */

static void put(struct writer *writer, const void *bytes, size_t n)
{
    writer_raw(writer, bytes, n);
}

#define PUT(writer, type, value)                                                                   \
    do {                                                                                           \
        const type put_value = (type)(value);                                                      \
        put(writer, &put_value, sizeof(put_value));                                                \
    } while (0)

static void put_bytes(struct writer *writer, const char *bytes, size_t n)
{
    PUT(writer, uint64_t, n);
    if (n > 0)
        put(writer, bytes, n);
}

static void put_address(struct writer *writer, const struct address *address)
{
    PUT(writer, uint8_t, address->n_bytes);
    if (address->n_bytes > 0)
        put(writer, &address->any, address->n_bytes);
}

static void put_label(struct writer *writer, const struct label *label)
{
    PUT(writer, uint8_t, label->kind);
    PUT(writer, int64_t, label->number);
    put_bytes(writer, label->text, label->n_text);
}

static void put_session(struct writer *writer, const struct kept_session *session)
{
    const struct session_deadlines *deadlines = &session->deadlines;

    PUT(writer, uint8_t, TAG_SESSION);
    PUT(writer, uint64_t, session->id);
    PUT(writer, uint32_t, session->uid);
    PUT(writer, uint32_t, session->gid);
    PUT(writer, int64_t, session->pid);
    PUT(writer, int64_t, session->lease_ms);
    PUT(writer, int64_t, deadlines->connect);
    PUT(writer, int64_t, deadlines->lookup);
    PUT(writer, int64_t, deadlines->send);
    PUT(writer, int64_t, deadlines->receive);
    PUT(writer, int64_t, deadlines->accept);
    PUT(writer, int64_t, deadlines->close);
    PUT(writer, uint16_t, session->token.home);
    put(writer, session->token.secret, sizeof(session->token.secret));
}

static void put_socket(struct writer *writer, const struct kept_socket *socket)
{
    PUT(writer, uint8_t, TAG_SOCKET);
    PUT(writer, uint32_t, socket->number);
    PUT(writer, uint64_t, socket->session);
    PUT(writer, uint8_t, socket->kind);
    PUT(writer, int32_t, socket->family);
    PUT(writer, uint8_t, socket->shut);
    PUT(writer, uint8_t, socket->ended);
    PUT(writer, uint8_t, socket->non_blocking);
    put_label(writer, &socket->owner);
    PUT(writer, uint8_t, socket->hostname != NULL);
    if (socket->hostname)
        put_bytes(writer, socket->hostname, strlen(socket->hostname));
    put_address(writer, &socket->local);
    put_address(writer, &socket->remote);
    PUT(writer, uint64_t, socket->bytes_in);
    PUT(writer, uint64_t, socket->bytes_out);
    PUT(writer, int64_t, socket->born_us);
    PUT(writer, int32_t, socket->lost_errno);
    put_bytes(writer, socket->why, strlen(socket->why));
    put_bytes(writer, socket->ahead, socket->n_ahead);
}

void kept_encode(const struct kept *kept, struct writer *writer)
{
    size_t start = writer->n_data;
    char header[HEADER_SIZE] = {0};
    uint32_t version = KEPT_VERSION;

    put(writer, header, sizeof(header));
    PUT(writer, uint32_t, kept->next_number);
    PUT(writer, uint64_t, kept->next_session);
    list_for_each (link, &kept->sessions) {
        const struct kept_session *session = container_of(link, struct kept_session, link);
        put_session(writer, session);
        list_for_each (inner, &session->sockets)
            put_socket(writer, container_of(inner, struct kept_socket, link));
    }
    list_for_each (link, &kept->sockets)
        put_socket(writer, container_of(link, struct kept_socket, link));
    PUT(writer, uint8_t, TAG_END);
    if (writer_failed(writer))
        return;
    const char *body = writer->data + start + HEADER_SIZE;
    uint64_t n_body = writer->n_data - start - HEADER_SIZE, sum = checksum(body, n_body);
    memcpy(header, magic, sizeof(magic));
    memcpy(header + 8, &version, sizeof(version));
    memcpy(header + 16, &n_body, sizeof(n_body));
    memcpy(header + 24, &sum, sizeof(sum));
    memcpy(writer->data + start, header, sizeof(header));
}

/* ---- reading ---- */

struct reader {
    const char *bytes;
    size_t n;
    bool bad; /* sticky: what was read since is zero */
    bool no_memory;
};

static void get(struct reader *reader, void *ret_bytes, size_t n)
{
    if (reader->bad || reader->n < n) {
        reader->bad = true;
        memset(ret_bytes, 0, n);
        return;
    }
    memcpy(ret_bytes, reader->bytes, n);
    reader->bytes += n;
    reader->n -= n;
}

#define GETTER(name, type)                                                                         \
    static type get_##name(struct reader *reader)                                                  \
    {                                                                                              \
        type value;                                                                                \
        get(reader, &value, sizeof(value));                                                        \
        return value;                                                                              \
    }
GETTER(u8, uint8_t)
GETTER(u16, uint16_t)
GETTER(u32, uint32_t)
GETTER(u64, uint64_t)
GETTER(i32, int32_t)
GETTER(i64, int64_t)
#undef GETTER

static bool get_bool(struct reader *reader)
{
    uint8_t value = get_u8(reader);
    reader->bad |= value > 1;
    return value == 1;
}

/* A text without NUL of up to n_max bytes, ended by one. */
static size_t get_text(struct reader *reader, char *ret_text, size_t n_max)
{
    uint64_t n = get_u64(reader);

    if (n > n_max)
        reader->bad = true;
    if (reader->bad)
        n = 0;
    get(reader, ret_text, n);
    ret_text[n] = 0;
    reader->bad |= strlen(ret_text) != n;
    return n;
}

static char *get_bytes(struct reader *reader, size_t *ret_n)
{
    uint64_t n = get_u64(reader);

    *ret_n = 0;
    if (n > reader->n)
        reader->bad = true;
    if (reader->bad || n == 0)
        return NULL;
    char *bytes = malloc(n);
    if (!bytes) {
        reader->bad = reader->no_memory = true;
        return NULL;
    }
    get(reader, bytes, n);
    *ret_n = n;
    return bytes;
}

static void get_address(struct reader *reader, struct address *ret_address)
{
    struct address address = {.n_bytes = get_u8(reader)};

    if (address.n_bytes != 0 && address.n_bytes != sizeof(address.v4) &&
        address.n_bytes != sizeof(address.v6))
        reader->bad = true;
    if (!reader->bad && address.n_bytes > 0) {
        get(reader, &address.any, address.n_bytes);
        reader->bad |=
            address.any.sa_family != (address.n_bytes == sizeof(address.v4) ? AF_INET : AF_INET6);
    }
    if (reader->bad)
        memset(&address, 0, sizeof(address));
    *ret_address = address;
}

static void get_label(struct reader *reader, struct label *ret_label)
{
    struct label label = {.kind = get_u8(reader), .number = get_i64(reader)};

    label.n_text = (uint8_t)get_text(reader, label.text, sizeof(label.text) - 1);
    reader->bad |= label.kind > LABEL_TEXT || (label.kind == LABEL_TEXT) != (label.n_text > 0);
    *ret_label = label;
}

static void get_session(struct reader *reader, struct kept_session *session)
{
    struct session_deadlines *deadlines = &session->deadlines;

    session->id = get_u64(reader);
    session->uid = get_u32(reader);
    session->gid = get_u32(reader);
    session->pid = (pid_t)get_i64(reader);
    session->lease_ms = get_i64(reader);
    deadlines->connect = get_i64(reader);
    deadlines->lookup = get_i64(reader);
    deadlines->send = get_i64(reader);
    deadlines->receive = get_i64(reader);
    deadlines->accept = get_i64(reader);
    deadlines->close = get_i64(reader);
    session->token =
        (struct token){.kind = TOKEN_SESSION, .home = get_u16(reader), .id = session->id};
    get(reader, session->token.secret, sizeof(session->token.secret));
    reader->bad |= session->id == 0 || session->lease_ms < 0;
}

static void get_socket(struct reader *reader, struct kept_socket *socket)
{
    char name[KEPT_HOSTNAME_MAX + 1];

    socket->number = get_u32(reader);
    socket->session = get_u64(reader);
    socket->kind = get_u8(reader);
    socket->family = get_i32(reader);
    socket->shut = get_bool(reader);
    socket->ended = get_bool(reader);
    socket->non_blocking = get_bool(reader);
    get_label(reader, &socket->owner);
    if (get_bool(reader)) {
        (void)get_text(reader, name, KEPT_HOSTNAME_MAX);
        socket->hostname = strdup(name);
        reader->no_memory |= !socket->hostname;
        reader->bad |= reader->no_memory;
    }
    get_address(reader, &socket->local);
    get_address(reader, &socket->remote);
    socket->bytes_in = get_u64(reader);
    socket->bytes_out = get_u64(reader);
    socket->born_us = get_i64(reader);
    socket->lost_errno = get_i32(reader);
    (void)get_text(reader, socket->why, KEPT_WHY_MAX);
    socket->ahead = get_bytes(reader, &socket->n_ahead);
    reader->bad |=
        socket->number == 0 || socket->number > INT32_MAX || socket->session == 0 ||
        socket->kind < KEPT_UNBOUND || socket->kind > KEPT_LOST ||
        (socket->family != AF_UNSPEC && socket->family != AF_INET && socket->family != AF_INET6);
}

/* One record; false: it was the last, or is bad. */
static bool get_record(struct reader *reader, struct kept *kept)
{
    struct kept_session *session;
    struct kept_socket *socket;

    switch (get_u8(reader)) {
    case TAG_SESSION:
        session = calloc(1, sizeof(*session));
        if (!session)
            break;
        list_init(&session->sockets);
        list_append(&kept->sessions, &session->link);
        get_session(reader, session);
        return !reader->bad;
    case TAG_SOCKET:
        socket = calloc(1, sizeof(*socket));
        if (!socket)
            break;
        socket->fd = -1;
        list_append(&kept->sockets, &socket->link);
        get_socket(reader, socket);
        return !reader->bad;
    case TAG_END:
        reader->bad |= reader->n != 0;
        return false;
    default:
        reader->bad = true;
        return false;
    }
    reader->bad = reader->no_memory = true;
    return false;
}

static int get_header(struct reader *reader)
{
    char found[sizeof(magic)];

    get(reader, found, sizeof(found));
    uint32_t version = get_u32(reader), zero = get_u32(reader);
    uint64_t n_body = get_u64(reader), sum = get_u64(reader);
    if (reader->bad || memcmp(found, magic, sizeof(magic)) != 0)
        return KEPT_E_FORMAT;
    if (version != KEPT_VERSION)
        return KEPT_E_VERSION;
    return zero == 0 && n_body == reader->n && sum == checksum(reader->bytes, reader->n)
               ? 0
               : KEPT_E_FORMAT;
}

int kept_decode(struct kept *kept, const void *bytes, size_t n)
{
    struct reader reader = {.bytes = bytes, .n = n};
    struct kept found;

    int r = get_header(&reader);
    if (r)
        return r;
    kept_init(&found);
    found.next_number = get_u32(&reader);
    found.next_session = get_u64(&reader);
    while (get_record(&reader, &found))
        ;
    reader.bad |= found.next_number == 0 || found.next_number > INT32_MAX;
    if (reader.bad) {
        kept_deinit(&found);
        return reader.no_memory ? -ENOMEM : KEPT_E_FORMAT;
    }
    if (found.next_number > kept->next_number)
        kept->next_number = found.next_number;
    if (found.next_session > kept->next_session)
        kept->next_session = found.next_session;
    list_splice(&kept->sessions, &found.sessions);
    list_splice(&kept->sockets, &found.sockets);
    return 0;
}

/* ---- who belongs to whom ---- */

static void empty(struct map *map)
{
    for (;;) {
        uint64_t key;
        size_t position = 0;
        if (!map_next(map, &position, &key))
            break;
        (void)map_remove(map, key);
    }
    map_deinit(map);
}

static int group(struct kept *kept, struct map *sessions, struct map *numbers)
{
    int r;

    list_for_each_safe (link, &kept->sessions) {
        struct kept_session *session = container_of(link, struct kept_session, link);
        if (map_get(sessions, session->id)) {
            ASSERT(list_empty(&session->sockets)); /* they come below */
            list_remove(link);
            free(session);
        } else if ((r = map_put(sessions, session->id, session))) {
            return r;
        }
    }
    list_for_each_safe (link, &kept->sockets) {
        struct kept_socket *socket = container_of(link, struct kept_socket, link);
        struct kept_session *session = map_get(sessions, socket->session);
        if (!session || map_get(numbers, socket->number))
            continue;
        if ((r = map_put(numbers, socket->number, socket)))
            return r;
        list_remove(link);
        list_append(&session->sockets, link);
    }
    return 0;
}

int kept_group(struct kept *kept)
{
    struct map sessions = MAP_INIT, numbers = MAP_INIT;
    int r = group(kept, &sessions, &numbers);

    empty(&sessions);
    empty(&numbers);
    return r;
}
