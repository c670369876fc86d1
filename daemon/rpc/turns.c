#include "rpc/turns.h"

#include "rpc/client_in.h"
#include "rpc/shares.h"

/* Of this round. */
static struct account_turn *turn_of(const struct client *client)
{
    struct account_turn *turn = &client->session->share->turn;
    uint64_t round = client->io->turns.round;

    if (turn->round != round) {
        turn->round = round;
        turn->n_units = 0;
        turn->used_us = 0;
    }
    return turn;
}

static bool is_over(const struct turns *turns, const struct account_turn *turn)
{
    return turn->round == turns->round && turn->used_us >= TURN_US && !turns->off;
}

bool turns_over(const struct client *client)
{
    return is_over(&client->io->turns, &client->session->share->turn);
}

void turns_count(const struct client *client, size_t n_bytes)
{
    struct turns *turns = &client->io->turns;
    struct account_turn *turn = turn_of(client);

    turn->n_units += 1 + (unsigned)(n_bytes / TURN_UNIT_BYTES);
    if (turn->n_units < TURN_UNITS)
        return;
    int64_t now_us = loop_clock_us();
    if (turns->since_us)
        turn->used_us += now_us - turns->since_us;
    turns->since_us = now_us;
    turn->n_units = 0;
}

static void go_on_later(struct io *io)
{
    if (io->turns.posted)
        return;
    io->turns.posted = true;
    loop_post(io->loop, &io->turns.next);
}

void turns_wait(struct client *client)
{
    struct io *io = client->io;
    struct account_turn *turn = turn_of(client);

    ASSERT_OWNER(io->loop);
    if (list_linked(&client->waiting))
        return;
    list_append(&turn->clients, &client->waiting);
    if (!list_linked(&turn->link))
        list_append(&io->turns.line, &turn->link);
    go_on_later(io);
}

bool turns_may(struct client *client)
{
    const struct turns *turns = &client->io->turns;
    const struct account_turn *turn = turn_of(client);

    ASSERT_OWNER(client->io->loop);
    if (turns->off || (list_empty(&turn->clients) && !is_over(turns, turn)))
        return true;
    turns_wait(client);
    return false;
}

void turns_leave(struct client *client)
{
    list_remove(&client->waiting);
}

/* One user after the other. What has not fit into a turn waits on. */
static void call_all(struct io *io)
{
    struct turns *turns = &io->turns;
    struct list line = LIST_INIT(line);

    if (!turns->since_us)
        turns->since_us = loop_clock_us();
    list_splice(&line, &turns->line);
    for (struct list *link; (link = list_pop(&line));) {
        struct account_turn *turn = container_of(link, struct account_turn, link);
        struct account_share *share = container_of(turn, struct account_share, turn);
        share->n_users++; /* its last client may end in its turn */
        while (!is_over(turns, turn) && !list_empty(&turn->clients))
            client_take_turn(container_of(list_pop(&turn->clients), struct client, waiting));
        if (!list_empty(&turn->clients) && !list_linked(&turn->link))
            list_append(&turns->line, &turn->link);
        shares_put(io, share);
    }
    if (!list_empty(&turns->line))
        go_on_later(io);
}

static void on_next(struct mail *mail)
{
    struct io *io = container_of(mail, struct io, turns.next);

    io->turns.posted = false;
    call_all(io);
}

void turns_init(struct turns *turns)
{
    turns->round = 1; /* who has been served in none has 0 */
    list_init(&turns->line);
    turns->next.deliver = on_next;
}

void turns_end_round(struct turns *turns)
{
    turns->round++;
    turns->since_us = 0;
}

void turns_stop(struct io *io)
{
    ASSERT_OWNER(io->loop);
    io->turns.off = true;
    call_all(io);
}
