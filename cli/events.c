/*
 * events: what happens to connections, as it happens: one line each.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "cli/talk.h"
#include "cli/verbs.h"

enum { CLASSES_MAX = 16 };

struct follow {
    bool json;
    uint64_t left; /* UINT64_MAX: until the end */
    bool done;
};

/* ---- lines ---- */

__attribute__((format(printf, 2, 3))) static void put(FILE *out, const char *format, ...)
{
    char text[1536];
    va_list list;

    va_start(list, format);
    vsnprintf(text, sizeof(text), format, list);
    va_end(list);
    talk_clean(text);
    fputs(text, out);
}

/* What a client chose. */
static void put_quoted(const char *name, const char *value)
{
    char text[256];

    snprintf(text, sizeof(text), "%s", value);
    for (char *c = text; *c; c++)
        if (*c == '"')
            *c = '\'';
    put(stdout, "%s \"%s\"", name, text);
}

static void put_where(const struct tcpb_event *event)
{
    bool listens = event->has_kind && strcmp(event->kind, "listen") == 0;
    bool remote = event->has_remote_address && !listens;
    const char *address = remote                     ? event->remote_address
                          : event->has_local_address ? event->local_address
                                                     : "";
    int64_t port = remote ? event->remote_port : event->local_port;

    if (event->has_hostname)
        put(stdout, " %s", event->hostname);
    if (event->has_port)
        put(stdout, " port %s", event->port);
    if (event->has_hostname && remote && strcmp(event->hostname, address) == 0)
        put(stdout, " port %" PRId64, port);
    else if (*address && (remote || listens))
        put(stdout, " %s%s port %" PRId64 "%s", event->has_hostname ? "(" : "", address, port,
            event->has_hostname ? ")" : "");
    if (event->has_tls)
        put(stdout, " %s%s%s", event->tls, event->resumed ? " resumed" : "",
            event->verified ? "" : " unverified");
    if (event->has_identity)
        put(stdout, " as %s", event->identity);
    if (event->has_pooled)
        put(stdout, " pooled");
}

static void put_how(const struct tcpb_event *event)
{
    if (event->has_bytes_in)
        put(stdout, " in %" PRId64 " out %" PRId64, event->bytes_in, event->bytes_out);
    if (event->has_timing_us)
        put(stdout, " %" PRId64 " ms", event->timing_us.total / 1000);
    if (event->has_duration_ms)
        put(stdout, " %" PRId64 " ms", event->duration_ms);
    if (event->has_reason)
        put(stdout, " %s", event->reason);
    if (event->has_limit)
        put(stdout, " %s = %" PRId64, event->limit, event->limit_value);
    if (event->has_message)
        put(stdout, ": %s", event->message);
    if (event->has_symbol)
        put(stdout, " [%s]", event->symbol);
    if (event->has_more)
        put(stdout, " (%" PRId64 " more like it)", event->more);
    if (event->has_lost)
        put(stdout, " %" PRId64 " events were not told: they came faster than they were read",
            event->lost);
}

static void print_line(const struct tcpb_event *event)
{
    put(stdout, "%s %-6s", event->time, event->event);
    if (event->has_kind)
        put(stdout, " %s", event->has_door ? event->door : event->kind);
    if (event->has_socket)
        put(stdout, " %" PRId64, event->socket);
    if (event->has_uid)
        put(stdout, " uid %" PRId64 " pid %" PRId64, event->uid, event->pid);
    if (event->has_client)
        put_quoted("", event->client);
    put_where(event);
    put_how(event);
    if (event->has_trace)
        put_quoted(" trace", event->trace);
    putchar('\n');
}

static void on_event(struct tcpb *broker, const struct tcpb_event *event, const char *json,
                     void *userdata)
{
    struct follow *follow = userdata;

    (void)broker;
    if (follow->done)
        return;
    if (follow->json)
        puts(json);
    else
        print_line(event);
    if (follow->left != UINT64_MAX && --follow->left == 0)
        follow->done = true;
}

/* ---- asking ---- */

