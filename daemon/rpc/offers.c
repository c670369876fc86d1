#include "rpc/offers.h"

#include <errno.h>
#include <stdlib.h>

#include "broker/socket_force.h"
#include "broker/stats.h"

/* Nobody's socket leaves the table. */
static void close_socket_by(struct offer *offer, enum socket_close_option option,
                            enum record_end why)
{
    struct socket *socket = offer->socket;

    record_ends(socket, why);
    record_close(socket, offer->io->room.events);
    table_release(offer->io->room.table, socket->number);
    (void)stats_sub(sockets, 1);
    offer->socket = socket_force_resting(socket, option);
}

static void close_socket(struct offer *offer, enum record_end why)
{
    close_socket_by(offer, SOCKET_CLOSE_COMPLETE, why);
}

static void end(struct offer *offer)
{
    struct io *io = offer->io;
    struct session *session = map_get(&io->sessions, offer->session);

    ASSERT(!offer->socket);
    for (struct list *link; (link = list_pop(&offer->waiting));) {
        struct offer_wait *wait = container_of(link, struct offer_wait, link);
        wait->on_settled(wait, NULL);
    }
    if (session)
        session_offer_ended(session);
    timers_stop(&io->loop->timers, &offer->deadline);
    void *removed = map_remove(&io->offers, offer->token.id);
    ASSERT(removed == offer);
    account_discharge(&offer->charge);
    free(offer);
    (void)stats_sub(offers, 1);
}

static void on_deadline(struct timer *timer)
{
    struct offer *offer = container_of(timer, struct offer, deadline);

    if (!offer->socket) { /* somebody is claiming it right now */
        offer->expired = true;
        return;
    }
    stats_count(offers_expired);
    close_socket(offer, RECORD_END_OFFER_EXPIRED);
    end(offer);
}

int offers_make(struct io *io, struct session *session, struct socket *socket, int64_t timeout_ms,
                const struct offer **ret_offer)
{
    ASSERT_OWNER(io->loop);
    struct offer *offer = calloc(1, sizeof(*offer));
    if (!offer)
        return -ENOMEM;
    offer->io = io;
    offer->uid = session->uid;
    offer->session = session->id;
    list_init(&offer->waiting);
    int r = account_charge(session->share->account, ACCOUNT_TOKENS, io->room.limits, &offer->charge)
                ? (int)SOCKET_E_LIMIT
                : token_new(&offer->token, TOKEN_OFFER, io->index, ++io->n_offers_made);
    if (r == 0)
        r = map_put(&io->offers, offer->token.id, offer);
    if (r) {
        account_discharge(&offer->charge);
        free(offer);
        return r;
    }
    r = timers_start(&io->loop->timers, &offer->deadline, (uint64_t)timeout_ms, on_deadline);
    if (r == 0)
        r = (int)session_yield(session, &socket);
    if (r) {
        timers_stop(&io->loop->timers, &offer->deadline);
        (void)map_remove(&io->offers, offer->token.id);
        account_discharge(&offer->charge);
        free(offer);
        return r;
    }
    offer->socket = socket;
    stats_count(offers);
    *ret_offer = offer;
    return 0;
}

int offers_take(struct io *io, const struct token *token, uid_t uid, struct offer_wait *wait,
                struct socket **ret_socket)
{
    ASSERT_OWNER(io->loop);
    struct offer *offer = token->id ? map_get(&io->offers, token->id) : NULL;
    if (!offer || offer->uid != uid || !token_equal(&offer->token, token))
        return OFFERS_E_NONE;
    if (!offer->socket) {
        list_append(&offer->waiting, &wait->link);
        return OFFERS_E_WAIT;
    }
    *ret_socket = offer->socket;
    offer->socket = NULL;
    return 0;
}

void offers_settle(struct io *io, uint64_t id, struct socket **socket)
{
    ASSERT_OWNER(io->loop);
    struct offer *offer = map_get(&io->offers, id);
    ASSERT(offer && !offer->socket);
    if (*socket && !offer->expired && io->state == IO_RUNNING) {
        struct list *next = list_pop(&offer->waiting);
        if (next) {
            struct offer_wait *wait = container_of(next, struct offer_wait, link);
            wait->on_settled(wait, *socket);
        } else {
            offer->socket = *socket;
        }
        *socket = NULL;
        return;
    }
    offer->socket = *socket;
    *socket = NULL;
    if (offer->socket) {
        if (offer->expired)
            stats_count(offers_expired);
        close_socket(offer, offer->expired ? RECORD_END_OFFER_EXPIRED : RECORD_END_STOPPED);
    }
    end(offer);
}

struct offer *offers_find(const struct io *io, uint32_t number)
{
    struct offer *offer;

    ASSERT_OWNER(io->loop);
    for (size_t i = 0; (offer = map_next(&io->offers, &i, NULL));)
        if (offer->socket && offer->socket->number == number)
            return offer;
    return NULL;
}

void offers_close(struct offer *offer, enum socket_close_option option)
{
    ASSERT_OWNER(offer->io->loop);
    close_socket_by(offer, option, RECORD_END_ADMINISTRATOR);
    end(offer);
}

void offers_drain(struct io *io)
{
    ASSERT_OWNER(io->loop);
    for (;;) {
        struct offer *offer, *waiting = NULL;
        for (size_t i = 0; !waiting && (offer = map_next(&io->offers, &i, NULL));)
            if (offer->socket)
                waiting = offer;
        if (!waiting)
            return; /* what is taken settles */
        close_socket(waiting, RECORD_END_STOPPED);
        end(waiting);
    }
}
