/*
 * policy: what the broker's policy says: test tells what a request would be told, and why; show
 * tells the rules in force.
 */
#include <inttypes.h>
#include <string.h>

#include "cli/listing.h"
#include "cli/talk.h"
#include "cli/verbs.h"
#include "proto/writer.h"

static bool given(const struct cli *cli, const char *option)
{
    return cli_value(cli, &verb_policy, option) != NULL;
}

/* ---- test ---- */

static void write_text(struct writer *writer, const char *key, const char *text)
{
    if (!text)
        return;
    writer_key(writer, key);
    writer_string(writer, text);
}

static void write_params(const struct cli *cli, struct writer *writer)
{
    writer_object_begin(writer);
    write_text(writer, "hostname", cli->n_words > 1 ? cli->words[1] : NULL);
    write_text(writer, "port", cli->n_words > 2 ? cli->words[2] : NULL);
    writer_key(writer, "secure");
    writer_bool(writer, given(cli, "secure") || given(cli, "no-verify") || given(cli, "identity"));
    writer_key(writer, "verify");
    writer_bool(writer, !given(cli, "no-verify"));
    write_text(writer, "identity", cli_value(cli, &verb_policy, "identity"));
    write_text(writer, "method", cli_value(cli, &verb_policy, "method"));
    write_text(writer, "user", cli_value(cli, &verb_policy, "user"));
    writer_object_end(writer);
    writer_raw(writer, "", 1);
}

static void print_decision(const struct tcpb_policy_test_result *result)
{
    printf("%s: ", result->verdict);
    if (!result->has_rule)
        printf("no rule decides, policy.preset = %s does\n", result->preset);
    else if (result->has_line)
        printf("rule \"%s\" (%s:%" PRId64 ")\n", result->rule, result->file, result->line);
    else
        printf("rule \"%s\" (--set)\n", result->rule);
    const struct tcpb_policy_address *row = result->addresses.items;
    for (size_t i = 0; i < result->addresses.n_items; i++, row++) {
        printf("  %-7s %s (%s%s%s)", row->verdict, row->address, row->scope,
               row->has_form ? "; it leads to " : "", row->has_form ? row->form : "");
        if (row->has_rule)
            printf(" rule \"%s\"", row->rule);
        if (row->has_line)
            printf(" line %" PRId64, row->line);
        printf("\n");
    }
}

static int show_test(const struct cli *cli, struct tcpb_reply *reply)
{
    const struct tcpb_policy_test_result *result = tcpb_reply_result(reply);
    if (!result) {
        talk("the broker's answer is not of this version: %.200s", tcpb_reply_json(reply));
        return EXIT_ERROR;
    }
    if (cli->json)
        puts(tcpb_reply_json(reply));
    else
        print_decision(result);
    return strcmp(result->verdict, "deny") == 0 ? EXIT_POLICY : EXIT_OK;
}

static int test(struct cli *cli)
{
    struct writer writer = WRITER_INIT;
    struct tcpb *broker = NULL;
    struct tcpb_reply *reply = NULL;
    struct tcpb_error error;
    int status = EXIT_OK;

    write_params(cli, &writer);
    if (writer_failed(&writer)) {
        talk("out of memory");
        writer_deinit(&writer);
        return EXIT_ERROR;
    }
    if (tcpb_open(&broker, cli->socket, &error) ||
        tcpb_exchange(broker, "Policy.Test", writer.data, &reply, &error))
        status = talk_error(cli, &error, NULL);
    else if (tcpb_reply_failed(reply, &error))
        status = talk_error(cli, &error, tcpb_reply_json(reply));
    else
        status = show_test(cli, reply);
    tcpb_reply_free(reply);
    tcpb_close(broker);
    writer_deinit(&writer);
    return status;
}

/* ---- show ---- */

static void print_show(const struct cli *cli, const void *result)
{
    const struct tcpb_policy_show_result *policy = result;
    const struct tcpb_policy_rule *rule = policy->rules.items;
    if (!given(cli, "no-header"))
        printf("%-6s %-7s %12s  %-20s %s\n", "LINE", "VERDICT", "HITS", "RULE", "CONDITIONS");
    for (size_t i = 0; i < policy->rules.n_items; i++, rule++) {
        char line[32] = "-";
        if (rule->has_line)
            snprintf(line, sizeof(line), "%" PRId64, rule->line);
        printf("%-6s %-7s %12" PRId64 "  %-20s %s\n", line, rule->verdict, rule->hits, rule->name,
               *rule->conditions ? rule->conditions : "(everything)");
    }
    printf("%-6s %-7s %12" PRId64 "  %-20s %s\n", "-", "preset", policy->preset_hits,
           policy->preset, "(what no rule decides; hits: denied)");
}

static int run(struct cli *cli)
{
    if (strcmp(cli->words[0], "test") == 0)
        return test(cli);
    if (strcmp(cli->words[0], "show") != 0)
        return talk_usage("policy", "there is no \"policy %s\", only policy test and policy show",
                          cli->words[0]);
    if (cli->n_words > 1)
        return talk_usage("policy", "policy show takes no \"%s\"", cli->words[1]);
    return listing(cli, "Policy.Show", LISTING_OWN, print_show);
}

static const struct cli_option options[] = {
    {"user", "USER", "test: as this user, by name or number (others than oneself: root only)", 0},
    {"secure", NULL, "test: with TLS", 0},
    {"no-verify", NULL, "test: with TLS, the certificate not verified", 0},
    {"identity", "NAME", "test: with TLS and this client certificate", 0},
    {"method", "METHOD", "test: another method than TCPConnect", 0},
    {"no-header", NULL, "show: leave out the line with the names of the columns", 0},
    {0},
};

const struct cli_verb verb_policy = {
    .name = "policy",
    .arguments = "test [HOST [PORT]] | show",
    .summary = "ask what the broker's policy allows",
    .details =
        "test tells what a request to HOST and PORT would be told, which rule decides, and what "
        "becomes of each\n"
        "address. Nothing is connected to; the name is looked up, unless it is denied whatever it "
        "leads to. The exit\n"
        "status is 3 when it is denied. For TCPBind and TCPListen HOST is the local address.\n"
        "show tells the rules in force and how often each has decided, for root and the broker's "
        "own user.",
    .options = options,
    .min_words = 1,
    .max_words = 3,
    .run = run,
};
