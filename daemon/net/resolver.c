#include "net/resolver.h"

#include <errno.h>
#include <locale.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "util/log.h"

/* NSS modules put buffers of many kilobytes on the stack. */
enum { STACK_BYTES = 512 * 1024 };
enum { NAME_MAX_BYTES = 253 }; /* RFC 1035 section 2.3.4, in text form */

struct resolver {
    pthread_mutex_t mutex; /* leaf */
    pthread_cond_t work, ended;
    struct list queue; /* of struct lookup */
    size_t n_queue, n_queue_max;
    unsigned n_threads, n_alive;
    unsigned n_posting; /* threads that are about to touch the loop of a look-up */
    bool stopping;
    bool left_behind; /* nobody is there any more to take a result */
    pthread_t threads[];
};

/* ---- the work itself ---- */

static bool host_is_sane(const char *host)
{
    size_t n = strlen(host);
    if (n > 0 && host[n - 1] == '.')
        n--;
    return n > 0 && n <= NAME_MAX_BYTES && host[0] != '.';
}

static bool is_ascii(const char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text >= 0x80)
            return false;
    return true;
}

/* Port numbers are read here: getaddrinfo(3) silently cuts them to 16 bits and takes signs. Returns
 * 0 with the port or the name to ask for, or EAI_SERVICE. */
static int parse_service(const char *service, uint16_t *ret_port, const char **ret_name)
{
    *ret_port = 0;
    *ret_name = NULL;
    if (!*service)
        return 0;
    if (strspn(service, "0123456789") != strlen(service)) {
        *ret_name = service;
        return strchr("+- \t", service[0]) ? EAI_SERVICE : 0;
    }
    unsigned long number = strtoul(service, NULL, 10);
    if (number > UINT16_MAX)
        return EAI_SERVICE;
    *ret_port = (uint16_t)number;
    return 0;
}

static bool is_known(const struct lookup *lookup, const struct address *address)
{
    for (size_t i = 0; i < lookup->n_addresses; i++)
        if (address_equal(&lookup->addresses[i], address))
            return true;
    return false;
}

static int collect(struct lookup *lookup, const struct addrinfo *found, bool set_port,
                   uint16_t port)
{
    size_t n = 0;
    for (const struct addrinfo *each = found; each && n < LOOKUP_ADDRESSES_MAX;
         each = each->ai_next)
        n++;
    if (n == 0)
        return EAI_NONAME;
    lookup->addresses = calloc(n, sizeof(*lookup->addresses));
    if (!lookup->addresses)
        return EAI_MEMORY;
    for (const struct addrinfo *each = found; each && lookup->n_addresses < n;
         each = each->ai_next) {
        struct address address = {.n_bytes = each->ai_addrlen};
        if (each->ai_addrlen > sizeof(address.v6) ||
            (each->ai_family != AF_INET && each->ai_family != AF_INET6))
            continue;
        memcpy(&address.any, each->ai_addr, each->ai_addrlen);
        if (set_port)
            address_set_port(&address, port);
        if (!is_known(lookup, &address))
            lookup->addresses[lookup->n_addresses++] = address;
    }
    return lookup->n_addresses ? 0 : EAI_NONAME;
}

