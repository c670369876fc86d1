/*
 * method_ping: TCPPing: a look-up when there is a name, then one ICMP echo on the io thread.
 */
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/stats.h"
#include "net/ping.h"
#include "rpc/job.h"
#include "rpc/method.h"
#include "rpc/pace.h"
#include "rpc/police.h"

enum { PING_E_LIMIT = 1000 }; /* beside those of ping_new() */

struct echo {
    struct request *request;
    struct account_charge charge;
    struct ping *ping;
    struct address address;
};

static void describe(const struct request *request, char *text, size_t n_text)
{
    snprintf(text, n_text, "TCPPing to %s", request->params.tcp_ping.hostname);
}

static void end_echo(struct request *request)
{
    struct echo *echo = request->op.echo;

    request->op.echo = NULL;
    request->withdraw = NULL;
    echo->ping = ping_free(echo->ping);
    account_discharge(&echo->charge);
    free(echo);
}

static void withdraw_echo(struct request *request, struct fault *fault)
{
    (void)fault;
    end_echo(request);
}

static void on_end(void *context, int sys_errno, int64_t took_us)
{
    struct echo *echo = context;
    struct request *request = echo->request;
    struct address address = echo->address;
    char text[ADDRESS_TEXT_MAX], what[320];
    struct fault fault;

    end_echo(request);
    if (sys_errno) {
        describe(request, what, sizeof(what));
        fault_errno(&fault, STAGE_CONNECT, sys_errno, what);
        request_fail(request, &fault);
        return;
    }
    struct proto_tcp_ping_result result = {.milliseconds = (double)took_us / 1000,
                                           .address = address_text(&address, text, sizeof(text))};
    stats_count(pings);
    request_answer(request, &result);
}

static void on_echo_deadline(struct request *request)
{
    struct fault fault;
    char text[ADDRESS_TEXT_MAX];

    (void)address_text(&request->op.echo->address, text, sizeof(text));
    fault_set(&fault, WIRE_PING_TIMEOUT,
              "TCPPing to %s (%s): no echo came within %lld ms; is the host up, does a firewall "
              "drop ICMP?",
              request->params.tcp_ping.hostname, text,
              (long long)(loop_clock_us() - request->started_us) / 1000);
    end_echo(request);
    request_fail(request, &fault);
}

static void fail_ping(struct request *request, int r)
{
    const struct account_limits *limits = request_session(request)->room->limits;
    struct fault fault;
    char what[320];

    describe(request, what, sizeof(what));
    if (r == PING_E_LIMIT)
        fault_limit(&fault, WIRE_LIMIT, "limits.pings_per_user", limits->quotas[ACCOUNT_PINGS],
                    "%s: %lld pings of this user are running, which is the limit; wait for answers",
                    what, (long long)limits->quotas[ACCOUNT_PINGS]);
    else if (r == PING_E_NOT_PERMITTED)
        fault_set(&fault, WIRE_PING_NEEDS_PRIV,
                  "%s: the kernel does not let the broker send ICMP echo; its group must be within "
                  "net.ipv4.ping_group_range (sysctl)",
                  what);
    else
        fault_errno(&fault, r == -ENOMEM || r == -EMFILE ? STAGE_BROKER : STAGE_CONNECT, -r, what);
    request_fail(request, &fault);
}

static void send_echo(struct request *request, const struct address *address)
{
    const struct proto_tcp_ping_params *params = &request->params.tcp_ping;
    int64_t left_ms = params->timeout - (loop_clock_us() - request->started_us) / 1000;
    struct account *account = request_session(request)->share->account;

    struct echo *echo = calloc(1, sizeof(*echo));
    if (!echo) {
        fail_ping(request, -ENOMEM);
        return;
    }
    echo->request = request;
    echo->address = *address;
    /* one that has no place takes nothing from the rate */
    if (account_charge(account, ACCOUNT_PINGS, request_session(request)->room->limits,
                       &echo->charge)) {
        free(echo);
        fail_ping(request, PING_E_LIMIT);
        return;
    }
    if (!pace_request(request, ACCOUNT_PINGING)) {
        account_discharge(&echo->charge);
        free(echo);
        return;
    }
    int r = ping_new(&echo->ping, request->client->io->loop, address, (size_t)params->size, on_end,
                     echo);
    if (r) {
        account_discharge(&echo->charge);
        free(echo);
        fail_ping(request, r);
        return;
    }
    request->op.echo = echo;
    request->withdraw = withdraw_echo;
    request->on_deadline = on_echo_deadline;
    /* when it fails the request was answered */
    (void)!request_deadline(request, left_ms > 0 ? left_ms : 0);
}

static void ask(const struct request *request, const char *host, struct police *police)
{
    police_request(police, request);
    police_host(police, host);
    police->question.no_address_yet = true;
}

/* The policy leaves out addresses that it denies. */
static bool passes(const struct request *request, const char *host, struct address *addresses,
                   size_t *n, struct fault *ret_fault)
{
    struct police police;
    char what[320];

    if (!police_concerns(request->client->io->snapshot->policy, METHOD_TCP_PING))
        return true;
    describe(request, what, sizeof(what));
    ask(request, host, &police);
    return police_addresses(&police, addresses, n, what, ret_fault);
}

static bool may_pass(const struct request *request, const char *host, struct fault *ret_fault)
{
    struct police police;
    char what[320];

    if (!police_concerns(request->client->io->snapshot->policy, METHOD_TCP_PING))
        return true;
    describe(request, what, sizeof(what));
    ask(request, host, &police);
    return police_passes(&police, what, ret_fault);
}

static void on_lookup(struct request *request, struct lookup *lookup)
{
    struct fault fault;
    char what[320];

    job_done(request);
    if (lookup->gai) {
        describe(request, what, sizeof(what));
        fault_gai(&fault, lookup->gai, lookup->sys_errno, what, lookup->host, "");
        request_fail(request, &fault);
    } else if (!passes(request, lookup->host, lookup->addresses, &lookup->n_addresses, &fault)) {
        request_fail(request, &fault);
    } else {
        send_echo(request, &lookup->addresses[0]);
    }
    lookup_free(lookup);
}

void method_tcp_ping(struct request *request)
{
    const struct proto_tcp_ping_params *params = &request->params.tcp_ping;
    struct address literal;
    struct fault fault;
    char host[256];
    size_t n = 1;

    method_strip_brackets(params->hostname, host, sizeof(host));
    if (address_parse(&literal, params->hostname, 0) == 0) {
        if (passes(request, host, &literal, &n, &fault))
            send_echo(request, &literal);
        else
            request_fail(request, &fault);
        return;
    }
    if (!may_pass(request, host, &fault)) {
        request_fail(request, &fault);
        return;
    }
    struct lookup *lookup = calloc(1, sizeof(*lookup));
    if (lookup) {
        lookup->kind = LOOKUP_ADDRESSES;
        lookup->family = AF_UNSPEC;
        snprintf(lookup->host, sizeof(lookup->host), "%s", host);
    }
    (void)method_look_up(request, lookup, true, params->timeout, on_lookup);
}
