#include "rpc/pool_keeper.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/stats.h"
#include "rpc/fault.h"
#include "rpc/police.h"
#include "util/log.h"

/* One connection that is being made. */
struct making {
    struct list link;
    struct pool_keeper *keeper;
    struct rpc_snapshot *snapshot; /* a reference */
    const struct pool *pool;       /* of that */
    size_t index;                  /* of the pool */
    uid_t uid;
    struct lookup *lookup; /* under way; or */
    struct dial *dial;     /* under way, or prepared */
    bool cancelled;
};

struct pool_keeper {
    struct rpc_shared *shared;
    struct rpc_snapshot *snapshot; /* NULL: there are no pools */
    bool paused, stopped;
    enum shelf_trouble *told; /* for each pool, what the log was told last */
    struct list makings;
    struct timer timer;
    uint64_t looked_ms; /* at what rests, last; on the loop's clock */
    struct mail wake;
    atomic_bool woken; /* the mail is under way */
};

static void look_after(struct pool_keeper *keeper);

/* ---- what the log is told ---- */

static const char *address_of(const struct pool *pool, char *text, size_t n_text)
{
    char literal[ADDRESS_TEXT_MAX];
    snprintf(text, n_text, "%s port %u",
             *pool->host ? pool->host : address_text(&pool->address, literal, sizeof(literal)),
             (unsigned)pool->port);
    return text;
}

/* One line when it begins, one when it is over. */
static void tell(struct pool_keeper *keeper, size_t index, const char *why)
{
    const struct pool *pool = &keeper->snapshot->pools.pools[index];
    enum shelf_trouble *told = &keeper->told[index];
    enum shelf_trouble trouble = shelf_trouble(pool->shelf);
    char address[HOSTNAME_WIRE_MAX + 32];

    if (trouble == *told)
        return;
    address_of(pool, address, sizeof(address));
    switch (trouble) {
    case SHELF_FAILING:
        log_warning("pool %s: no connection to %s can be made; it is tried again, each time later "
                    "(up to %d s): %s",
                    pool->name, address, SHELF_PAUSE_MAX_MS / 1000, why);
        break;
    case SHELF_ENDING:
        log_warning("pool %s: %s ends connections that nobody has used; idle_time should be below "
                    "the time that it waits",
                    pool->name, address);
        break;
    case SHELF_SPOKEN:
        log_warning("pool %s: %s speaks first, so no connection to it can be kept ready; the pool "
                    "stays empty until the next reload",
                    pool->name, address);
        break;
    case SHELF_WELL:
        log_notice("pool %s: connections to %s are ready again", pool->name, address);
        break;
    }
    *told = trouble;
}

/* ---- making one ---- */

static bool is_present(const struct making *making)
{
    return making->snapshot == making->keeper->snapshot;
}

static void end_making(struct making *making)
{
    list_remove(&making->link);
    dial_free(making->dial);
    rpc_snapshot_unref(making->snapshot);
    free(making);
}

static void fail_making(struct making *making, const char *why)
{
    struct pool_keeper *keeper = making->keeper;
    size_t index = making->index;
    bool present = is_present(making);

    shelf_failed(making->pool->shelf, making->uid, shelf_now());
    if (present) {
        stats_count(pool_failed);
        log_debug("pool %s: %s", making->pool->name, why);
        tell(keeper, index, why);
    }
    end_making(making);
    if (present)
        look_after(keeper);
}

static void keep_made(struct making *making)
{
    struct pool_keeper *keeper = making->keeper;
    struct connection *connection = making->dial->connection;
    struct shelf_now now = shelf_now();
    const struct shelf_tag tag = {
        .uid = making->uid, .made_ms = now.up_ms, .until_s = warm_until(connection)};
    const struct pool *pool = making->pool;
    size_t index = making->index;
    bool present = is_present(making);

    making->dial->connection = NULL;
    if (connection->facts) {
        stats_count(handshakes_ok);
        if (connection->facts->resumed)
            stats_count(handshakes_resumed);
        if (!connection->facts->verified)
            stats_count(tls_unverified);
    }
    stats_count(pool_made);
    shelf_made(pool->shelf, making->uid);
    bool kept = shelf_put(pool->shelf, &connection, &tag, now);
    (void)kept; /* closed, or full, or over before it began: it is retired */
    warm_retire(connection);
    if (present)
        tell(keeper, index, "");
    end_making(making);
    if (present)
        look_after(keeper);
}