static void find_addresses(struct lookup *lookup, const char *host)
{
    struct addrinfo hints = {.ai_family = lookup->family, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    const char *service;
    uint16_t port;

    /* No AI_ADDRCONFIG: it would hide ::1 on a host whose only IPv6 is the loopback. The plan of a
     * dial gets along with addresses that cannot be reached. */
    if (!is_ascii(host))
        hints.ai_flags |= AI_IDN;
    if (!host_is_sane(host)) {
        lookup->gai = EAI_NONAME;
        return;
    }
    lookup->gai = parse_service(lookup->service, &port, &service);
    if (lookup->gai)
        return;
    errno = 0;
    lookup->gai = getaddrinfo(host, service, &hints, &found);
    if (lookup->gai == EAI_SYSTEM)
        lookup->sys_errno = errno;
    if (lookup->gai)
        return;
    lookup->gai = collect(lookup, found, !service, port);
    freeaddrinfo(found);
}

static void find_name(struct lookup *lookup)
{
    errno = 0;
    lookup->gai = getnameinfo(&lookup->address.any, lookup->address.n_bytes, lookup->name,
                              sizeof(lookup->name) - 1, NULL, 0, NI_NAMEREQD);
    if (lookup->gai == EAI_SYSTEM)
        lookup->sys_errno = errno;
}

static void find_self(struct lookup *lookup)
{
    lookup->name[sizeof(lookup->name) - 1] = '\0'; /* gethostname(2) need not */
    if (gethostname(lookup->name, sizeof(lookup->name) - 1) < 0) {
        lookup->gai = EAI_SYSTEM;
        lookup->sys_errno = errno;
        return;
    }
    find_addresses(lookup, lookup->name);
}

static void work_on(struct lookup *lookup)
{
    int64_t started_us = loop_clock_us();
    switch (lookup->kind) {
    case LOOKUP_ADDRESSES:
        find_addresses(lookup, lookup->host);
        break;
    case LOOKUP_NAME:
        find_name(lookup);
        break;
    case LOOKUP_SELF:
        find_self(lookup);
        break;
    }
    lookup->took_us = loop_clock_us() - started_us;
}

/* ---- the pool ---- */

static void *run_thread(void *argument)
{
    struct resolver *resolver = argument;
    /* AI_IDN converts from the charset of the thread's locale; the process stays in "C" */
    locale_t utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
    if (utf8)
        (void)uselocale(utf8);

    pthread_mutex_lock(&resolver->mutex);
    for (;;) {
        while (!resolver->stopping && list_empty(&resolver->queue))
            pthread_cond_wait(&resolver->work, &resolver->mutex);
        if (resolver->stopping)
            break;
        struct lookup *lookup = container_of(list_pop(&resolver->queue), struct lookup, link);
        resolver->n_queue--;
        pthread_mutex_unlock(&resolver->mutex);

        if (atomic_load(&lookup->abandoned))
            lookup->gai = EAI_AGAIN;
        else
            work_on(lookup);

        pthread_mutex_lock(&resolver->mutex);
        bool left_behind = resolver->left_behind;
        resolver->n_posting++;
        pthread_mutex_unlock(&resolver->mutex);
        if (left_behind)
            lookup_free(lookup);
        else
            loop_post(lookup->reply_to, &lookup->done);
        pthread_mutex_lock(&resolver->mutex);
        resolver->n_posting--;
        pthread_cond_signal(&resolver->ended);
    }
    if (utf8) {
        (void)uselocale(LC_GLOBAL_LOCALE);
        freelocale(utf8);
    }
    resolver->n_alive--;
    pthread_cond_signal(&resolver->ended);
    pthread_mutex_unlock(&resolver->mutex);
    return NULL;
}

static int start_thread(struct resolver *resolver, pthread_attr_t *attributes)
{
    sigset_t all, before;
    char name[16];

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_mutex_lock(&resolver->mutex);
    int r =
        pthread_create(&resolver->threads[resolver->n_threads], attributes, run_thread, resolver);
    if (r == 0)
        resolver->n_alive++;
    pthread_mutex_unlock(&resolver->mutex);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (r)
        return -r;
    snprintf(name, sizeof(name), "resolver-%u", resolver->n_threads);
    pthread_setname_np(resolver->threads[resolver->n_threads], name);
    resolver->n_threads++;
    return 0;
}

int resolver_new(struct resolver **ret_resolver, unsigned n_threads, size_t n_queue_max)
{
    pthread_attr_t attributes;
    pthread_condattr_t clock;
    int r = 0;

    ASSERT(n_threads > 0);
    struct resolver *resolver = calloc(1, sizeof(*resolver) + n_threads * sizeof(pthread_t));
    if (!resolver)
        return -ENOMEM;
    pthread_mutex_init(&resolver->mutex, NULL);
    pthread_cond_init(&resolver->work, NULL);
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(&resolver->ended, &clock);
    pthread_condattr_destroy(&clock);
    list_init(&resolver->queue);
    resolver->n_queue_max = n_queue_max;

    pthread_attr_init(&attributes);
    (void)pthread_attr_setstacksize(&attributes, STACK_BYTES);
    while (r == 0 && resolver->n_threads < n_threads)
        r = start_thread(resolver, &attributes);
    pthread_attr_destroy(&attributes);
    if (r) {
        resolver_stop(resolver);
        if (!resolver_free(&resolver, 1000)) /* they wait for work, nothing else */
            log_warning("resolver: threads without work do not end");
        return r;
    }
    *ret_resolver = resolver;
    return 0;
}

static void give_back(struct list *lookups)
{
    for (struct list *link; (link = list_pop(lookups));) {
        struct lookup *lookup = container_of(link, struct lookup, link);
        lookup->gai = EAI_AGAIN;
        loop_post(lookup->reply_to, &lookup->done);
    }
}

void resolver_stop(struct resolver *resolver)
{
    struct list waiting = LIST_INIT(waiting);

    pthread_mutex_lock(&resolver->mutex);
    resolver->stopping = true;
    list_splice(&waiting, &resolver->queue);
    resolver->n_queue = 0;
    pthread_cond_broadcast(&resolver->work);
    pthread_mutex_unlock(&resolver->mutex);
    give_back(&waiting);
}

bool resolver_free(struct resolver **ret_resolver, unsigned wait_ms)
{
    struct resolver *resolver = *ret_resolver;
    struct timespec until;

    if (!resolver)
        return true;
    *ret_resolver = NULL;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += wait_ms / 1000;
    until.tv_nsec += (long)(wait_ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    pthread_mutex_lock(&resolver->mutex);
    ASSERT(resolver->stopping);
    while (resolver->n_alive > 0)
        if (pthread_cond_timedwait(&resolver->ended, &resolver->mutex, &until) == ETIMEDOUT)
            break;
    bool all_ended = resolver->n_alive == 0;
    resolver->left_behind = !all_ended;
    while (resolver->n_posting > 0)
        pthread_cond_wait(&resolver->ended, &resolver->mutex);
    pthread_mutex_unlock(&resolver->mutex);
    if (!all_ended)
        return false;
    for (unsigned i = 0; i < resolver->n_threads; i++)
        pthread_join(resolver->threads[i], NULL);
    pthread_cond_destroy(&resolver->work);
    pthread_cond_destroy(&resolver->ended);
    pthread_mutex_destroy(&resolver->mutex);
    free(resolver);
    return true;
}

/* Under the mutex: look-ups nobody waits for make room for others. */
static void take_abandoned(struct resolver *resolver, struct list *taken)
{
    list_for_each_safe (link, &resolver->queue) {
        if (!atomic_load(&container_of(link, struct lookup, link)->abandoned))
            continue;
        list_remove(link);
        list_append(taken, link);
        resolver->n_queue--;
    }
}

int resolver_post(struct resolver *resolver, struct lookup **lookup)
{
    struct list taken = LIST_INIT(taken);
    int r = 0;

    pthread_mutex_lock(&resolver->mutex);
    if (resolver->n_queue >= resolver->n_queue_max)
        take_abandoned(resolver, &taken);
    if (resolver->stopping) {
        r = RESOLVER_E_STOPPED;
    } else if (resolver->n_queue >= resolver->n_queue_max) {
        r = RESOLVER_E_FULL;
    } else {
        list_append(&resolver->queue, &(*lookup)->link);
        resolver->n_queue++;
        *lookup = NULL;
        pthread_cond_signal(&resolver->work);
    }
    pthread_mutex_unlock(&resolver->mutex);
    give_back(&taken);
    return r;
}

void lookup_abandon(struct lookup *lookup)
{
    atomic_store(&lookup->abandoned, true);
}

struct lookup *lookup_free(struct lookup *lookup)
{
    if (!lookup)
        return NULL;
    free(lookup->addresses);
    free(lookup);
    return NULL;
}
