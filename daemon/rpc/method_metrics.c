/*
 * method_metrics: Broker.Metrics: a message to the control thread, which writes the text, and back.
 */
#include <stdlib.h>

#include "rpc/method.h"
#include "rpc/metrics.h"

struct metrics_call {
    struct mail mail;
    struct io *home;
    struct request *request; /* NULL: nobody waits; touched at home only */
    struct writer text;
};

static void answer(struct request *request, struct writer *text)
{
    struct fault fault;

    request->withdraw = NULL;
    writer_raw(text, "", 1); /* the NUL */
    if (writer_failed(text)) {
        fault_set(&fault, WIRE_ENOBUFS, "Broker.Metrics: out of memory");
        request_fail(request, &fault);
        return;
    }
    struct proto_broker_metrics_result result = {.text = text->data};
    request_answer(request, &result);
}

static void on_back(struct mail *mail)
{
    struct metrics_call *call = container_of(mail, struct metrics_call, mail);
    struct io *home = call->home;

    ASSERT_OWNER(home->loop);
    if (call->request)
        answer(call->request, &call->text);
    writer_deinit(&call->text);
    free(call);
    home->n_away--;
    io_check_drained(home);
}

static void on_there(struct mail *mail)
{
    struct metrics_call *call = container_of(mail, struct metrics_call, mail);

    metrics_write(&call->text, call->home->shared);
    call->mail.deliver = on_back;
    loop_post(call->home->loop, &call->mail);
}

static void withdraw(struct request *request, struct fault *fault)
{
    (void)fault;
    request->op.metrics->request = NULL;
}

void method_broker_metrics(struct request *request)
{
    struct io *io = request->client->io;
    struct metrics_call *call = calloc(1, sizeof(*call));
    struct fault fault;

    if (!call) {
        fault_set(&fault, WIRE_ENOBUFS, "Broker.Metrics: out of memory");
        request_fail(request, &fault);
        return;
    }
    *call = (struct metrics_call){
        .mail = {.deliver = on_there}, .home = io, .request = request, .text = WRITER_INIT};
    request->op.metrics = call;
    request->withdraw = withdraw;
    io->n_away++;
    loop_post(io->shared->control, &call->mail);
}
