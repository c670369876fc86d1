#include "net/resolver_table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "util/assert.h"

enum { BUCKETS_MIN = 64, BUCKETS_MAX = 65536 };

/* ---- the buckets ---- */

/* FNV-1a, begun with what nobody outside knows: names come from clients. */
static uint64_t hash(const struct resolver_table *table, const struct question *question)
{
    static const uint64_t prime = UINT64_C(0x100000001b3);
    uint64_t value = UINT64_C(0xcbf29ce484222325) ^ table->seed;

    value = (value ^ (uint64_t)question->kind) * prime;
    value = (value ^ (uint64_t)question->family) * prime;
    for (const char *c = question->name; *c; c++)
        value = (value ^ (unsigned char)*c) * prime;
    return value ^ value >> 32;
}

static struct table_entry **bucket_of(const struct resolver_table *table,
                                      const struct question *question)
{
    return &table->buckets[hash(table, question) & (table->n_buckets - 1)];
}

static bool same(const struct question *a, const struct question *b)
{
    return a->kind == b->kind && a->family == b->family && strcmp(a->name, b->name) == 0;
}

static struct table_entry *peek(const struct resolver_table *table, const struct question *question)
{
    struct table_entry *entry = *bucket_of(table, question);
    while (entry && !same(&entry->question, question))
        entry = entry->next;
    return entry;
}

static struct table_entry *first(const struct resolver_table *table, enum table_state state)
{
    struct list *link = list_first(&table->lists[state]);
    return link ? container_of(link, struct table_entry, link) : NULL;
}

/* ---- from here to there ---- */

int table_init(struct resolver_table *table, const struct table_settings *settings)
{
    size_t wanted = settings->n_known_max + settings->n_waiting_max / 4;

    *table = (struct resolver_table){.settings = *settings, .n_buckets = BUCKETS_MIN};
    while (table->n_buckets < wanted && table->n_buckets < BUCKETS_MAX)
        table->n_buckets *= 2;
    for (size_t i = 0; i < TABLE_N_STATES; i++)
        list_init(&table->lists[i]);
    if (getrandom(&table->seed, sizeof(table->seed), GRND_NONBLOCK) < 0)
        table->seed = (uint64_t)(uintptr_t)table; /* early at boot; better than nothing */
    table->buckets = calloc(table->n_buckets, sizeof(struct table_entry *));
    return table->buckets ? 0 : -ENOMEM;
}

void table_deinit(struct resolver_table *table)
{
    if (!table->buckets)
        return;
    struct table_entry *entry;
    while ((entry = first(table, TABLE_KNOWN)))
        table_forget(table, entry);
    for (size_t i = 0; i < TABLE_N_STATES; i++)
        ASSERT(table->n[i] == 0);
    free(table->buckets);
    table->buckets = NULL;
}

struct table_entry *table_find(struct resolver_table *table, const struct question *question,
                               int64_t now_us)
{
    struct table_entry *entry = peek(table, question);
    if (!entry || entry->state != TABLE_KNOWN || now_us < entry->since_us)
        return entry;
    table_forget(table, entry);
    return NULL;
}

static bool is_running(const struct table_entry *entry)
{
    return entry->state == TABLE_RUNNING || entry->state == TABLE_SLOW;
}

void table_pay(struct table_entry *entry, struct lookup_payer *payer)
{
    struct lookup_payer *before = entry->payer;

    entry->payer = payer;
    if (payer) {
        payer->n_running += is_running(entry);
        atomic_fetch_add_explicit(&payer->n_there, 1, memory_order_relaxed);
    }
    if (before) {
        before->n_running -= is_running(entry);
        /* he may be gone after this */
        atomic_fetch_sub_explicit(&before->n_there, 1, memory_order_release);
    }
}

int table_ask(struct resolver_table *table, const struct question *question,
              struct lookup_payer *payer, size_t n_payer_max, struct table_entry **ret_entry)
{
    size_t n_name = strlen(question->name) + 1;

    ASSERT(!peek(table, question));
    if (table->n[TABLE_WAITING] + table->n[TABLE_BEHIND] + table->n[TABLE_HELD] >=
        table->settings.n_waiting_max)
        return TABLE_E_FULL;
    if (payer && atomic_load_explicit(&payer->n_there, memory_order_relaxed) >= n_payer_max)
        return TABLE_E_PAYER;
    struct table_entry *entry = calloc(1, sizeof(*entry) + n_name);
    if (!entry)
        return -ENOMEM;
    entry->answer = lookup_answer_new();
    if (!entry->answer) {
        free(entry);
        return -ENOMEM;
    }
    memcpy(entry->name, question->name, n_name);
    entry->question = *question;
    entry->question.name = entry->name;
    list_init(&entry->askers);
    struct table_entry **bucket = bucket_of(table, &entry->question);
    entry->next = *bucket;
    *bucket = entry;
    list_append(&table->lists[TABLE_WAITING], &entry->link);
    table->n[TABLE_WAITING]++;
    table_pay(entry, payer);
    *ret_entry = entry;
    return 0;
}

/* Does the same name hang for another family? */
static bool has_slow_sibling(const struct resolver_table *table, const struct table_entry *entry)
{
    static const int families[] = {AF_UNSPEC, AF_INET, AF_INET6};
    struct question question = entry->question;

    if (table->n[TABLE_SLOW] == 0 || question.kind != QUESTION_ADDRESSES)
        return false;
    for (size_t i = 0; i < sizeof(families) / sizeof(families[0]); i++) {
        question.family = families[i];
        const struct table_entry *sibling = peek(table, &question);
        if (sibling && sibling->state == TABLE_SLOW)
            return true;
    }
    return false;
}