/* "open,close" into words; the text is changed. Returns how many. */
static size_t split(char *text, const char *words[CLASSES_MAX])
{
    size_t n = 0;
    char *rest;

    for (char *word = strtok_r(text, ", ", &rest); word && n < CLASSES_MAX;
         word = strtok_r(NULL, ", ", &rest))
        words[n++] = word;
    return n;
}

/* A number, or a user's name. */
static bool read_user(const char *text, int64_t *ret_uid)
{
    char *end;
    errno = 0;
    unsigned long number = strtoul(text, &end, 10);
    bool numeric = *text >= '0' && *text <= '9' && *end == '\0' && errno == 0;
    const struct passwd *user = numeric ? NULL : getpwnam(text);

    if (numeric ? number >= UINT32_MAX : !user)
        return false;
    *ret_uid = numeric ? (int64_t)number : (int64_t)user->pw_uid;
    return true;
}

static int follow_events(struct cli *cli, struct tcpb *broker, const struct follow *follow)
{
    struct tcpb_error error;
    int fd = tcpb_get_fd(broker);

    if (fd < 0) {
        talk("no descriptor is left: %s", strerror(errno));
        return EXIT_ERROR;
    }
    for (;;) {
        struct pollfd item = {.fd = fd, .events = POLLIN};
        if (tcpb_process(broker, &error))
            return follow->done ? EXIT_OK : talk_error(cli, &error, NULL);
        if (fflush(stdout) != 0 || ferror(stdout))
            return EXIT_ERROR; /* talk_finish() tells */
        if (follow->done)
            return EXIT_OK;
        if (poll(&item, 1, -1) < 0 && errno != EINTR)
            return EXIT_ERROR;
    }
}

static int subscribe(struct cli *cli, struct tcpb *broker,
                     const struct tcpb_broker_events_params *params, struct follow *follow)
{
    struct tcpb_error error;

    if (tcpb_on_event(broker, on_event, follow, &error) ||
        tcpb_broker_events(broker, params, NULL, NULL, &error))
        return talk_error(cli, &error, NULL);
    return follow_events(cli, broker, follow);
}

static int run(struct cli *cli)
{
    const char *class = cli_value(cli, &verb_events, "class");
    const char *user = cli_value(cli, &verb_events, "user");
    const char *count = cli_value(cli, &verb_events, "count");
    const char *words[CLASSES_MAX];
    struct tcpb_broker_events_params params = {.has_classes = class != NULL};
    struct follow follow = {.json = cli->json, .left = UINT64_MAX};
    struct tcpb *broker = NULL;
    struct tcpb_error error;
    char classes[256], *end = NULL;

    if (class) {
        snprintf(classes, sizeof(classes), "%s", class);
        params.classes = (struct tcpb_strings){.items = words, .n_items = split(classes, words)};
    }
    params.has_uid = user != NULL;
    if (user && !read_user(user, &params.uid))
        return talk_usage("events", "there is no user %s", user);
    params.has_all = params.all = cli_value(cli, &verb_events, "all") != NULL;
    if (count) {
        follow.left = strtoull(count, &end, 10);
        if (*count < '0' || *count > '9' || *end || follow.left == 0)
            return talk_usage("events", "--count: expected a number from 1 up, not %s", count);
    }
    if (tcpb_open(&broker, cli->socket, &error))
        return talk_error(cli, &error, NULL);
    int status = subscribe(cli, broker, &params, &follow);
    tcpb_close(broker);
    return status;
}

static const struct cli_option options[] = {
    {"follow", NULL, "go on until it is interrupted, which it does anyway: the past is in the log",
     'f'},
    {"class", "CLASSES", "only these, divided by commas: open, close, fail, deny, listen, limit",
     0},
    {"user", "USER", "of that user, a name or a number, instead of one's own", 0},
    {"all", NULL, "of all users; for administrators, as is --user", 0},
    {"count", "N", "end after N lines", 0},
    {0},
};

const struct cli_verb verb_events = {
    .name = "events",
    .arguments = "",
    .summary = "print what happens to connections, as it happens",
    .details = "One line for each connection that is opened, closed, could not be made, or was not "
               "allowed, for each\n"
               "socket that listens, and each limit that is reached; with --json one object a line "
               "(NDJSON). A reader\n"
               "that is too slow loses events, and is told how many.",
    .options = options,
    .run = run,
};
