#include "net/resolver_ask.h"

#include <errno.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { NAME_BYTES = 1025 };                /* NI_MAXHOST */
enum { SERVICE_BUFFER_BYTES = 16 * 1024 }; /* one line of services(5) with its aliases */

struct lookup_answer *lookup_answer_new(void)
{
    struct lookup_answer *answer = calloc(1, sizeof(*answer));
    if (answer)
        atomic_init(&answer->n_references, 1);
    return answer;
}

struct lookup_answer *lookup_answer_ref(struct lookup_answer *answer)
{
    (void)atomic_fetch_add_explicit(&answer->n_references, 1, memory_order_relaxed);
    return answer;
}

struct lookup_answer *lookup_answer_unref(struct lookup_answer *answer)
{
    if (!answer || atomic_fetch_sub_explicit(&answer->n_references, 1, memory_order_acq_rel) > 1)
        return NULL;
    free(answer->addresses);
    free(answer->name);
    free(answer);
    return NULL;
}

bool lookup_answer_is_negative(const struct lookup_answer *answer)
{
    switch (answer->gai) {
    case EAI_NONAME:
    case EAI_NODATA:
    case EAI_ADDRFAMILY:
    case EAI_SERVICE:
        return true;
    default:
        return false;
    }
}

static bool is_known(const struct lookup_answer *answer, const struct address *address)
{
    for (size_t i = 0; i < answer->n_addresses; i++)
        if (address_equal(&answer->addresses[i], address))
            return true;
    return false;
}

static int collect(struct lookup_answer *answer, const struct addrinfo *found)
{
    size_t n = 0;
    for (const struct addrinfo *each = found; each && n < LOOKUP_ADDRESSES_MAX;
         each = each->ai_next)
        n++;
    if (n == 0)
        return EAI_NONAME;
    answer->addresses = calloc(n, sizeof(*answer->addresses));
    if (!answer->addresses)
        return EAI_MEMORY;
    for (const struct addrinfo *each = found; each && answer->n_addresses < n;
         each = each->ai_next) {
        struct address address = {.n_bytes = each->ai_addrlen};
        if (each->ai_addrlen > sizeof(address.v6) ||
            (each->ai_family != AF_INET && each->ai_family != AF_INET6))
            continue;
        memcpy(&address.any, each->ai_addr, each->ai_addrlen);
        if (!is_known(answer, &address))
            answer->addresses[answer->n_addresses++] = address;
    }
    return answer->n_addresses ? 0 : EAI_NONAME;
}

static int find_addresses(const struct question *question, struct lookup_answer *answer)
{
    /* No AI_ADDRCONFIG: it would hide ::1 on a host whose only IPv6 is the loopback. The plan of a
     * dial gets along with addresses that cannot be reached. */
    struct addrinfo hints = {.ai_family = question->family, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;

    int gai = getaddrinfo(question->name, NULL, &hints, &found);
    if (gai)
        return gai;
    gai = collect(answer, found);
    freeaddrinfo(found);
    return gai;
}

static int find_name(const struct question *question, struct lookup_answer *answer)
{
    struct address address;
    char name[NAME_BYTES];

    if (address_parse(&address, question->name, 0))
        return EAI_NONAME;
    int gai = getnameinfo(&address.any, address.n_bytes, name, sizeof(name), NULL, 0, NI_NAMEREQD);
    if (gai)
        return gai;
    answer->name = strdup(name);
    return answer->name ? 0 : EAI_MEMORY;
}

static int find_port(const struct question *question, struct lookup_answer *answer)
{
    char buffer[SERVICE_BUFFER_BYTES];
    struct servent entry, *found = NULL;

    int r = getservbyname_r(question->name, "tcp", &entry, buffer, sizeof(buffer), &found);
    if (r == ENOMEM)
        return EAI_MEMORY;
    if (r || !found)
        return EAI_SERVICE;
    answer->port = ntohs((uint16_t)entry.s_port);
    return 0;
}

/* The C library says that there is no such name, or that no server answered, also when it had no
 * descriptor to look into a file with, or to ask. Returns 0 or the errno of what was missing. */
static int find_lack(void)
{
    if (errno == EMFILE || errno == ENFILE || errno == ENOMEM)
        return errno;
    int fd = eventfd(0, EFD_CLOEXEC);
    if (fd < 0)
        return errno;
    close(fd);
    return 0;
}

void resolver_ask(const struct question *question, struct lookup_answer *answer)
{
    errno = 0;
    switch (question->kind) {
    case QUESTION_ADDRESSES:
        answer->gai = find_addresses(question, answer);
        break;
    case QUESTION_NAME:
        answer->gai = find_name(question, answer);
        break;
    case QUESTION_PORT:
        answer->gai = find_port(question, answer);
        break;
    }
    if (answer->gai == EAI_SYSTEM) {
        answer->sys_errno = errno;
    } else if (answer->gai && answer->gai != EAI_MEMORY) {
        answer->sys_errno = find_lack();
        if (answer->sys_errno)
            answer->gai = EAI_SYSTEM;
    }
}
