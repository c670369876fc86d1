/*
 * method_list: Broker.List. A session's own sockets live on its io thread; an administrator sees
 * those of all threads, and everybody his own there: then a struct gather goes from one io thread
 * to the next, each writing down copies of its own, and comes back.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rpc/admin.h"
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

/* The word of methods.def that a member `state` has chosen. */
static void choose_state(int64_t index, char *state, size_t n_state)
{
    const struct field_table *table = method_infos[METHOD_BROKER_LIST].params;
    size_t i = 0;

    while (strcmp(table->fields[i].name, "state") != 0)
        i++;
    const char *word = table->fields[i].extra;
    for (; index > 0; index--)
        word = strchr(word, '|') + 1;
    snprintf(state, n_state, "%.*s", (int)strcspn(word, "|"), word);
}

/* Whose sockets may it tell? Returns false when the request was answered. */
static bool choose(struct request *request, struct rows_filter *ret_filter, bool *ret_all)
{
    const struct proto_broker_list_params *params = &request->params.broker_list;
    bool others = params->has_uid && params->uid != (int64_t)request->client->uid;
    struct fault fault;

    *ret_filter = (struct rows_filter){.by_uid = params->has_uid, .uid = params->uid};
    if (params->has_state)
        choose_state(params->state, ret_filter->state, sizeof(ret_filter->state));
    *ret_all = params->has_all ? params->all : params->has_uid || client_is_admin(request->client);
    bool everybody = params->has_all && params->all && !params->has_uid;
    if (!(others || everybody) || client_is_admin(request->client))
        return true;
    admin_fault(&fault, request->client, "Broker.List of other users' sockets");
    request_fail(request, &fault);
    return false;
}

void method_broker_list(struct request *request)
{
    struct io *io = request->client->io;
    struct rows rows = ROWS_INIT;
    struct fault fault;
    bool all;

    if (!choose(request, &rows.filter, &all))
        return;
    if (!all) {
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
    gather->rows = rows;
    gather->home = gather->at = io->index;
    gather->mail.deliver = visit;
    request->op.gather = gather;
    request->withdraw = withdraw;
    io->n_away++;
    loop_post(io->loop, &gather->mail);
}
