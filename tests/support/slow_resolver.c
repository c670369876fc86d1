/* clang-format off */
/*
 * slow_resolver: a resolver for tests, preloaded into the daemon. Names it knows are answered here, all others by the
 * real one.
 *
 *   hang-*            blocks until the file $SLOW_RESOLVER_RELEASE exists, at most 60 s; then EAI_AGAIN (services, too).
 *                     If that is a FIFO: until somebody opens it for writing, without a wake-up meanwhile
 *   wait-*            blocks like hang-*, then 127.0.0.1
 *   slow-*            blocks 300 ms, then 127.0.0.1
 *   fail-again.*      EAI_AGAIN
 *   fail-hard.*       EAI_FAIL
 *   nodata.*          EAI_NODATA
 *   missing.*         EAI_NONAME
 *   dual.test         ::1 and 127.0.0.1 (in that order)
 *   four.test         127.0.0.1
 *   six.test          ::1
 *   many.test         127.0.0.2, 127.0.0.3, 127.0.0.4
 *   none-there.test   224.0.0.1 (ENETUNREACH from the kernel, nothing is sent) and 127.0.0.1
 *   *.tls.test        127.0.0.1
 *   xn--bcher-kva.test  127.0.0.5 (and bücher.test is not known)
 *
 * What is asked for is appended to the file $SLOW_RESOLVER_LOG, a line for each: the family (0, 4, 6) and the name.
 *
 * Addresses: 127.66.0.1 blocks like hang-*; 127.66.0.2 is called stub.test; 127.66.0.3 has no name.
 * With $SLOW_RESOLVER_HOSTNAME that is the name of this host.
 */
/* clang-format on */
#include <arpa/inet.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

typedef int getaddrinfo_fn(const char *, const char *, const struct addrinfo *, struct addrinfo **);
typedef int getnameinfo_fn(const struct sockaddr *, socklen_t, char *, socklen_t, char *, socklen_t,
                           int);

static void pause_ms(long ms)
{
    struct timespec time = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&time, NULL);
}

static void hang(void)
{
    const char *release = getenv("SLOW_RESOLVER_RELEASE");
    struct stat status;
    if (release && stat(release, &status) == 0 && S_ISFIFO(status.st_mode)) {
        int fd = open(release, O_RDONLY | O_CLOEXEC);
        if (fd >= 0)
            close(fd);
        return;
    }
    for (int i = 0; i < 3000; i++) {
        if (release && access(release, F_OK) == 0)
            return;
        pause_ms(20);
    }
}

static bool begins(const char *name, const char *start)
{
    return strncasecmp(name, start, strlen(start)) == 0;
}

static bool ends(const char *name, const char *end)
{
    size_t n_name = strlen(name), n_end = strlen(end);
    return n_name >= n_end && strcasecmp(name + n_name - n_end, end) == 0;
}

static void note(const char *name, const struct addrinfo *hints)
{
    const char *path = getenv("SLOW_RESOLVER_LOG");
    int family = hints ? hints->ai_family : AF_UNSPEC;
    char line[300];
    int fd = path ? open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600) : -1;
    if (fd < 0)
        return;
    int n = snprintf(line, sizeof(line), "%d %s\n",
                     family == AF_INET    ? 4
                     : family == AF_INET6 ? 6
                                          : 0,
                     name);
    if (n < 0 || write(fd, line, (size_t)n) != n)
        abort();
    close(fd);
}

static getaddrinfo_fn *real_getaddrinfo(void)
{
    void *symbol = dlsym(RTLD_NEXT, "getaddrinfo");
    getaddrinfo_fn *function;
    memcpy(&function, &symbol, sizeof(function));
    return function;
}

/* The real look-up of each literal, chained: so that freeaddrinfo(3) can free the whole. */
static int literals(const char *const *texts, const char *service, const struct addrinfo *hints,
                    struct addrinfo **ret)
{
    struct addrinfo *first = NULL, **tail = &first;
    int last = EAI_NODATA;
    for (; *texts; texts++) {
        int family = strchr(*texts, ':') ? AF_INET6 : AF_INET;
        if (hints && hints->ai_family != AF_UNSPEC && hints->ai_family != family)
            continue;
        last = real_getaddrinfo()(*texts, service, hints, tail);
        if (last != 0)
            break;
        while (*tail)
            tail = &(*tail)->ai_next;
    }
    if (!first)
        return last;
    *ret = first;
    return 0;
}

