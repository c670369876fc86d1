#include "rpc/rows.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rpc/io.h"
#include "rpc/offers.h"

struct row {
    struct proto_socket_row row; /* its strings point into this struct, set at the very end */
    struct label owner;
    char hostname[256];
    char door[80];
    char remote[ADDRESS_TEXT_MAX], local[ADDRESS_TEXT_MAX];
};

void rows_deinit(struct rows *rows)
{
    free(rows->rows);
    *rows = ROWS_INIT;
}

static struct row *new_row(struct rows *rows)
{
    if (rows->n == rows->capacity) {
        size_t capacity = rows->capacity ? rows->capacity * 2 : 64;
        struct row *grown = realloc(rows->rows, capacity * sizeof(*grown));
        if (!grown) {
            rows->no_memory = true;
            return NULL;
        }
        rows->rows = grown;
        rows->capacity = capacity;
    }
    struct row *row = &rows->rows[rows->n++];
    memset(row, 0, sizeof(*row));
    return row;
}

static const char *state_of(const struct socket *socket)
{
    return socket->session ? socket_state_text(socket) : "offered";
}

/* uid: of its session, or of who offers it. */
static bool is_wanted(const struct rows_filter *filter, const struct socket *socket, uid_t uid)
{
    return (!filter->by_uid || filter->uid == (uid == (uid_t)-1 ? -1 : (int64_t)uid)) &&
           (!filter->state[0] || strcmp(filter->state, state_of(socket)) == 0);
}

/* session: NULL for a socket on offer. */
static struct row *add_socket(struct rows *rows, const struct socket *socket, int64_t now_us)
{
    const struct session *session = socket->session;
    const struct address *remote = socket_remote(socket), *local = socket_local(socket);
    const struct tls_facts *tls = socket_tls(socket);
    struct row *row = new_row(rows);

    if (!row)
        return NULL;
    row->owner = socket->owner;
    if (socket->hostname)
        snprintf(row->hostname, sizeof(row->hostname), "%s", socket->hostname);
    row->row = (struct proto_socket_row){
        .socket = socket->number,
        .state = state_of(socket),
        .session = session ? (int64_t)session->id : 0,
        .uid = !session                    ? 0
               : session->uid == (uid_t)-1 ? -1
                                           : (int64_t)session->uid,
        .pid = session ? session->pid : 0,
        .has_hostname = socket->hostname != NULL,
        .has_remote_address = remote != NULL,
        .has_remote_port = remote != NULL,
        .remote_port = remote ? address_port(remote) : 0,
        .has_local_address = local != NULL,
        .has_local_port = local != NULL,
        .local_port = local ? address_port(local) : 0,
        .secure = tls != NULL,
        .verified = tls && tls->verified,
        .bytes_in = (int64_t)socket->bytes_in,
        .bytes_out = (int64_t)socket->bytes_out,
        .age_ms = (now_us - socket->born_us) / 1000,
    };
    if (session && session->door) {
        row->row.has_door = true;
        snprintf(row->door, sizeof(row->door), "%s", session->door);
    }
    if (remote)
        (void)address_text(remote, row->remote, sizeof(row->remote));
    if (local)
        (void)address_text(local, row->local, sizeof(row->local));
    return row;
}

void rows_add_session(struct rows *rows, const struct session *session)
{
    int64_t now_us = loop_clock_us();
    size_t position = 0;
    const struct socket *socket;

    while ((socket = map_next(&session->sockets, &position, NULL)))
        if (is_wanted(&rows->filter, socket, session->uid))
            (void)add_socket(rows, socket, now_us);
}

void rows_add_io(struct rows *rows, const struct io *io)
{
    int64_t now_us = loop_clock_us();
    const struct session *session;
    const struct offer *offer;

    for (size_t i = 0; (session = map_next(&io->sessions, &i, NULL));)
        rows_add_session(rows, session);
    for (size_t i = 0; (offer = map_next(&io->offers, &i, NULL));) {
        bool wanted = offer->socket && is_wanted(&rows->filter, offer->socket, offer->uid);
        struct row *row = wanted ? add_socket(rows, offer->socket, now_us) : NULL;
        if (row) {
            row->row.session = (int64_t)offer->session;
            row->row.uid = offer->uid;
            session = map_get(&io->sessions, offer->session);
            row->row.pid = session ? session->pid : 0;
        }
    }
}

static int by_number(const void *a, const void *b)
{
    const struct row *left = a, *right = b;
    return left->row.socket < right->row.socket ? -1 : left->row.socket > right->row.socket;
}

int rows_items(struct rows *rows, struct proto_socket_row **ret_items)
{
    if (rows->no_memory)
        return -ENOMEM;
    struct proto_socket_row *items = calloc(rows->n + 1, sizeof(*items));
    if (!items)
        return -ENOMEM;
    if (rows->n > 0)
        qsort(rows->rows, rows->n, sizeof(*rows->rows), by_number);
    for (size_t i = 0; i < rows->n; i++) {
        struct row *row = &rows->rows[i];
        row->row.hostname = row->hostname;
        row->row.door = row->door;
        row->row.remote_address = row->remote;
        row->row.local_address = row->local;
        row->row.has_owner = label_to(&row->owner, &row->row.owner);
        items[i] = row->row;
    }
    *ret_items = items;
    return 0;
}
