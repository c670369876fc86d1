#include "broker/record_log.h"

#include <stdio.h>
#include <string.h>

#include "util/log.h"

/* ---- the journal's fields ---- */

enum { RECORD_FIELDS_MAX = 25, NUMBERS_MAX = 10 };

struct fields {
    struct log_field items[RECORD_FIELDS_MAX];
    size_t n;
    char numbers[NUMBERS_MAX][24];
    size_t n_numbers;
};

static void add(struct fields *fields, const char *name, bool has, const char *value)
{
    if (has)
        fields->items[fields->n++] = (struct log_field){.name = name, .value = value};
}

static void add_number(struct fields *fields, const char *name, bool has, int64_t value)
{
    char *text = fields->numbers[fields->n_numbers];

    if (!has)
        return;
    fields->n_numbers++;
    snprintf(text, sizeof(fields->numbers[0]), "%lld", (long long)value);
    add(fields, name, true, text);
}

static void collect(const struct proto_event *event, struct fields *ret_fields)
{
    bool listens = event->has_kind && strcmp(event->kind, "listen") == 0;

    *ret_fields = (struct fields){.n = 0};
    add(ret_fields, TAG_KIND, event->has_kind, event->kind);
    add_number(ret_fields, TAG_SOCKET, event->has_socket, event->socket);
    add_number(ret_fields, TAG_SESSION, event->has_session, event->session);
    add_number(ret_fields, TAG_UID, event->has_uid, event->uid);
    add_number(ret_fields, TAG_PID, event->has_pid, event->pid);
    add(ret_fields, TAG_CLIENT, event->has_client, event->client);
    add(ret_fields, TAG_TRACE, event->has_trace, event->trace);
    add(ret_fields, TAG_HOST, event->has_hostname, event->hostname);
    add(ret_fields, TAG_ADDRESS, event->has_remote_address, event->remote_address);
    add(ret_fields, TAG_PORT, event->has_port, event->port);
    add_number(ret_fields, TAG_PORT, event->has_remote_port && !listens, event->remote_port);
    add(ret_fields, TAG_TLS, event->has_remote_address, event->has_tls ? event->tls : "none");
    add(ret_fields, TAG_IDENTITY, event->has_identity, event->identity);
    add_number(ret_fields, TAG_BYTES_IN, event->has_bytes_in, event->bytes_in);
    add_number(ret_fields, TAG_BYTES_OUT, event->has_bytes_out, event->bytes_out);
    add_number(ret_fields, TAG_DURATION_US, event->has_duration_ms, event->duration_ms * 1000);
    add(ret_fields, TAG_REASON, event->has_reason, event->reason);
    add(ret_fields, TAG_REASON, !event->has_reason && event->has_message, event->message);
    add(ret_fields, TAG_STAGE, event->has_stage, event->stage);
    add(ret_fields, TAG_ERROR, event->has_symbol, event->symbol);
}

/* ---- the line ---- */

/* A name that a client chose, in quotes; nothing when there is none. */
static const char *quoted(bool has, const char *name, const char *value, char text[96])
{
    text[0] = '\0';
    if (!has)
        return text;
    snprintf(text, 96, " %s \"%s\"", name, value);
    char *start = strchr(text, '"'), *stop = strrchr(text, '"');
    for (char *c = start + 1; c < stop; c++)
        if (*c == '"')
            *c = '\'';
    return text;
}

static void where_text(const struct proto_event *event, char *text, size_t n_text)
{
    bool serves = strcmp(event->kind, "listen") == 0;
    const char *address = serves                      ? event->local_address
                          : event->has_remote_address ? event->remote_address
                                                      : "unknown";

    snprintf(text, n_text, "%s%s%s %s port %lld", event->has_hostname ? "host " : "",
             event->has_hostname ? event->hostname : "",
             event->has_hostname ? " address"
             : serves            ? "serving"
                                 : "accepted from",
             address, (long long)(serves ? event->local_port : event->remote_port));
}

static void tls_text(const struct proto_event *event, char *text, size_t n_text)
{
    if (!event->has_tls)
        snprintf(text, n_text, "no");
    else
        snprintf(text, n_text, "%s%s%s%s%s", event->tls, event->resumed ? " resumed" : "",
                 event->verified ? "" : " unverified", event->has_identity ? " identity " : "",
                 event->has_identity ? event->identity : "");
}

void record_log_close(const struct proto_event *event)
{
    char client[96], trace[96], where[384], tls[128], bytes[64] = "";
    struct fields fields;

    collect(event, &fields);
    where_text(event, where, sizeof(where));
    tls_text(event, tls, sizeof(tls));
    if (event->has_bytes_in)
        snprintf(bytes, sizeof(bytes), "in %lld out %lld ", (long long)event->bytes_in,
                 (long long)event->bytes_out);
    log_event(LOG_INFO_, EVENT_CONNECTION_ENDED, fields.items, fields.n,
              "socket %lld closed: %s session %lld uid %lld pid %lld%s%s %s tls %s%s %sms %lld "
              "ended %s%s%s%s%s",
              (long long)event->socket, event->has_door ? event->door : event->kind,
              (long long)event->session, (long long)event->uid, (long long)event->pid,
              quoted(event->has_client, "client", event->client, client),
              quoted(event->has_trace, "trace", event->trace, trace), where, tls,
              event->has_pooled ? " pooled" : "", bytes, (long long)event->duration_ms,
              event->reason, event->has_attached ? " attached " : "",
              event->has_attached ? event->attached : "", event->has_message ? ": " : "",
              event->has_message ? event->message : "");
}

void record_log_fail(const struct proto_event *event, const struct record_failure *failure)
{
    bool denied = failure->stage == STAGE_POLICY;
    char client[96], trace[96], rule[512], more[64] = "";
    struct fields fields;

    collect(event, &fields);
    if (failure->rule_line)
        snprintf(rule, sizeof(rule), "%s:%zu", failure->rule_file, failure->rule_line);
    else
        snprintf(rule, sizeof(rule), "%s", failure->rule_file ? failure->rule_file : "");
    add(&fields, TAG_RULE, failure->rule_file != NULL, rule);
    if (failure->n_silent)
        snprintf(more, sizeof(more), " (%u more since the last such line)", failure->n_silent);
    log_event(LOG_INFO_, denied ? EVENT_POLICY_DENIED : EVENT_CONNECTION_FAILED, fields.items,
              fields.n, "%s %s: session %lld uid %lld pid %lld: %s [%s] stage %s ms %lld%s%s%s",
              failure->what, denied ? "denied" : "failed", (long long)event->session,
              (long long)event->uid, (long long)event->pid, event->message, event->symbol,
              event->stage, (long long)event->duration_ms,
              quoted(event->has_client, "client", event->client, client),
              quoted(event->has_trace, "trace", event->trace, trace), more);
}