static void on_dial_back(struct mail *mail)
{
    struct dial *dial = container_of(mail, struct dial, done);
    struct making *making = dial->context;
    struct fault fault;

    making->dial = dial;
    if (dial->error.cause == NET_OK) {
        keep_made(making);
        return;
    }
    fault_net(&fault, &dial->error, "connecting");
    fail_making(making, fault.message);
}

/* It is made for whoever may have it; who takes it is judged then. what is known: with the
 * addresses, of which those that are denied are left out, or without. */
static bool passes(struct making *making, struct fault *ret_fault)
{
    const struct pool *pool = making->pool;
    struct dial *dial = making->dial;
    struct police police;
    char address[HOSTNAME_WIRE_MAX + 32], literal[ADDRESS_TEXT_MAX];

    if (!police_concerns(making->snapshot->policy, METHOD_TCP_CONNECT))
        return true;
    police_anyone(&police, making->snapshot->policy, METHOD_TCP_CONNECT);
    police_host(&police,
                *pool->host ? pool->host : address_text(&pool->address, literal, sizeof(literal)));
    police.question.port = pool->port;
    police.question.secure = pool->secure;
    police.question.verify = pool->verify;
    police.question.identity = pool->identity ? identity_name(pool->identity) : NULL;
    police.question.no_address_yet = dial->n_addresses == 0;
    address_of(pool, address, sizeof(address));
    return dial->n_addresses
               ? police_addresses(&police, dial->addresses, &dial->n_addresses, address, ret_fault)
               : police_passes(&police, address, ret_fault);
}

static void send_dial(struct making *making)
{
    struct dial *dial = making->dial;

    dial->done.deliver = on_dial_back;
    dial->context = making;
    dial->reply_to = making->keeper->shared->control;
    dialer_post(making->keeper->shared->dialers, &dial); /* making->dial stays, for cancelling */
}

static void on_lookup_back(struct mail *mail)
{
    struct lookup *lookup = container_of(mail, struct lookup, done);
    struct making *making = lookup->context;
    struct fault fault;

    making->lookup = NULL;
    (void)stats_sub(lookups_running, 1);
    if (lookup->gai == 0 && !making->cancelled) {
        making->dial->addresses = lookup->addresses;
        making->dial->n_addresses = lookup->n_addresses;
        lookup->addresses = NULL;
        lookup_free(lookup);
        if (passes(making, &fault))
            send_dial(making);
        else
            fail_making(making, fault.message);
        return;
    }
    fault_gai(&fault, lookup->gai ? lookup->gai : EAI_AGAIN, lookup->sys_errno, "connecting",
              lookup->host, lookup->service);
    lookup_free(lookup);
    fail_making(making, fault.message);
}

/* Returns 0, RESOLVER_E_* or -ENOMEM. */
static int send_lookup(struct making *making)
{
    struct lookup *lookup = calloc(1, sizeof(*lookup));

    if (!lookup)
        return -ENOMEM;
    lookup->kind = LOOKUP_ADDRESSES;
    lookup->family = AF_UNSPEC;
    snprintf(lookup->host, sizeof(lookup->host), "%s", making->pool->host);
    snprintf(lookup->service, sizeof(lookup->service), "%u", (unsigned)making->pool->port);
    lookup->done.deliver = on_lookup_back;
    lookup->context = making;
    lookup->reply_to = making->keeper->shared->control;
    making->lookup = lookup;
    int r = resolver_post(making->keeper->shared->resolver, &lookup);
    if (r) {
        making->lookup = NULL;
        lookup_free(lookup);
        return r;
    }
    stats_count(lookups);
    stats_count(lookups_running);
    return 0;
}

