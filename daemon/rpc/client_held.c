#include "rpc/client_held.h"

#include "rpc/client_out.h"
#include "rpc/request.h"
#include "util/log.h"

/* Descriptors that wait to be sent; with more of them no requests are read. */
enum { FDS_WAITING_MAX = 64 };

void client_count_bytes(struct client *client, size_t n)
{
    size_t n_before = client->n_counted;

    client->n_counted = n;
    if (n > n_before)
        account_share_force(client->session->share, ACCOUNT_BYTES, (int64_t)(n - n_before));
    else if (n < n_before)
        account_share_give(client->session->share, ACCOUNT_BYTES, (int64_t)(n_before - n));
}

bool client_is_hoarding(const struct client *client, size_t n, int64_t quarters)
{
    const struct account_limits *limits = client->io->room.limits;

    return n > CLIENT_BUFFERS_FREE &&
           account_share_excess(client->session->share, ACCOUNT_BYTES, limits) >=
               limits->meters[ACCOUNT_BYTES] * quarters / 4;
}

void client_collect(struct client *client, size_t n)
{
    ASSERT_OWNER(client->io->loop);
    account_share_force(client->session->share, ACCOUNT_BYTES, (int64_t)n);
    client->n_collected += n;
    if (client_is_hoarding(client, client->n_collected, 1))
        client_doom(client);
}

void client_uncollect(struct client *client, size_t n)
{
    ASSERT_OWNER(client->io->loop);
    ASSERT(n <= client->n_collected);
    client->n_collected -= n;
    account_share_give(client->session->share, ACCOUNT_BYTES, (int64_t)n);
}

bool client_hoards_batches(const struct client *client)
{
    return client_is_hoarding(client, client->n_collected, 0);
}

void client_update_paused(struct client *client)
{
    size_t limit = client->io->snapshot->settings.unread_answers;

    if (client->out.n_data > CLIENT_BUFFERS_FREE && limit > CLIENT_BUFFERS_FREE) {
        client_count_bytes(client, client->out.n_data);
        if (client_is_hoarding(client, client->n_counted, 0))
            limit = CLIENT_BUFFERS_FREE;
    }
    bool paused = client->paused
                      ? client->out.n_data > limit / 2 || client->fds.n > FDS_WAITING_MAX / 2
                      : client->out.n_data > limit || client->fds.n > FDS_WAITING_MAX;

    if (paused == client->paused)
        return;
    client->paused = paused;
    log_debug("session %llu: %s", (unsigned long long)client->session->id,
              paused ? "does not read its answers, paused" : "goes on");
    /* answering a request may end it, but never another one, and frees no socket */
    if (!paused)
        list_for_each_safe (link, &client->requests)
            request_poke(container_of(link, struct request, link));
}
