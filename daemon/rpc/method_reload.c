/*
 * method_reload: Broker.Reload: a message to the control thread and back.
 */
#include <stdlib.h>

#include "rpc/consult.h"
#include "rpc/method.h"
#include "util/log.h"

struct reload_call {
    struct rpc_reload reload;
    struct consult consult; /* nobody waits: the reload goes on */
};

static void answer(struct request *request, const struct rpc_reload *reload)
{
    static const char *const what[] = {"configuration", "certificates"};
    struct proto_broker_reload_result result = {
        .reloaded = {.items = what, .n_items = sizeof(what) / sizeof(what[0])},
        .restart_needed = reload->restart,
    };
    struct fault fault;

    if (reload->generation > 0) {
        request_answer(request, &result);
        return;
    }
    fault_set(&fault, reload->no_memory ? WIRE_ENOBUFS : WIRE_EINVAL,
              "Broker.Reload: nothing has changed: %s", reload->error);
    fault.stage = STAGE_BROKER;
    request_fail(request, &fault);
}

static void on_done(struct mail *mail)
{
    struct rpc_reload *reload = container_of(mail, struct rpc_reload, done);
    struct reload_call *call = container_of(reload, struct reload_call, reload);
    struct io *home = call->consult.home;
    struct request *request = consult_back(&call->consult);

    if (request)
        answer(request, reload);
    free(call);
    consult_over(home);
}

void method_broker_reload(struct request *request)
{
    struct io *io = request->client->io;
    struct reload_call *call = calloc(1, sizeof(*call));
    struct fault fault;

    if (!call) {
        fault_set(&fault, WIRE_ENOBUFS, "Broker.Reload: out of memory; nothing has changed");
        request_fail(request, &fault);
        return;
    }
    log_notice("reload asked for: uid %u pid %d session %llu", (unsigned)request->client->uid,
               (int)request->client->pid, (unsigned long long)request_session(request)->id);
    call->reload.mail.deliver = io->shared->reload;
    call->reload.done.deliver = on_done;
    call->reload.reply_to = io->loop;
    consult_control(&call->consult, request, &call->reload.mail);
}
