#include "net/resolver_internal.h"

#include <errno.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "util/log.h"

/* ---- what is asked ---- */

/* Port numbers are read here: getaddrinfo(3) silently cuts them to 16 bits and takes signs. Returns
 * 0 with the port, or with *ret_is_name; or EAI_SERVICE. */
static int parse_service(const char *service, uint16_t *ret_port, bool *ret_is_name)
{
    *ret_port = 0;
    *ret_is_name = false;
    if (!*service)
        return 0;
    if (strspn(service, "0123456789") != strlen(service)) {
        *ret_is_name = true;
        return strchr("+- \t", service[0]) ? EAI_SERVICE : 0;
    }
    unsigned long number = strtoul(service, NULL, 10);
    if (number > UINT16_MAX)
        return EAI_SERVICE;
    *ret_port = (uint16_t)number;
    return 0;
}

static int wire_name(struct lookup *lookup, const char *host)
{
    switch (hostname_wire(host, lookup->wire)) {
    case 0:
        return 0;
    case HOSTNAME_E_INVALID:
        return EAI_NONAME;
    case HOSTNAME_E_ENCODING:
        return EAI_IDN_ENCODE;
    default:
        return EAI_MEMORY;
    }
}

/* The port of the service first: who cannot have that need not ask for the name. */
static int prepare_addresses(struct lookup *lookup, const char *host)
{
    bool is_name;

    int gai = wire_name(lookup, host);
    if (gai == 0)
        gai = parse_service(lookup->service, &lookup->port, &is_name);
    if (gai)
        return gai;
    lookup->question = is_name
                           ? (struct question){.kind = QUESTION_PORT, .name = lookup->service}
                           : (struct question){QUESTION_ADDRESSES, lookup->family, lookup->wire};
    return 0;
}

static int prepare_name(struct lookup *lookup)
{
    _Static_assert(sizeof(lookup->wire) >= ADDRESS_TEXT_MAX, "holds an address");

    lookup->question = (struct question){
        .kind = QUESTION_NAME,
        .name = address_text(&lookup->address, lookup->wire, sizeof(lookup->wire))};
    return 0;
}

static int prepare_self(struct lookup *lookup)
{
    lookup->name[sizeof(lookup->name) - 1] = '\0'; /* gethostname(2) need not */
    if (gethostname(lookup->name, sizeof(lookup->name) - 1) < 0) {
        lookup->sys_errno = errno;
        return EAI_SYSTEM;
    }
    return prepare_addresses(lookup, lookup->name);
}

static int prepare(struct lookup *lookup)
{
    switch (lookup->kind) {
    case LOOKUP_NAME:
        return prepare_name(lookup);
    case LOOKUP_SELF:
        return prepare_self(lookup);
    default:
        return prepare_addresses(lookup, lookup->host);
    }
}

/* ---- on the way back ---- */

static void take_addresses(struct lookup *lookup, const struct address *addresses, size_t n)
{
    lookup->addresses = malloc(n * sizeof(*addresses));
    if (!lookup->addresses) {
        lookup->gai = EAI_MEMORY;
        return;
    }
    memcpy(lookup->addresses, addresses, n * sizeof(*addresses));
    lookup->n_addresses = n;
    for (size_t i = 0; i < n; i++)
        address_set_port(&lookup->addresses[i], lookup->port);
}

static void take_answer(struct lookup *lookup, const struct lookup_answer *answer)
{
    lookup->gai = answer->gai;
    lookup->sys_errno = answer->sys_errno;
    if (answer->gai)
        return;
    if (answer->name) {
        size_t n = strnlen(answer->name, sizeof(lookup->name) - 1);
        memcpy(lookup->name, answer->name, n);
        lookup->name[n] = '\0';
    }
    if (answer->n_addresses)
        take_addresses(lookup, answer->addresses, answer->n_addresses);
}

void resolver_deliver(struct list *ready)
{
    for (struct list *link; (link = list_pop(ready));) {
        struct lookup *lookup = container_of(link, struct lookup, link);
        if (lookup->answer)
            take_answer(lookup, lookup->answer);
        lookup->answer = lookup_answer_unref(lookup->answer);
        lookup->took_us += loop_clock_us(); /* it has been minus the start so far */
        loop_post(lookup->reply_to, &lookup->done);
    }
}

static void fail(struct lookup *lookup, int gai, struct list *ready)
{
    lookup->gai = gai;
    list_append(ready, &lookup->link);
}

/* ---- in the resolver; under the mutex ---- */

static void go_on(struct lookup *lookup, struct lookup_answer *answer, int64_t now_us,
                  struct list *ready);