static int prepare_dial(struct making *making)
{
    const struct rpc_snapshot *snapshot = making->snapshot;
    const struct pool *pool = making->pool;
    struct dial *dial = making->dial = calloc(1, sizeof(*dial));

    if (!dial)
        return -ENOMEM;
    if (!*pool->host) {
        dial->addresses = malloc(sizeof(*dial->addresses));
        if (!dial->addresses)
            return -ENOMEM;
        dial->addresses[0] = pool->address;
        dial->n_addresses = 1;
    }
    dial->own_settings = true;
    dial->settings = snapshot->dial;
    dial->settings.backoff.after = 0; /* the shelf has its own; clients shall not wait for this */
    dial->family = AF_UNSPEC;
    dial->deadline_us = loop_clock_us() + snapshot->settings.connect_timeout_ms * 1000;
    dial->secure = pool->secure;
    if (!pool->secure)
        return 0;
    dial->verify = pool->verify;
    dial->trust = trust_ref(pool->trust);
    dial->identity = identity_ref(pool->identity);
    snprintf(dial->server_name, sizeof(dial->server_name), "%s", pool->server_name);
    memcpy(dial->alpn, pool->alpn, pool->n_alpn);
    dial->n_alpn = pool->n_alpn;
    return 0;
}

/* False: there was no memory for it, and it has failed. */
static bool begin(struct pool_keeper *keeper, size_t index, uid_t uid)
{
    const struct pool *pool = &keeper->snapshot->pools.pools[index];
    struct making *making = calloc(1, sizeof(*making));
    struct fault fault = {.message = "too many names wait to be looked up"};
    int r = -ENOMEM;

    if (making) {
        *making = (struct making){.keeper = keeper,
                                  .snapshot = rpc_snapshot_ref(keeper->snapshot),
                                  .pool = pool,
                                  .index = index,
                                  .uid = uid};
        list_append(&keeper->makings, &making->link);
        r = prepare_dial(making);
    }
    if (r == 0 && !passes(making, &fault))
        r = -EACCES;
    if (r == 0 && *pool->host)
        r = send_lookup(making);
    else if (r == 0)
        send_dial(making);
    if (r == 0)
        return true;
    shelf_failed(pool->shelf, uid, shelf_now());
    stats_count(pool_failed);
    tell(keeper, index, r == -ENOMEM ? "out of memory" : fault.message);
    if (making)
        end_making(making);
    return false;
}

/* ---- looking after them ---- */

static void throw_out(struct pool_keeper *keeper, size_t index)
{
    struct shelf *shelf = keeper->snapshot->pools.pools[index].shelf;
    struct shelf_now now = shelf_now();
    struct connection *connection;
    struct shelf_tag tag;

    while ((connection = shelf_over(shelf, now)))
        warm_retire(connection);
    for (size_t position = 0; (connection = shelf_lend(shelf, &position, now, &tag));) {
        enum warm_state state = warm_look(connection);
        shelf_lent(shelf, position, state == WARM_ALIVE);
        if (state == WARM_ALIVE)
            continue;
        stats_count(pool_stale);
        shelf_judge(shelf, &tag, state, now);
        connection_free(connection);
    }
    tell(keeper, index, "");
}

static void fill(struct pool_keeper *keeper, size_t index)
{
    struct shelf *shelf = keeper->snapshot->pools.pools[index].shelf;
    uid_t uid;

    while (!keeper->paused && shelf_order(shelf, shelf_now(), &uid) && begin(keeper, index, uid))
        ;
}

static void on_timer(struct timer *timer)
{
    struct pool_keeper *keeper = container_of(timer, struct pool_keeper, timer);

    uint64_t now_ms = loop_now_ms(keeper->shared->control);

    if (now_ms - keeper->looked_ms >= SHELF_LOOK_MS) {
        keeper->looked_ms = now_ms;
        for (size_t i = 0; i < keeper->snapshot->pools.n_pools; i++)
            throw_out(keeper, i);
    }
    look_after(keeper);
}

