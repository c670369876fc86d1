/*
 * method_metrics: Broker.Metrics: a message to the control thread, which writes the text, and back.
 */
#include <stdlib.h>

#include "rpc/consult.h"
#include "rpc/method.h"
#include "rpc/metrics.h"

struct metrics_call {
    struct mail mail;
    struct consult consult; /* its request is touched at home only */
    struct writer text;
};

static void answer(struct request *request, struct writer *text)
{
    struct fault fault;

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
    struct io *home = call->consult.home;
    struct request *request = consult_back(&call->consult);

    if (request)
        answer(request, &call->text);
    writer_deinit(&call->text);
    free(call);
    consult_over(home);
}

static void on_there(struct mail *mail)
{
    struct metrics_call *call = container_of(mail, struct metrics_call, mail);

    metrics_write(&call->text, call->consult.home->shared);
    call->mail.deliver = on_back;
    loop_post(call->consult.home->loop, &call->mail);
}

void method_broker_metrics(struct request *request)
{
    struct metrics_call *call = calloc(1, sizeof(*call));
    struct fault fault;

    if (!call) {
        fault_set(&fault, WIRE_ENOBUFS, "Broker.Metrics: out of memory");
        request_fail(request, &fault);
        return;
    }
    *call = (struct metrics_call){.mail = {.deliver = on_there}, .text = WRITER_INIT};
    consult_control(&call->consult, request, &call->mail);
}
