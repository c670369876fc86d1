/*
 * method_events: Broker.Events.
 */
#include "rpc/method.h"
#include "rpc/subscriptions.h"

static void fail_param(struct request *request, const char *param, const char *expected)
{
    struct fault fault;

    fault_param(&fault, request_name(request), param, expected);
    request_fail(request, &fault);
}

/* false: the request was answered. */
static bool read_classes(struct request *request, unsigned *ret_classes)
{
    const struct proto_broker_events_params *params = &request->params.broker_events;
    unsigned classes = 0;

    *ret_classes = EVENTS_ALL;
    if (!params->has_classes)
        return true;
    for (size_t i = 0; i < params->classes.n_items; i++) {
        unsigned one = event_class_by_word(params->classes.items[i]);
        if (!one) {
            fail_param(request, "classes", "a list of open, close, fail, deny, listen, limit");
            return false;
        }
        classes |= one;
    }
    *ret_classes = classes;
    return true;
}

static void answer(struct request *request, unsigned classes)
{
    const char *words[8];
    size_t n = 0;

    for (unsigned one = 1; one < EVENTS_ALL; one <<= 1)
        if (classes & one)
            words[n++] = event_class_word((enum event_class)one);
    struct proto_broker_events_result result = {.classes = {.items = words, .n_items = n}};
    request_answer(request, &result);
}

/* Whose events may the caller see? false: the request was answered. */
static bool may_see(struct request *request, const struct subscription_wish *wish)
{
    struct fault fault;

    if (subscription_allowed(request->client, wish))
        return true;
    fault_set(&fault, WIRE_EACCES,
              "Broker.Events: only administrators may see events of other users");
    request_fail(request, &fault);
    return false;
}

void method_broker_events(struct request *request)
{
    const struct proto_broker_events_params *params = &request->params.broker_events;
    struct subscription_wish wish = {
        .all = params->all,
        .uid = params->has_uid ? (uid_t)params->uid : request->client->uid,
    };
    struct fault fault;

    if (params->off && (params->has_classes || params->has_uid || params->all)) {
        fail_param(request, "off", "nothing else beside it");
        return;
    }
    if (params->all && params->has_uid) {
        fail_param(request, "uid", "uid or all, one of them");
        return;
    }
    if (params->off) {
        subscription_end(request->client);
        answer(request, 0);
        return;
    }
    if (!read_classes(request, &wish.classes) || !may_see(request, &wish))
        return;
    if (subscription_set(request->client, &wish)) {
        fault_set(&fault, WIRE_ENOBUFS, "Broker.Events: out of memory; nothing was changed");
        request_fail(request, &fault);
        return;
    }
    answer(request, wish.classes);
}
