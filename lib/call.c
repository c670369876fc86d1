#include "lib/call.h"

#include "lib/error.h"
#include "lib/label.h"
#include "lib/request.h"

int call_check(struct tcpb *broker, struct tcpb_error *error)
{
    if (!broker)
        return error_local(error, TCPB_LOCAL_ARGUMENT, 0, "there is no connection (NULL)");
    if (broker->generation != label_generation())
        return error_local(error, TCPB_LOCAL_FORKED, 0,
                           "the connection belongs to the parent process: open one in the child");
    return 0;
}

int64_t call_next_id(struct tcpb *broker)
{
    return atomic_fetch_add_explicit(&broker->last_id, 1, memory_order_relaxed) + 1;
}

/* Send the line and wait. Takes the reply over: it is in *ret_reply or freed. */
static int converse(struct tcpb *broker, struct tcpb_reply *reply, const struct writer *line,
                    struct tcpb_reply **ret_reply, struct tcpb_error *error)
{
    pthread_cond_t wakeup = PTHREAD_COND_INITIALIZER;
    struct pending pending = {.reply = reply, .wakeup = &wakeup};
    int cancel_state;

    /* a thread cancelled here would leave its pending, on its stack, to the others */
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel_state);
    pthread_mutex_lock(&broker->lock);
    int r = connection_send(broker, &pending, line, error);
    if (r == 0) {
        connection_wait(broker, &pending);
        if (!pending.answered)
            r = error_copy(error, &broker->failure);
    }
    pthread_mutex_unlock(&broker->lock);
    pthread_setcancelstate(cancel_state, &cancel_state);
    pthread_cond_destroy(&wakeup);

    if (r == 0)
        r = reply_read(reply, error);
    if (r)
        tcpb_reply_free(reply);
    else
        *ret_reply = reply;
    return r;
}

int call_exchange(struct tcpb *broker, const char *method, const char *params, bool labelled,
                  struct tcpb_reply **ret_reply, struct tcpb_error *error)
{
    int r = call_check(broker, error);
    if (r)
        return r;
    int64_t id = call_next_id(broker);
    struct writer line = WRITER_INIT;
    r = request_raw(&line, id, method, params, labelled, error);
    if (r == 0) {
        struct tcpb_reply *reply = reply_new(id, method_by_name(method)), *answered = NULL;
        r = reply ? converse(broker, reply, &line, &answered, error) : error_memory(error);
        if (r == 0 && ret_reply)
            *ret_reply = answered;
        else
            tcpb_reply_free(answered);
    }
    writer_deinit(&line);
    return r;
}

int tcpb_exchange(struct tcpb *broker, const char *method, const char *params,
                  struct tcpb_reply **ret_reply, struct tcpb_error *error)
{
    return call_exchange(broker, method, params, true, ret_reply, error);
}

int tcpb_call(struct tcpb *broker, const char *method, const char *params,
              struct tcpb_reply **ret_reply, struct tcpb_error *error)
{
    struct tcpb_reply *reply = NULL;
    struct tcpb_error failure;
    int r = tcpb_exchange(broker, method, params, &reply, error);
    if (r)
        return r;
    if (tcpb_reply_failed(reply, &failure)) {
        tcpb_reply_free(reply);
        return error_copy(error, &failure);
    }
    if (ret_reply)
        *ret_reply = reply;
    else
        tcpb_reply_free(reply);
    return 0;
}

/* What the wrapper's caller wants to have of the reply. */
static int give_typed(struct tcpb_reply *reply, struct tcpb_reply **ret_reply,
                      const void **ret_result, struct tcpb_error *error)
{
    struct tcpb_error failure;
    const void *result = NULL;
    int r = 0;
    if (tcpb_reply_failed(reply, &failure))
        r = error_copy(error, &failure);
    else if (ret_result)
        r = reply_result(reply, &result, error);
    if (r || !ret_reply) {
        tcpb_reply_free(reply);
        return r;
    }
    *ret_reply = reply;
    if (ret_result)
        *ret_result = result;
    return 0;
}

int call_typed(struct tcpb *broker, enum method method, const void *params,
               struct tcpb_reply **ret_reply, const void **ret_result, struct tcpb_error *error)
{
    int r = call_check(broker, error);
    if (r)
        return r;
    if (ret_result && !ret_reply)
        return error_local(error, TCPB_LOCAL_ARGUMENT, 0,
                           "a result lives in its reply: ret_reply must not be NULL");
    int64_t id = call_next_id(broker);
    struct writer line = WRITER_INIT;
    r = request_typed(&line, id, method, params, error);
    if (r == 0) {
        struct tcpb_reply *reply = reply_new(id, method), *answered = NULL;
        r = reply ? converse(broker, reply, &line, &answered, error) : error_memory(error);
        if (r == 0)
            r = give_typed(answered, ret_reply, ret_result, error);
    }
    writer_deinit(&line);
    return r;
}
