#include "rpc/report.h"

#include "broker/stats.h"

/* Of the connection that it is about; NULL: another request. */
static const char *kind_of(enum method method)
{
    switch (method) {
    case METHOD_TCP_CONNECT:
        return "connect";
    case METHOD_TCP_ACCEPT:
        return "accept";
    case METHOD_TCP_BIND:
    case METHOD_TCP_LISTEN:
        return "listen";
    default:
        return NULL;
    }
}

/* denials: of the user, when that many lines of the log are to be kept from him; else NULL. */
static void report(const struct request *request, const struct fault *fault, struct seldom *denials)
{
    unsigned n_silent = 0;
    bool connects = request->call->method == METHOD_TCP_CONNECT;
    const struct proto_tcp_connect_params *params = connects ? &request->params.tcp_connect : NULL;
    const char *kind = kind_of(request->call->method);
    int64_t now_us = loop_clock_us();
    bool no_line = denials && !seldom_now(denials, now_us, &n_silent);

    record_fail(&(struct record_failure){
        .events = request->client->io->room.events,
        .session = request_session(request),
        .what = kind ? kind : request_name(request),
        .kind = kind,
        .trace = connects && params->has_trace ? params->trace : NULL,
        .hostname = connects ? params->hostname : NULL,
        .port = connects ? params->port : NULL,
        .stage = fault->stage,
        .code = error_infos[fault->error].code,
        .symbol = error_infos[fault->error].symbol,
        .message = fault->message,
        .took_us = now_us - request->started_us,
        .rule_file = fault->rule_file,
        .rule_line = fault->rule_line,
        .no_line = no_line,
        .n_silent = n_silent,
    });
}

void report_failure(const struct request *request, const struct fault *fault)
{
    struct fault gone;

    if (!fault)
        fault_set(&gone, WIRE_EINTR, "%s: the client has gone meanwhile", request_name(request));
    report(request, fault ? fault : &gone, NULL);
}

void report_denied(const struct request *request, const struct fault *fault)
{
    /* connects are paced before they are judged: each has its line; others come as fast as they
     * can be written */
    if (fault->stage == STAGE_POLICY)
        report(request, fault,
               request->call->method == METHOD_TCP_CONNECT
                   ? NULL
                   : &request_session(request)->share->account->denials);
}

void report_limit(const struct client *client, const struct fault *fault)
{
    if (client->session)
        record_limit(&(struct record_limit){
            .events = client->io->room.events,
            .session = client->session,
            .limit = fault->limit,
            .value = fault->limit_value,
            .stage = fault->stage,
            .code = error_infos[fault->error].code,
            .symbol = error_infos[fault->error].symbol,
            .message = fault->message,
        });
}

void report_count(const struct fault *fault)
{
    stats_count(connects_failed);
    if (fault->error == WIRE_ETIMEDOUT)
        stats_count(connects_timed_out);
    if (fault->stage == STAGE_TLS)
        stats_count(handshakes_failed);
    if (fault->net && fault->net->backed_off)
        stats_count(connects_backed_off);
}

bool report_printable(const char *text)
{
    while (*text >= 0x20 && *text < 0x7f)
        text++;
    return *text == '\0';
}
