/*
 * fault_write: a fault as the error object of an answer (see fault.h).
 */
#include <netdb.h>
#include <string.h>

#include "rpc/explain.h"
#include "rpc/fault.h"

static const char *gai_name(int gai)
{
    switch (gai) {
#define NAME(code)                                                                                 \
    case code:                                                                                     \
        return #code;
        NAME(EAI_ADDRFAMILY)
        NAME(EAI_AGAIN)
        NAME(EAI_BADFLAGS)
        NAME(EAI_FAIL)
        NAME(EAI_FAMILY)
        NAME(EAI_IDN_ENCODE)
        NAME(EAI_MEMORY)
        NAME(EAI_NODATA)
        NAME(EAI_NONAME)
        NAME(EAI_OVERFLOW)
        NAME(EAI_SERVICE)
        NAME(EAI_SOCKTYPE)
        NAME(EAI_SYSTEM)
#undef NAME
    default:
        return "EAI_UNKNOWN";
    }
}

static void fill_tls(struct proto_error_data *data, const struct net_error *net)
{
    struct proto_tls_failure *tls = &data->tls;

    data->has_tls = true;
    tls->has_verify_code = tls->has_verify_text = tls->has_depth = net->cause == NET_TLS_VERIFY;
    tls->verify_code = net->verify_code;
    tls->verify_text = net->verify_text;
    tls->depth = net->verify_depth;
    tls->has_subject = net->subject[0] != '\0';
    tls->subject = net->subject;
    tls->has_issuer = net->issuer[0] != '\0';
    tls->issuer = net->issuer;
    tls->has_alert = net->alert[0] != '\0';
    tls->alert = net->alert;
    tls->has_library = net->library[0] != '\0';
    tls->library = net->library;
}

static const char *errno_name(int sys_errno)
{
    const char *name = strerrorname_np(sys_errno);
    return name ? name : "unknown";
}

void fault_write(struct writer *writer, const struct proto_id *id, const struct fault *fault)
{
    struct explain_attempts attempts;
    const struct net_error *net = fault->net;
    struct proto_error_object object = {
        .code = error_infos[fault->error].code,
        .message = fault->message,
        .has_data = true,
    };
    struct proto_error_data *data = &object.data;

    data->symbol = error_infos[fault->error].symbol;
    data->stage = error_stage_name(fault->stage);
    data->retryable = fault->retryable;
    data->has_param = fault->param[0] != '\0';
    data->param = fault->param;
    data->has_expected = fault->expected[0] != '\0';
    data->expected = fault->expected;
    data->has_limit = fault->limit != NULL;
    data->limit = fault->limit;
    data->has_limit_value = fault->limit && fault->limit_value > 0;
    data->limit_value = fault->limit_value;
    data->has_owner = fault->has_owner && label_to(&fault->owner, &data->owner);
    data->has_sent = fault->sent >= 0;
    data->sent = fault->sent;
    data->has_position = fault->position >= 0;
    data->position = fault->position;
    data->has_gai = fault->gai != 0;
    data->gai = fault->gai ? gai_name(fault->gai) : NULL;
    data->has_rule = data->has_file = fault->rule != NULL;
    data->rule = fault->rule;
    data->file = fault->rule_file;
    data->has_line = fault->rule_line > 0;
    data->line = (int64_t)fault->rule_line;
    data->has_preset = fault->preset != NULL;
    data->preset = fault->preset;
    int sys_errno = fault->sys_errno ? fault->sys_errno : net ? net->sys_errno : 0;
    data->has_sys_errno = sys_errno != 0;
    data->sys_errno = sys_errno ? errno_name(sys_errno) : NULL;
    data->has_retry_after_ms = data->has_until = fault->retry_after_ms > 0;
    data->retry_after_ms = fault->retry_after_ms;
    data->until = fault->until;
    if (net && net->n_attempts > 0) {
        data->has_attempts = true;
        data->attempts = explain_attempts(net, &attempts);
    }
    if (net && net->cause >= NET_TLS_HANDSHAKE)
        fill_tls(data, net);
    struct explain *explain = fault->explain ? explain_new(fault->explain) : NULL;
    if (explain)
        explain_failure(explain, data);
    message_error(writer, id, &object);
    explain_free(explain);
}
