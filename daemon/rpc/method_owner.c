/*
 * method_owner: TCPTransfer, TCPOffer, TCPClaim: who a socket belongs to.
 */
#include <errno.h>
#include <stdlib.h>

#include "broker/socket_keep.h"
#include "rpc/errand.h"
#include "rpc/method.h"
#include "rpc/offers.h"
#include "rpc/secure.h"
#include "util/log.h"

static void fail_outcome(struct request *request, enum socket_outcome outcome)
{
    struct fault fault;

    fault_outcome(&fault, outcome, request->socket, request_name(request));
    if (outcome == SOCKET_E_BUSY)
        fault_set(&fault, WIRE_BUSY,
                  "%s: a request is running on socket %u; wait for its answer, or cancel it",
                  request_name(request), request->socket->number);
    request_fail(request, &fault);
}

void method_tcp_transfer(struct request *request)
{
    const struct proto_tcp_transfer_params *params = &request->params.tcp_transfer;
    struct proto_tcp_transfer_result result = {.status = 0};

    if (!request_socket(request, params->socket))
        return;
    if (socket_is_attached(request->socket)) {
        fail_outcome(request, SOCKET_E_ATTACHED);
        return;
    }
    if (socket_idle(request->socket) != SOCKET_OK) {
        fail_outcome(request, SOCKET_E_BUSY);
        return;
    }
    request->socket->owner = label_from(true, &params->to);
    socket_keep_change(request->socket);
    request_answer(request, &result);
}

void method_tcp_offer(struct request *request)
{
    const struct proto_tcp_offer_params *params = &request->params.tcp_offer;
    const struct offer *offer;
    char text[TOKEN_TEXT_SIZE];
    struct fault fault;

    if (!request_is_answered(request) || !request_socket(request, params->socket))
        return;
    int r = offers_make(request->client->io, request_session(request), request->socket,
                        params->timeout_ms, &offer);
    if (r > 0 && r != SOCKET_E_LIMIT) {
        fail_outcome(request, (enum socket_outcome)r);
        return;
    }
    if (r) {
        if (r == SOCKET_E_LIMIT)
            fault_tokens(&fault, &request->client->io->snapshot->settings, "TCPOffer");
        else
            fault_errno(&fault, STAGE_BROKER, -r, "TCPOffer");
        request_fail(request, &fault);
        return;
    }
    log_debug("socket %lld is on offer: session %llu, for %lld ms", (long long)params->socket,
              (unsigned long long)request_session(request)->id, (long long)params->timeout_ms);
    struct proto_tcp_offer_result result = {.token = token_text(&offer->token, text)};
    request_answer(request, &result);
}

/* ---- TCPClaim
 * -------------------------------------------------------------------------------------------------
 *
 * io of the claim    io of the offer
 *   ask          →     take            the socket leaves the offer; other claims wait
 *   adopt        ←
 *   settle       →     settle          claimed, or on offer again
 *   end          ←
 */

struct claim {
    struct errand errand;
    struct offer_wait wait;
    struct token token;
    uid_t uid;
    struct socket *socket; /* at rest, on its way */
};

static void fail_token(struct request *request)
{
    struct fault fault;
    fault_set(&fault, WIRE_BAD_TOKEN,
              "TCPClaim: the token is wrong, was used, has expired, or was made for another user");
    request_fail(request, &fault);
}

static void on_settled(struct errand *errand)
{
    errand_end(errand);
    free(container_of(errand, struct claim, errand));
}

static void settle(struct errand *errand)
{
    struct claim *claim = container_of(errand, struct claim, errand);
    offers_settle(errand->there, claim->token.id, &claim->socket);
}

static void answer_claim(struct request *request, const struct socket *socket)
{
    char remote[ADDRESS_TEXT_MAX], local[ADDRESS_TEXT_MAX];
    const struct address *far = socket_remote(socket), *near = socket_local(socket);
    const struct tls_facts *tls = socket_tls(socket);
    struct proto_tcp_claim_result result = {
        .socket = socket->number,
        .has_remote_address = far != NULL,
        .remote_address = far ? address_text(far, remote, sizeof(remote)) : NULL,
        .has_remote_port = far != NULL,
        .remote_port = far ? address_port(far) : 0,
        .has_local_address = near != NULL,
        .local_address = near ? address_text(near, local, sizeof(local)) : NULL,
        .has_local_port = near != NULL,
        .local_port = near ? address_port(near) : 0,
        .has_tls = tls != NULL,
    };
    if (tls)
        result.tls = secure_facts(tls);
    log_debug("socket %u claimed: session %llu uid %u pid %d", socket->number,
              (unsigned long long)socket->session->id, (unsigned)socket->session->uid,
              (int)socket->session->pid);
    request_answer(request, &result);
}

static void adopt(struct errand *errand)
{
    struct claim *claim = container_of(errand, struct claim, errand);
    struct request *request = errand->request;
    struct socket *socket = claim->socket;
    struct fault fault;

    if (request)
        request->withdraw = NULL;
    if (!socket) {
        bool stopping = errand->stopping;
        on_settled(errand);
        if (request && stopping) {
            fault_set(&fault, WIRE_SHUTTING_DOWN, "TCPClaim: the broker is shutting down");
            request_fail(request, &fault);
        } else if (request) {
            fail_token(request);
        }
        return;
    }
    if (request) {
        int r = session_adopt(request_session(request), &claim->socket, &request->thread);
        if (r == 0) {
            answer_claim(request, socket);
        } else if (r == SESSION_E_FULL) {
            fault_full(&fault, r, &request->client->io->snapshot->settings, "TCPClaim");
            request_fail(request, &fault);
        } else {
            fault_errno(&fault, STAGE_BROKER, -r, "TCPClaim");
            request_fail(request, &fault);
        }
    }
    errand->request = NULL;
    errand_again(errand, settle, on_settled);
}

static void on_other_settled(struct offer_wait *wait, struct socket *socket)
{
    struct claim *claim = container_of(wait, struct claim, wait);
    claim->socket = socket;
    errand_return(&claim->errand);
}

static void take(struct errand *errand)
{
    struct claim *claim = container_of(errand, struct claim, errand);
    int r = offers_take(errand->there, &claim->token, claim->uid, &claim->wait, &claim->socket);
    if (r == OFFERS_E_WAIT)
        errand_stay(errand);
}

static void withdraw_claim(struct request *request, struct fault *fault)
{
    (void)fault;
    request->op.errand->request = NULL;
}

void method_tcp_claim(struct request *request)
{
    struct io *io = request->client->io;
    struct token token;
    struct fault fault;

    if (token_parse(&token, TOKEN_OFFER, request->params.tcp_claim.token) ||
        token.home >= io->shared->n_ios) {
        fail_token(request);
        return;
    }
    struct claim *claim = calloc(1, sizeof(*claim));
    if (!claim) {
        fault_set(&fault, WIRE_ENOBUFS, "TCPClaim: out of memory; the socket is still on offer");
        request_fail(request, &fault);
        return;
    }
    claim->token = token;
    claim->uid = request->client->uid;
    claim->wait.on_settled = on_other_settled;
    claim->errand.request = request;
    request->op.errand = &claim->errand;
    request->withdraw = withdraw_claim;
    errand_start(&claim->errand, io, io->shared->ios[token.home], take, adopt);
}
