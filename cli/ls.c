/*
 * ls: the sockets of the broker: those of the session that the environment names; without one as
 * many as the user may see, which are all for an administrator and his own for everybody else. (The
 * session of this command itself has none.)
 */
#include <inttypes.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/join.h"
#include "cli/listing.h"
#include "cli/talk.h"
#include "cli/verbs.h"

/* ---- printing ---- */

/* For a column of its own: one word, whatever it is. */
static void word(char *text)
{
    talk_clean(text);
    for (; *text; text++)
        if (*text == ' ')
            *text = '_';
}

static void owner_text(const struct tcpb_socket_row *row, char *text, size_t n)
{
    if (!row->has_owner)
        snprintf(text, n, "-"); /* the session's unnamed thread, or who came by a door */
    else if (row->owner.text)
        snprintf(text, n, "%s", row->owner.text);
    else
        snprintf(text, n, "%" PRId64, row->owner.number);
    word(text);
}

/* "tunnel:NAME", "socks" */
static void door_text(const struct tcpb_socket_row *row, char *text, size_t n)
{
    snprintf(text, n, "%s", row->has_door ? row->door : "-");
    char *blank = strchr(text, ' ');
    if (blank)
        *blank = ':';
    word(text);
}

static void peer_text(const struct tcpb_socket_row *row, char *text, size_t n)
{
    const char *address = row->has_remote_address ? row->remote_address : "";
    bool v6 = strchr(address, ':') != NULL;
    int used = snprintf(text, n, "%s",
                        row->has_hostname ? row->hostname
                        : *address        ? address
                                          : "-");
    if (row->has_hostname && *address && strcmp(address, row->hostname) != 0 && used > 0 &&
        (size_t)used < n)
        used += snprintf(text + used, n - (size_t)used, " (%s%s%s)", v6 ? "[" : "", address,
                         v6 ? "]" : "");
    if (row->has_remote_port && used > 0 && (size_t)used < n)
        snprintf(text + used, n - (size_t)used, " %" PRId64, row->remote_port);
    talk_clean(text);
}

static void age_text(int64_t age_ms, char *text, size_t n)
{
    int64_t s = age_ms / 1000;
    if (s < 60)
        snprintf(text, n, "%" PRId64 ".%" PRId64 "s", s, age_ms % 1000 / 100);
    else if (s < 3600)
        snprintf(text, n, "%" PRId64 "m%02" PRId64 "s", s / 60, s % 60);
    else
        snprintf(text, n, "%" PRId64 "h%02" PRId64 "m", s / 3600, s / 60 % 60);
}

struct texts {
    char owner[80], door[96], state[40], age[32], peer[400];
};

static void read_row(const struct tcpb_socket_row *row, struct texts *ret_texts)
{
    owner_text(row, ret_texts->owner, sizeof(ret_texts->owner));
    door_text(row, ret_texts->door, sizeof(ret_texts->door));
    peer_text(row, ret_texts->peer, sizeof(ret_texts->peer));
    age_text(row->age_ms, ret_texts->age, sizeof(ret_texts->age));
    snprintf(ret_texts->state, sizeof(ret_texts->state), "%s", row->state);
    word(ret_texts->state);
}

static void widen(int *width, const char *text)
{
    int n = (int)strlen(text);
    if (*width < n)
        *width = n;
}

static void print(const struct cli *cli, const void *result)
{
    const struct tcpb_broker_list_result *list = result;
    const struct tcpb_socket_row *rows = list->sockets.items;
    int w_owner = 5, w_door = 4, w_state = 9;
    struct texts texts;

    for (size_t i = 0; i < list->sockets.n_items; i++) {
        read_row(&rows[i], &texts);
        widen(&w_owner, texts.owner);
        widen(&w_door, texts.door);
        widen(&w_state, texts.state);
    }
    if (!cli_value(cli, &verb_ls, "no-header"))
        printf("%-8s %-8s %-7s %-8s %-*s %-*s %-*s %-10s %12s %12s  %s\n", "SOCKET", "AGE", "UID",
               "PID", w_owner, "OWNER", w_door, "DOOR", w_state, "STATE", "TLS", "IN", "OUT",
               "PEER");
    for (size_t i = 0; i < list->sockets.n_items; i++) {
        const struct tcpb_socket_row *row = &rows[i];
        read_row(row, &texts);
        printf("%-8" PRId64 " %-8s %-7" PRId64 " %-8" PRId64 " %-*s %-*s %-*s %-10s %12" PRId64
               " %12" PRId64 "  %s\n",
               row->socket, texts.age, row->uid, row->pid, w_owner, texts.owner, w_door, texts.door,
               w_state, texts.state,
               !row->secure    ? "-"
               : row->verified ? "verified"
                               : "UNVERIFIED",
               row->bytes_in, row->bytes_out, texts.peer);
    }
}

