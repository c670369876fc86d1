/*
 * method_list: Broker.List. A session's own sockets live on its io thread; root sees those of all
 * threads: then a struct gather goes from one io thread to the next, each writing down copies of
 * its own, and comes back.
 */
#include <stdlib.h>

#include "rpc/method.h"
#include "rpc/rows.h"

struct gather {
    struct mail mail;
    struct request *request; /* NULL: nobody waits; touched on the first thread only */
    struct rpc_shared *shared;
    size_t home, at; /* io threads */
    struct rows rows;
};

static void answer(struct request *request, struct rows *rows)
{
    struct proto_socket_row *items;
    struct fault fault;

    if (rows_items(rows, &items)) {
        fault_set(&fault, WIRE_ENOBUFS, "Broker.List: out of memory");
        request_fail(request, &fault);
        return;
    }
    struct proto_broker_list_result result = {.sockets = {.items = items, .n_items = rows->n}};
    request_answer(request, &result);
    free(items);
}

static void on_back(struct mail *mail)
{
    struct gather *gather = container_of(mail, struct gather, mail);

    if (gather->request) {
        gather->request->withdraw = NULL;
        answer(gather->request, &gather->rows);
    }
    struct io *home = gather->shared->ios[gather->home];
    rows_deinit(&gather->rows);
    free(gather);
    home->n_away--;
    io_check_drained(home);
}

static void visit(struct mail *mail)
{
    struct gather *gather = container_of(mail, struct gather, mail);

    rows_add_io(&gather->rows, gather->shared->ios[gather->at]);
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
    struct fault fault;

    if (request->client->uid != 0) {
        struct rows rows = ROWS_INIT;
        rows_add_session(&rows, request_session(request));
        answer(request, &rows);
        rows_deinit(&rows);
        return;
    }
    struct gather *gather = calloc(1, sizeof(*gather));
    if (!gather) {
        fault_set(&fault, WIRE_ENOBUFS, "Broker.List: out of memory");
        request_fail(request, &fault);
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
