/*
 * method_users: Broker.Users: what each user has of the broker. Administrators see all, others
 * themselves.
 */
#include <stdlib.h>

#include "rpc/method.h"

static struct proto_user_row row_of(const struct account_facts *facts)
{
    return (struct proto_user_row){
        .uid = facts->uid == ACCOUNT_NOBODY ? -1 : (int64_t)facts->uid,
        .clients = facts->charged[ACCOUNT_CLIENTS],
        .passages = facts->charged[ACCOUNT_PASSAGES],
        .sockets = facts->charged[ACCOUNT_SOCKETS],
        .requests = facts->used[ACCOUNT_REQUESTS],
        .held_bytes = facts->used[ACCOUNT_BYTES],
        .lookups = facts->lookups,
        .pings = facts->charged[ACCOUNT_PINGS],
        .tokens = facts->charged[ACCOUNT_TOKENS],
        .connects = facts->n_connects,
        .refused = facts->n_refused,
    };
}

static int by_uid(const void *a, const void *b)
{
    const struct proto_user_row *left = a, *right = b;
    return left->uid < right->uid ? -1 : left->uid > right->uid;
}

static void fail_memory(struct request *request)
{
    struct fault fault;
    fault_set(&fault, WIRE_ENOBUFS, "Broker.Users: out of memory");
    request_fail(request, &fault);
}

void method_broker_users(struct request *request)
{
    struct client *client = request->client;
    struct account_facts *facts;
    size_t n;

    if (accounts_list(client->io->shared->accounts, client_is_admin(client) ? NULL : &client->uid,
                      loop_clock_us(), &facts, &n)) {
        fail_memory(request);
        return;
    }
    struct proto_user_row *rows = calloc(n + 1, sizeof(*rows));
    for (size_t i = 0; rows && i < n; i++)
        rows[i] = row_of(&facts[i]);
    free(facts);
    if (!rows) {
        fail_memory(request);
        return;
    }
    qsort(rows, n, sizeof(*rows), by_uid);
    struct proto_broker_users_result result = {.users = {.items = rows, .n_items = n}};
    request_answer(request, &result);
    free(rows);
}
