/*
 * method_inside: Broker.Doors, Broker.Pools: what there is beside sockets. Doors are the control
 * thread's, which writes copies down; pools are part of the snapshot. For administrators only:
 * where all doors and pools lead, and how much they are used, is no other user's business.
 */
#include <stdlib.h>

#include "rpc/consult.h"
#include "rpc/method.h"

static void fail_memory(struct request *request)
{
    struct fault fault;
    fault_set(&fault, WIRE_ENOBUFS, "%s: out of memory", request_name(request));
    request_fail(request, &fault);
}

/* ---- Broker.Doors ---- */

struct doors_call {
    struct rpc_doors doors;
    struct consult consult;
};

static void answer_doors(struct request *request, const struct rpc_doors *doors)
{
    struct proto_door_row *rows = calloc(doors->n_doors + 1, sizeof(*rows));

    if (doors->no_memory || !rows) {
        free(rows);
        fail_memory(request);
        return;
    }
    for (size_t i = 0; i < doors->n_doors; i++) {
        const struct rpc_door *door = &doors->doors[i];
        rows[i] = (struct proto_door_row){.name = door->name,
                                          .listen = door->listen,
                                          .has_hostname = door->port != 0,
                                          .hostname = door->host,
                                          .has_port = door->port != 0,
                                          .port = door->port,
                                          .secure = door->secure,
                                          .verify = door->secure && door->verify,
                                          .connections = door->n_now,
                                          .connections_total = door->n_total,
                                          .failed = door->n_failed};
    }
    struct proto_broker_doors_result result = {.doors = {.items = rows, .n_items = doors->n_doors}};
    request_answer(request, &result);
    free(rows);
}

static void on_doors_done(struct mail *mail)
{
    struct rpc_doors *doors = container_of(mail, struct rpc_doors, done);
    struct doors_call *call = container_of(doors, struct doors_call, doors);
    struct io *home = call->consult.home;
    struct request *request = consult_back(&call->consult);

    if (request)
        answer_doors(request, doors);
    free(doors->doors);
    free(call);
    consult_over(home);
}

void method_broker_doors(struct request *request)
{
    struct io *io = request->client->io;
    struct doors_call *call = calloc(1, sizeof(*call));

    if (!call) {
        fail_memory(request);
        return;
    }
    call->doors = (struct rpc_doors){.mail = {.deliver = io->shared->doors},
                                     .done = {.deliver = on_doors_done},
                                     .reply_to = io->loop};
    consult_control(&call->consult, request, &call->doors.mail);
}

/* ---- Broker.Pools ---- */

static void fill_pool(const struct pool *pool, char *literal, size_t n_literal,
                      struct proto_pool_row *ret_row)
{
    static const char *const states[] = {[SHELF_WELL] = "well",
                                         [SHELF_FAILING] = "failing",
                                         [SHELF_ENDING] = "ending",
                                         [SHELF_SPOKEN] = "spoken"};
    const struct shelf_settings *settings = shelf_settings(pool->shelf);
    struct shelf_counts counts;

    shelf_read(pool->shelf, shelf_now(), &counts);
    *ret_row = (struct proto_pool_row){
        .name = pool->name,
        .hostname = *pool->host ? pool->host : address_text(&pool->address, literal, n_literal),
        .port = pool->port,
        .secure = pool->secure,
        .verify = pool->secure && pool->verify,
        .state = states[shelf_trouble(pool->shelf)],
        .idle = (int64_t)counts.n_idle,
        .min_idle = (int64_t)settings->min_idle,
        .max_idle = (int64_t)settings->max_idle,
        .taken = (int64_t)counts.n_taken,
        .missed = (int64_t)counts.n_missed,
        .stale = (int64_t)counts.n_stale,
        .has_refill_ms = counts.refill_ms >= 0,
        .refill_ms = counts.refill_ms,
    };
}

void method_broker_pools(struct request *request)
{
    const struct pools *pools = &request->client->io->snapshot->pools;
    struct proto_pool_row *rows = calloc(pools->n_pools + 1, sizeof(*rows));
    char(*literals)[ADDRESS_TEXT_MAX] = calloc(pools->n_pools + 1, sizeof(*literals));

    if (rows && literals) {
        for (size_t i = 0; i < pools->n_pools; i++)
            fill_pool(&pools->pools[i], literals[i], sizeof(literals[i]), &rows[i]);
        struct proto_broker_pools_result result = {
            .pools = {.items = rows, .n_items = pools->n_pools}};
        request_answer(request, &result);
    } else {
        fail_memory(request);
    }
    free(rows);
    free(literals);
}
