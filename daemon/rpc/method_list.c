/*
 * method_list: Broker.List. A session's own sockets live on its io thread; root sees those of all
 * threads: then a struct gather goes from one io thread to the next, each writing down copies of
 * its own, and comes back.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rpc/method.h"

/* One socket, as a copy that may leave its thread. */
struct row {
    struct proto_socket_row row; /* its strings point into this struct, set again after each move */
    struct label owner;
    char hostname[256];
    char remote[ADDRESS_TEXT_MAX];
};

struct gather {
    struct mail mail;
    struct request *request; /* NULL: nobody waits; touched on the first thread only */
    struct rpc_shared *shared;
    size_t home, at; /* io threads */
    struct row *rows;
    size_t n_rows, capacity;
    bool no_memory;
};

static struct row *new_row(struct gather *gather)
{
    if (gather->n_rows == gather->capacity) {
        size_t capacity = gather->capacity ? gather->capacity * 2 : 64;
        struct row *rows = realloc(gather->rows, capacity * sizeof(*rows));
        if (!rows) {
            gather->no_memory = true;
            return NULL;
        }
        gather->rows = rows;
        gather->capacity = capacity;
    }
    struct row *row = &gather->rows[gather->n_rows++];
    memset(row, 0, sizeof(*row));
    return row;
}

static void add_socket(struct gather *gather, const struct socket *socket, int64_t now_us)
{
    struct row *row = new_row(gather);
    if (!row)
        return;
    const struct tls_facts *tls = socket->stream ? stream_tls(socket->stream) : NULL;
    row->owner = socket->owner;
    snprintf(row->hostname, sizeof(row->hostname), "%s", socket->hostname);
    row->row = (struct proto_socket_row){
        .socket = socket->number,
        .state = socket_state_text(socket),
        .session = (int64_t)socket->session->id,
        .uid = socket->session->uid,
        .pid = socket->session->pid,
        .has_hostname = true,
        .secure = tls != NULL,
        .verified = tls && tls->verified,
        .bytes_in = (int64_t)socket->bytes_in,
        .bytes_out = (int64_t)socket->bytes_out,
        .age_ms = (now_us - socket->born_us) / 1000,
    };
    if (socket->stream) {
        (void)address_text(stream_remote(socket->stream), row->remote, sizeof(row->remote));
        row->row.has_remote_address = row->row.has_remote_port = true;
        row->row.remote_port = address_port(stream_remote(socket->stream));
    }
}

static void add_session(struct gather *gather, const struct session *session)
{
    int64_t now_us = loop_clock_us();
    size_t position = 0;
    const struct socket *socket;

    while ((socket = map_next(&session->sockets, &position, NULL)))
        add_socket(gather, socket, now_us);
}

static int by_number(const void *a, const void *b)
{
    const struct row *left = a, *right = b;
    return left->row.socket < right->row.socket ? -1 : left->row.socket > right->row.socket;
}

static void answer(struct request *request, struct gather *gather)
{
    struct proto_broker_list_result result;
    struct proto_socket_row *items = NULL;
    struct fault fault;

    if (gather->n_rows > 0)
        items = malloc(gather->n_rows * sizeof(*items));
    if (gather->no_memory || (gather->n_rows > 0 && !items)) {
        fault_set(&fault, WIRE_ENOBUFS, "Broker.List: out of memory");
        request_fail(request, &fault);
        free(items);
        return;
    }
    if (gather->n_rows > 0)
        qsort(gather->rows, gather->n_rows, sizeof(*gather->rows), by_number);
    for (size_t i = 0; i < gather->n_rows; i++) {
        struct row *row = &gather->rows[i];
        row->row.hostname = row->hostname;
        row->row.remote_address = row->remote;
        row->row.has_owner = label_to(&row->owner, &row->row.owner);
        items[i] = row->row;
    }
    result =
        (struct proto_broker_list_result){.sockets = {.items = items, .n_items = gather->n_rows}};
    request_answer(request, &result);
    free(items);
}

static void gather_free(struct gather *gather)
{
    free(gather->rows);
    free(gather);
}

static void on_back(struct mail *mail)
{
    struct gather *gather = container_of(mail, struct gather, mail);

    if (gather->request) {
        gather->request->withdraw = NULL;
        answer(gather->request, gather);
    }
    struct io *home = gather->shared->ios[gather->home];
    gather_free(gather);
    home->n_away--;
    io_check_drained(home);
}

static void visit(struct mail *mail)
{
    struct gather *gather = container_of(mail, struct gather, mail);
    struct io *io = gather->shared->ios[gather->at];

    list_for_each (link, &io->clients)
        add_session(gather, container_of(link, struct client, link)->session);
    gather->at = (gather->at + 1) % gather->shared->n_ios;
    if (gather->at != gather->home) {
        loop_post(gather->shared->ios[gather->at]->loop, &gather->mail);
        return;
    }
    gather->mail.deliver = on_back;
    loop_post(gather->shared->ios[gather->home]->loop, &gather->mail);
}

static void withdraw(struct request *request, struct fault *fault)
{
    (void)fault;
    request->op.gather->request = NULL;
}

void method_broker_list(struct request *request)
{
    struct io *io = request->client->io;
    struct gather *gather = calloc(1, sizeof(*gather));
    struct fault fault;

    if (!gather) {
        fault_set(&fault, WIRE_ENOBUFS, "Broker.List: out of memory");
        request_fail(request, &fault);
        return;
    }
    if (request_session(request)->uid != 0) {
        add_session(gather, request_session(request));
        answer(request, gather);
        gather_free(gather);
        return;
    }
    gather->request = request;
    gather->shared = io->shared;
    gather->home = gather->at = io->index;
    gather->mail.deliver = visit;
    request->op.gather = gather;
    request->withdraw = withdraw;
    io->n_away++;
    loop_post(io->loop, &gather->mail);
}