static size_t count_busy(const struct resolver_table *table)
{
    return table->n[TABLE_RUNNING] + table->n[TABLE_SLOW];
}

/* Has its payer less than his share of the threads? */
static bool may_run(const struct resolver_table *table, const struct table_entry *entry)
{
    return !entry->payer ||
           lookup_payer_may_run(entry->payer, count_busy(table), table->settings.n_threads_max);
}

/* The oldest one of those behind that may run: its payer has a thread left for another name then.
 */
static struct table_entry *first_behind(const struct resolver_table *table)
{
    size_t n_busy = count_busy(table);

    if (n_busy >= table->settings.n_busy_max)
        return NULL;
    list_for_each (link, &table->lists[TABLE_BEHIND]) {
        struct table_entry *entry = container_of(link, struct table_entry, link);
        if (!entry->payer || entry->payer->n_running + n_busy + 2 < table->settings.n_threads_max)
            return entry;
    }
    return NULL;
}

/* The oldest one of those held that need not be any more. */
static struct table_entry *first_let_go(const struct resolver_table *table)
{
    list_for_each (link, &table->lists[TABLE_HELD]) {
        struct table_entry *entry = container_of(link, struct table_entry, link);
        if (may_run(table, entry))
            return entry;
    }
    return NULL;
}

/* Out of one state and its list, into another. */
static void move(struct resolver_table *table, struct table_entry *entry, enum table_state state)
{
    list_remove(&entry->link);
    table->n[entry->state]--;
    list_append(&table->lists[state], &entry->link);
    table->n[state]++;
    entry->state = state;
}

/* The first that waits and may run; those before it get to where they belong. */
static struct table_entry *next_waiting(struct resolver_table *table)
{
    struct table_entry *entry;

    while ((entry = first(table, TABLE_WAITING))) {
        if (has_slow_sibling(table, entry))
            move(table, entry, TABLE_BEHIND);
        else if (!may_run(table, entry))
            move(table, entry, TABLE_HELD);
        else
            return entry;
    }
    return first_behind(table);
}

struct table_entry *table_take(struct resolver_table *table, int64_t now_us)
{
    table_age(table, now_us);
    struct table_entry *entry = next_waiting(table);
    if (!entry && (entry = first_let_go(table))) {
        move(table, entry, TABLE_WAITING);
        entry = next_waiting(table);
    }
    if (!entry)
        return NULL;
    move(table, entry, TABLE_RUNNING);
    entry->since_us = now_us;
    if (entry->payer)
        entry->payer->n_running++;
    return entry;
}

static int64_t keep_for(const struct resolver_table *table, const struct lookup_answer *answer)
{
    if (table->settings.n_known_max == 0)
        return 0;
    if (answer->gai == 0)
        return table->settings.known_us;
    return lookup_answer_is_negative(answer) ? table->settings.negative_us : 0;
}

void table_done(struct resolver_table *table, struct table_entry *entry, int64_t now_us)
{
    int64_t time_us = keep_for(table, entry->answer);
    struct table_entry *other;

    ASSERT(is_running(entry));
    ASSERT(list_empty(&entry->askers));
    table_pay(entry, NULL);
    /* who waited because of it may be as good as the others now; table_take() looks again */
    while (entry->state == TABLE_SLOW && (other = first(table, TABLE_BEHIND)))
        move(table, other, TABLE_WAITING);
    if (time_us > 0 && table->n[TABLE_KNOWN] >= table->settings.n_known_max)
        table_forget(table, first(table, TABLE_KNOWN));
    move(table, entry, TABLE_KNOWN);
    entry->since_us = now_us + time_us;
    if (time_us == 0)
        table_forget(table, entry);
    /* in turn with the others, who may come without end */
    if ((other = first_let_go(table)))
        move(table, other, TABLE_WAITING);
}

void table_forget(struct resolver_table *table, struct table_entry *entry)
{
    struct table_entry **at = bucket_of(table, &entry->question);

    ASSERT(!is_running(entry));
    ASSERT(list_empty(&entry->askers));
    table_pay(entry, NULL);
    while (*at != entry)
        at = &(*at)->next;
    *at = entry->next;
    list_remove(&entry->link);
    table->n[entry->state]--;
    lookup_answer_unref(entry->answer);
    free(entry);
}

/* ---- time ---- */

void table_age(struct resolver_table *table, int64_t now_us)
{
    struct table_entry *entry;

    /* those that run stand in the order in which they were begun */
    while ((entry = first(table, TABLE_RUNNING)) &&
           now_us - entry->since_us >= table->settings.slow_us)
        move(table, entry, TABLE_SLOW);
}

size_t table_n_ready(const struct resolver_table *table)
{
    size_t n = table->n[TABLE_WAITING] + (first_behind(table) ? table->n[TABLE_BEHIND] : 0);
    return n > 0 ? n : first_let_go(table) != NULL;
}

int64_t table_next_slow_us(const struct resolver_table *table)
{
    const struct table_entry *entry = first(table, TABLE_RUNNING);
    return entry ? entry->since_us + table->settings.slow_us : INT64_MAX;
}