/* ---- asking ---- */

static int read_user(const char *text, int64_t *ret_uid)
{
    char *end;
    const struct passwd *user = getpwnam(text);
    long long number = strtoll(text, &end, 10);

    if (user)
        *ret_uid = user->pw_uid;
    else if (*text && !*end && number >= -1 && number <= UINT32_MAX)
        *ret_uid = number;
    else
        return talk_usage("ls", "there is no user \"%s\"", text);
    return EXIT_OK;
}

/* What to ask for, as members of a JSON object. */
struct wish {
    char members[160];
};

__attribute__((format(printf, 2, 3))) static void add(struct wish *wish, const char *format, ...)
{
    size_t n = strlen(wish->members);
    va_list arguments;

    if (n > 0 && n + 1 < sizeof(wish->members))
        wish->members[n++] = ',';
    va_start(arguments, format);
    (void)vsnprintf(wish->members + n, sizeof(wish->members) - n, format, arguments);
    va_end(arguments);
}

static int read_options(const struct cli *cli, struct wish *ret_wish)
{
    const char *user = cli_value(cli, &verb_ls, "user"), *state = cli_value(cli, &verb_ls, "state");
    bool all = cli_value(cli, &verb_ls, "all") != NULL;
    int64_t uid = 0;
    int status = user ? read_user(user, &uid) : EXIT_OK;

    if (status)
        return status;
    if (state && (!*state || strspn(state, "abcdefghijklmnopqrstuvwxyz_") != strlen(state) ||
                  strlen(state) > 32))
        return talk_usage("ls", "\"%.40s\" is no state (tcpbroker help Broker.List)", state);
    *ret_wish = (struct wish){.members = ""};
    if (all || (!user && join_token()))
        add(ret_wish, "\"all\":%s", all ? "true" : "false");
    if (user)
        add(ret_wish, "\"uid\":%" PRId64, uid);
    if (state)
        add(ret_wish, "\"state\":\"%s\"", state);
    return EXIT_OK;
}

/* May this user see all? Else what he may, which is his own, is wished for. */
static int find_rights(struct cli *cli, struct tcpb *broker, struct wish *wish)
{
    struct tcpb_reply *reply = NULL;
    struct tcpb_error error = {.code = 0};
    int r =
        tcpb_call(broker, "Broker.List", "{\"all\":true,\"state\":\"offered\"}", &reply, &error);

    tcpb_reply_free(reply);
    if (r == 0)
        return EXIT_OK;
    if (r != TCPB_E_EACCES)
        return talk_error(cli, &error, NULL);
    add(wish, "\"uid\":%" PRId64, (int64_t)geteuid());
    return EXIT_OK;
}

static int ask(struct cli *cli, struct tcpb *broker, const struct wish *wish)
{
    char params[sizeof(wish->members) + 2];

    snprintf(params, sizeof(params), "{%s}", wish->members);
    return listing_ask(cli, broker, "Broker.List", *wish->members ? params : NULL, print);
}

static int run(struct cli *cli)
{
    bool named = cli_value(cli, &verb_ls, "all") || cli_value(cli, &verb_ls, "user");
    struct tcpb *broker = NULL;
    struct wish wish;
    int status = read_options(cli, &wish);

    if (status)
        return status;
    status = join_open(cli, !named, &broker);
    if (status == EXIT_OK && !named && !join_token() && geteuid() != 0)
        status = find_rights(cli, broker, &wish);
    if (status == EXIT_OK)
        status = ask(cli, broker, &wish);
    tcpb_close(broker);
    return status;
}

static const struct cli_option options[] = {
    {"all", NULL, "those of all sessions and users; for administrators", 0},
    {"user", "USER", "those of all sessions of that user, by name or number", 0},
    {"state", "STATE", "only those in that state: connected, listening, attached, …", 0},
    {"no-header", NULL, "leave out the line with the names of the columns", 0},
    {0},
};

const struct cli_verb verb_ls = {
    .name = "ls",
    .arguments = "",
    .summary = "list the broker's sockets",
    .details = "Without an option: the sockets of the session that $TCPBROKER_SESSION names "
               "(tcpbroker session open).\n"
               "Without such a session: all of them for root, the broker's own user and members of "
               "its admin.group, and\n"
               "one's own for others.",
    .options = options,
    .run = run,
};
