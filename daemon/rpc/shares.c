#include "rpc/shares.h"

#include "broker/stats.h"
#include "util/log.h"

static uint64_t key_of(uid_t uid)
{
    return (uint64_t)uid + 1;
}

int shares_get(struct io *io, uid_t uid, struct account_share **ret_share)
{
    ASSERT_OWNER(io->loop);
    struct account_share *share = map_get(&io->shares, key_of(uid));
    if (share) {
        share->n_users++;
        *ret_share = share;
        return 0;
    }
    int r = account_share_new(&share, io->shared->accounts, uid, loop_clock_us());
    if (r)
        return r;
    r = map_put(&io->shares, key_of(uid), share);
    if (r) {
        share->n_users = 0;
        account_share_free(share, io->shared->accounts);
        return r;
    }
    *ret_share = share;
    return 0;
}

struct account_share *shares_put(struct io *io, struct account_share *share)
{
    if (!share)
        return NULL;
    ASSERT_OWNER(io->loop);
    ASSERT(share->n_users > 0);
    if (--share->n_users > 0)
        return NULL;
    void *removed = map_remove(&io->shares, key_of(share->account->uid));
    ASSERT(removed == share);
    return account_share_free(share, io->shared->accounts);
}

void shares_turn_away(struct account_share *share, enum account_quota quota,
                      const struct account_limits *limits, const char *what, uid_t uid, pid_t pid)
{
    unsigned n_silent = 0;

    if (quota == ACCOUNT_CLIENTS)
        stats_count(refused_clients_per_user);
    else
        stats_count(refused_passages_per_user);
    if (!share) {
        static struct seldom warnings;
        if (seldom_now(&warnings, loop_clock_us(), &n_silent))
            log_warning(
                "%s of uid %d pid %d turned away: too many users are here (%u more since the "
                "last warning)",
                what, (int)uid, (int)pid, n_silent);
        return;
    }
    account_refused(share->account);
    if (!seldom_now(&share->account->warnings, loop_clock_us(), &n_silent))
        return;
    char uid_text[24], pid_text[24];
    const char *limit =
        quota == ACCOUNT_CLIENTS ? "limits.clients_per_user" : "limits.passages_per_user";
    const struct log_field fields[] = {
        {TAG_UID, uid_text}, {TAG_PID, pid_text}, {TAG_LIMIT, limit}};
    snprintf(uid_text, sizeof(uid_text), "%d", (int)uid);
    snprintf(pid_text, sizeof(pid_text), "%d", (int)pid);
    log_event(LOG_WARNING_, EVENT_LIMIT_REACHED, fields, 3,
              "%s of uid %s pid %s turned away: %s is %lld (%u more since the last warning)", what,
              uid_text, pid_text, limit, (long long)limits->quotas[quota], n_silent);
}