/* An address is its own answer. Returns false when it is none. */
static bool answer_literal(struct lookup *lookup, struct list *ready)
{
    const char *host = lookup->kind == LOOKUP_SELF ? lookup->name : lookup->host;
    struct address address;

    /* not the wire's form: names of interfaces, as in fe80::1%Lan0, have their case */
    if (lookup->question.kind != QUESTION_ADDRESSES || address_parse(&address, host, 0))
        return false;
    if (lookup->family != AF_UNSPEC && lookup->family != address_family(&address)) {
        fail(lookup, EAI_ADDRFAMILY, ready);
        return true;
    }
    take_addresses(lookup, &address, 1);
    list_append(ready, &lookup->link);
    return true;
}

/* Ask the look-up's question, or join who does. Returns 0, RESOLVER_E_FULL or _PAYER. */
static int ask(struct lookup *lookup, int64_t now_us, struct list *ready)
{
    struct resolver *resolver = lookup->resolver;

    if (answer_literal(lookup, ready))
        return 0;
    struct table_entry *entry = table_find(&resolver->table, &lookup->question, now_us);
    if (entry && entry->state == TABLE_KNOWN) {
        lookup->source = LOOKUP_CACHED;
        go_on(lookup, entry->answer, now_us, ready);
        return 0;
    }
    lookup->source = entry ? LOOKUP_SHARED : LOOKUP_ASKED;
    if (!entry) {
        int r = table_ask(&resolver->table, &lookup->question, lookup->payer, lookup->n_payer_max,
                          &entry);
        if (r > 0)
            return r == TABLE_E_FULL ? RESOLVER_E_FULL : RESOLVER_E_PAYER;
        if (r) {
            fail(lookup, EAI_MEMORY, ready);
            return 0;
        }
        resolver_pool_wake(resolver);
    }
    lookup->entry = entry;
    list_append(&entry->askers, &lookup->link);
    return 0;
}

/* The answer to its question is there: the next question, or the end. */
static void go_on(struct lookup *lookup, struct lookup_answer *answer, int64_t now_us,
                  struct list *ready)
{
    if (lookup->question.kind == QUESTION_PORT && answer->gai == 0) {
        lookup->port = answer->port;
        lookup->question = (struct question){QUESTION_ADDRESSES, lookup->family, lookup->wire};
        if (ask(lookup, now_us, ready))
            fail(lookup, EAI_AGAIN, ready); /* as many as may wait came in between */
        return;
    }
    lookup->answer = lookup_answer_ref(answer);
    list_append(ready, &lookup->link);
}

void resolver_answered(struct resolver *resolver, struct table_entry *entry, int64_t now_us,
                       struct list *ready)
{
    struct lookup_answer *answer = lookup_answer_ref(entry->answer);
    struct list askers = LIST_INIT(askers);

    list_splice(&askers, &entry->askers);
    table_done(&resolver->table, entry, now_us);
    for (struct list *link; (link = list_pop(&askers));) {
        struct lookup *lookup = container_of(link, struct lookup, link);
        lookup->entry = NULL;
        go_on(lookup, answer, now_us, ready);
    }
    lookup_answer_unref(answer);
}

static void fail_askers(struct table_entry *entry, struct list *ready)
{
    for (struct list *link; (link = list_pop(&entry->askers));) {
        struct lookup *lookup = container_of(link, struct lookup, link);
        lookup->entry = NULL;
        fail(lookup, EAI_AGAIN, ready);
    }
}

/* ---- from outside ---- */

int resolver_post(struct resolver *resolver, struct lookup **lookup)
{
    struct list ready = LIST_INIT(ready);
    struct lookup *out = *lookup;
    int r = 0;

    out->resolver = resolver;
    out->took_us = -loop_clock_us();
    out->source = LOOKUP_GIVEN;
    int gai = prepare(out);
    pthread_mutex_lock(&resolver->mutex);
    if (resolver->stopping)
        r = RESOLVER_E_STOPPED;
    else if (gai)
        fail(out, gai, &ready);
    else
        r = ask(out, loop_clock_us(), &ready);
    pthread_mutex_unlock(&resolver->mutex);
    if (r)
        return r;
    *lookup = NULL;
    resolver_deliver(&ready);
    return 0;
}

/* Who has paid for it so far has left: one of those who still wait does it now. */
static void pass_bill(struct table_entry *entry, const struct lookup_payer *payer)
{
    struct list *link = list_first(&entry->askers);

    if (!payer || entry->payer != payer || !link)
        return;
    table_pay(entry, container_of(link, struct lookup, link)->payer);
}

void lookup_abandon(struct lookup *lookup)
{
    struct resolver *resolver = lookup->resolver;
    struct list ready = LIST_INIT(ready);

    pthread_mutex_lock(&resolver->mutex);
    struct table_entry *entry = lookup->entry;
    if (entry) {
        lookup->entry = NULL;
        list_remove(&lookup->link);
        fail(lookup, EAI_AGAIN, &ready);
        pass_bill(entry, lookup->payer);
        if (list_empty(&entry->askers) &&
            (entry->state == TABLE_WAITING || entry->state == TABLE_BEHIND ||
             entry->state == TABLE_HELD))
            table_forget(&resolver->table, entry);
    }
    pthread_mutex_unlock(&resolver->mutex);
    resolver_deliver(&ready);
}