/* Order what is wanted, and see when to look again. */
static void look_after(struct pool_keeper *keeper)
{
    struct timers *timers = &keeper->shared->control->timers;
    int64_t wait_ms = -1;

    ASSERT_OWNER(keeper->shared->control);
    if (!keeper->snapshot)
        return;
    for (size_t i = 0; i < keeper->snapshot->pools.n_pools; i++) {
        fill(keeper, i);
        tell(keeper, i, ""); /* what was found by who has taken one */
        int64_t each_ms = shelf_wait_ms(keeper->snapshot->pools.pools[i].shelf, shelf_now());
        if (keeper->paused && each_ms >= 0)
            each_ms = SHELF_LOOK_MS; /* what is missing stays so */
        if (each_ms >= 0 && (wait_ms < 0 || each_ms < wait_ms))
            wait_ms = each_ms;
    }
    if (wait_ms < 0) {
        timers_stop(timers, &keeper->timer);
        return;
    }
    uint64_t at_ms = loop_now_ms(keeper->shared->control) + (uint64_t)wait_ms;
    /* it is looked at in time also when there is always something to do */
    if (timer_running(&keeper->timer) && keeper->timer.at_ms <= at_ms)
        return;
    /* without memory for it, the next who takes one sees to it */
    (void)!timers_start(timers, &keeper->timer, (uint64_t)wait_ms, on_timer);
}

static void on_wake(struct mail *mail)
{
    struct pool_keeper *keeper = container_of(mail, struct pool_keeper, wake);

    atomic_store(&keeper->woken, false);
    look_after(keeper);
}

void pool_keeper_wake(struct pool_keeper *keeper)
{
    if (!atomic_exchange(&keeper->woken, true))
        loop_post(keeper->shared->control, &keeper->wake);
}

/* ---- begin and end ---- */

static void leave(struct pool_keeper *keeper)
{
    struct connection *connection;

    if (!keeper->snapshot)
        return;
    for (size_t i = 0; i < keeper->snapshot->pools.n_pools; i++)
        while ((connection = shelf_clear(keeper->snapshot->pools.pools[i].shelf)))
            warm_retire(connection);
    list_for_each_safe (link, &keeper->makings) {
        struct making *making = container_of(link, struct making, link);
        if (making->cancelled)
            continue;
        making->cancelled = true;
        if (making->lookup)
            lookup_abandon(making->lookup);
        else
            dial_cancel(making->dial);
    }
    free(keeper->told);
    keeper->told = NULL;
    keeper->snapshot = rpc_snapshot_unref(keeper->snapshot);
}

void pool_keeper_change(struct pool_keeper *keeper, struct rpc_snapshot *snapshot)
{
    ASSERT_OWNER(keeper->shared->control);
    leave(keeper);
    timers_stop(&keeper->shared->control->timers, &keeper->timer);
    if (keeper->stopped || snapshot->pools.n_pools == 0)
        return;
    keeper->told = calloc(snapshot->pools.n_pools, sizeof(*keeper->told));
    if (!keeper->told) {
        log_error("the pools stay empty until the next reload: out of memory");
        return;
    }
    keeper->snapshot = rpc_snapshot_ref(snapshot);
    look_after(keeper);
}

void pool_keeper_pause(struct pool_keeper *keeper, bool pause)
{
    ASSERT_OWNER(keeper->shared->control);
    keeper->paused = pause;
    look_after(keeper);
}

void pool_keeper_stop(struct pool_keeper *keeper)
{
    ASSERT_OWNER(keeper->shared->control);
    keeper->stopped = true;
    leave(keeper);
    timers_stop(&keeper->shared->control->timers, &keeper->timer);
}

int pool_keeper_new(struct pool_keeper **ret_keeper, struct rpc_shared *shared)
{
    struct pool_keeper *keeper = calloc(1, sizeof(*keeper));

    if (!keeper)
        return -ENOMEM;
    keeper->shared = shared;
    keeper->wake.deliver = on_wake;
    atomic_init(&keeper->woken, false);
    list_init(&keeper->makings);
    *ret_keeper = keeper;
    return 0;
}

struct pool_keeper *pool_keeper_free(struct pool_keeper *keeper)
{
    if (!keeper)
        return NULL;
    ASSERT(list_empty(&keeper->makings) && !keeper->snapshot);
    free(keeper);
    return NULL;
}