__attribute__((visibility("default"))) int getaddrinfo(const char *restrict name,
                                                       const char *restrict service,
                                                       const struct addrinfo *restrict hints,
                                                       struct addrinfo **restrict ret)
{
    static const struct {
        const char *name;
        const char *texts[4];
    } known[] = {
        {"dual.test", {"::1", "127.0.0.1", NULL, NULL}},
        {"four.test", {"127.0.0.1", NULL, NULL, NULL}},
        {"six.test", {"::1", NULL, NULL, NULL}},
        {"many.test", {"127.0.0.2", "127.0.0.3", "127.0.0.4", NULL}},
        {"xn--bcher-kva.test", {"127.0.0.5", NULL, NULL, NULL}},
        {"none-there.test", {"224.0.0.1", "127.0.0.1", NULL, NULL}},
    };
    if (name) {
        note(name, hints);
        if (begins(name, "hang-")) {
            hang();
            return EAI_AGAIN;
        }
        if (begins(name, "fail-again."))
            return EAI_AGAIN;
        if (begins(name, "fail-hard."))
            return EAI_FAIL;
        if (begins(name, "nodata."))
            return EAI_NODATA;
        if (begins(name, "missing."))
            return EAI_NONAME;
        bool slow = begins(name, "slow-"), waits = begins(name, "wait-");
        if (slow)
            pause_ms(300);
        if (waits)
            hang();
        if (slow || waits || ends(name, ".tls.test"))
            return literals((const char *const[]){"127.0.0.1", NULL}, service, hints, ret);
        for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
            if (strcasecmp(name, known[i].name) == 0)
                return literals(known[i].texts, service, hints, ret);
    }
    return real_getaddrinfo()(name, service, hints, ret);
}

__attribute__((visibility("default"))) int getservbyname_r(const char *restrict name,
                                                           const char *restrict protocol,
                                                           struct servent *restrict entry,
                                                           char *restrict buffer, size_t n_buffer,
                                                           struct servent **restrict found)
{
    typedef int function_type(const char *restrict, const char *restrict, struct servent *restrict,
                              char *restrict, size_t, struct servent **restrict);
    void *symbol = dlsym(RTLD_NEXT, "getservbyname_r");
    function_type *function;

    if (begins(name, "hang-")) {
        hang();
        *found = NULL;
        return 0;
    }
    memcpy(&function, &symbol, sizeof(function));
    return function(name, protocol, entry, buffer, n_buffer, found);
}

__attribute__((visibility("default"))) int getnameinfo(const struct sockaddr *restrict address,
                                                       socklen_t n_address, char *restrict host,
                                                       socklen_t n_host, char *restrict service,
                                                       socklen_t n_service, int flags)
{
    if (host && n_host > 0 && address->sa_family == AF_INET && !(flags & NI_NUMERICHOST)) {
        char text[INET_ADDRSTRLEN] = "";
        struct sockaddr_in in;
        memcpy(&in, address, sizeof(in));
        inet_ntop(AF_INET, &in.sin_addr, text, sizeof(text));
        if (strcmp(text, "127.66.0.1") == 0) {
            hang();
            return EAI_AGAIN;
        }
        if (strcmp(text, "127.66.0.2") == 0) {
            snprintf(host, n_host, "%s", "stub.test");
            return 0;
        }
        if (strcmp(text, "127.66.0.3") == 0)
            return EAI_NONAME;
    }
    void *symbol = dlsym(RTLD_NEXT, "getnameinfo");
    getnameinfo_fn *function;
    memcpy(&function, &symbol, sizeof(function));
    return function(address, n_address, host, n_host, service, n_service, flags);
}

__attribute__((visibility("default"))) int gethostname(char *name, size_t n_name)
{
    typedef int gethostname_fn(char *, size_t);
    const char *wanted = getenv("SLOW_RESOLVER_HOSTNAME");
    void *symbol = dlsym(RTLD_NEXT, "gethostname");
    gethostname_fn *function;

    if (wanted) {
        snprintf(name, n_name, "%s", wanted);
        return 0;
    }
    memcpy(&function, &symbol, sizeof(function));
    return function(name, n_name);
}