struct lookup *lookup_free(struct lookup *lookup)
{
    if (!lookup)
        return NULL;
    free(lookup->addresses);
    free(lookup);
    return NULL;
}

void resolver_load(struct resolver *resolver, struct resolver_load *ret_load)
{
    const size_t *n = resolver->table.n;

    pthread_mutex_lock(&resolver->mutex);
    table_age(&resolver->table, loop_clock_us());
    *ret_load = (struct resolver_load){
        .n_waiting = n[TABLE_WAITING] + n[TABLE_BEHIND],
        .n_running = n[TABLE_RUNNING] + n[TABLE_SLOW],
        .n_slow = n[TABLE_SLOW],
        .n_threads = resolver->n_alive,
    };
    pthread_mutex_unlock(&resolver->mutex);
}

/* ---- begin and end ---- */

static void init_conditions(struct resolver *resolver)
{
    pthread_condattr_t clock;

    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(&resolver->work, NULL);
    pthread_cond_init(&resolver->watch, &clock);
    pthread_cond_init(&resolver->ended, &clock);
    pthread_condattr_destroy(&clock);
}

static struct resolver *free_resolver(struct resolver *resolver)
{
    table_deinit(&resolver->table);
    pthread_cond_destroy(&resolver->work);
    pthread_cond_destroy(&resolver->watch);
    pthread_cond_destroy(&resolver->ended);
    pthread_mutex_destroy(&resolver->mutex);
    free(resolver);
    return NULL;
}

int resolver_new(struct resolver **ret_resolver, const struct resolver_settings *settings)
{
    struct resolver *resolver = calloc(1, sizeof(*resolver));

    ASSERT(settings->n_threads > 0);
    if (!resolver)
        return -ENOMEM;
    pthread_mutex_init(&resolver->mutex, NULL);
    init_conditions(resolver);
    list_init(&resolver->to_join);
    resolver->ask = settings->ask ? settings->ask : resolver_ask;
    resolver->policy = (struct resolver_policy){
        .n_threads = settings->n_threads,
        .n_threads_max = settings->n_threads_max > settings->n_threads ? settings->n_threads_max
                                                                       : settings->n_threads,
    };
    const struct table_settings table = {
        .n_waiting_max = settings->n_queue_max,
        .n_known_max = settings->n_cache_max,
        .known_us = settings->cache_ms * 1000,
        .negative_us = settings->negative_cache_ms * 1000,
        .slow_us = (settings->slow_ms ? settings->slow_ms : RESOLVER_SLOW_MS) * 1000,
        .n_busy_max = (resolver->policy.n_threads_max + 1) / 2,
        .n_threads_max = resolver->policy.n_threads_max,
    };
    int r = table_init(&resolver->table, &table);
    if (r) {
        free_resolver(resolver);
        return r;
    }
    r = resolver_pool_start(resolver);
    if (r) {
        resolver_stop(resolver);
        if (!resolver_free(&resolver, 1000)) /* they wait for work, nothing else */
            log_warning("resolver: threads without work do not end");
        return r;
    }
    *ret_resolver = resolver;
    return 0;
}

void resolver_stop(struct resolver *resolver)
{
    static const enum table_state not_begun[] = {TABLE_WAITING, TABLE_BEHIND, TABLE_HELD};
    static const enum table_state begun[] = {TABLE_RUNNING, TABLE_SLOW};
    struct list ready = LIST_INIT(ready);

    pthread_mutex_lock(&resolver->mutex);
    resolver->stopping = true;
    for (size_t i = 0; i < 2; i++)
        list_for_each (link, &resolver->table.lists[begun[i]])
            fail_askers(container_of(link, struct table_entry, link), &ready);
    for (size_t i = 0; i < 3; i++)
        list_for_each_safe (link, &resolver->table.lists[not_begun[i]]) {
            struct table_entry *entry = container_of(link, struct table_entry, link);
            fail_askers(entry, &ready);
            table_forget(&resolver->table, entry);
        }
    pthread_cond_broadcast(&resolver->work);
    pthread_cond_signal(&resolver->watch);
    pthread_mutex_unlock(&resolver->mutex);
    resolver_deliver(&ready);
}

bool resolver_free(struct resolver **ret_resolver, unsigned wait_ms)
{
    struct resolver *resolver = *ret_resolver;

    if (!resolver)
        return true;
    *ret_resolver = NULL;
    if (!resolver_pool_end(resolver, wait_ms))
        return false;
    free_resolver(resolver);
    return true;
}
