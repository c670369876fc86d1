/*
 * ls: the sockets of the broker: root sees all, others those of the session that the environment
 * names. (The session of this command itself has none.)
 */
#include <inttypes.h>
#include <string.h>

#include "cli/listing.h"
#include "cli/talk.h"
#include "cli/verbs.h"

static void owner_text(const struct tcpb_socket_row *row, char *text, size_t n)
{
    if (!row->has_owner)
        snprintf(text, n, "%s", row->has_door ? row->door : "-"); /* who came by a door has none */
    else if (row->owner.text)
        snprintf(text, n, "%s", row->owner.text);
    else
        snprintf(text, n, "%" PRId64, row->owner.number);
    talk_clean(text);
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

static void print(const struct cli *cli, const void *result)
{
    const struct tcpb_broker_list_result *list = result;
    const struct tcpb_socket_row *row = list->sockets.items;
    if (!cli_value(cli, &verb_ls, "no-header"))
        printf("%-8s %-8s %-7s %-8s %-12s %-12s %-10s %12s %12s  %s\n", "SOCKET", "AGE", "UID",
               "PID", "OWNER", "STATE", "TLS", "IN", "OUT", "PEER");
    for (size_t i = 0; i < list->sockets.n_items; i++, row++) {
        char owner[80], peer[400], age[32], state[40];
        owner_text(row, owner, sizeof(owner));
        peer_text(row, peer, sizeof(peer));
        age_text(row->age_ms, age, sizeof(age));
        snprintf(state, sizeof(state), "%s", row->state);
        talk_clean(state);
        printf("%-8" PRId64 " %-8s %-7" PRId64 " %-8" PRId64 " %-12s %-12s %-10s %12" PRId64
               " %12" PRId64 "  %s\n",
               row->socket, age, row->uid, row->pid, owner, state,
               !row->secure    ? "-"
               : row->verified ? "verified"
                               : "UNVERIFIED",
               row->bytes_in, row->bytes_out, peer);
    }
}

static int run(struct cli *cli)
{
    return listing(cli, "Broker.List", LISTING_JOINED, print);
}

static const struct cli_option options[] = {
    {"no-header", NULL, "leave out the line with the names of the columns", 0},
    {0},
};

const struct cli_verb verb_ls = {
    .name = "ls",
    .arguments = "",
    .summary = "list the broker's sockets",
    .details = "root sees the sockets of all sessions, others those of the session that "
               "$TCPBROKER_SESSION names\n"
               "(tcpbroker session open).",
    .options = options,
    .run = run,
};
