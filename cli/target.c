#include "cli/target.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/talk.h"

static int read_timeout(const char *text, const struct cli_verb *verb,
                        struct tcpb_tcp_connect_params *params)
{
    char *end;

    if (!text)
        return 0;
    double seconds = strtod(text, &end);
    if (end == text || *end || !(seconds >= 0 && seconds <= 86400))
        return talk_usage(verb->name, "--timeout must be 0 to 86400 seconds, not \"%s\"", text);
    params->has_timeout_ms = true;
    params->timeout_ms = (int64_t)(seconds * 1000 + 0.5);
    return 0;
}

static int read_family(const char *text, const struct cli_verb *verb,
                       struct tcpb_tcp_connect_params *params)
{
    static const char *const families[] = {"any", "ipv4", "ipv6"}; /* as methods.def has them */

    if (!text)
        return 0;
    for (size_t i = 0; i < sizeof(families) / sizeof(families[0]); i++)
        if (strcmp(text, families[i]) == 0) {
            params->has_family = true;
            params->family = (int64_t)i;
            return 0;
        }
    return talk_usage(verb->name, "--family must be any, ipv4 or ipv6, not \"%s\"", text);
}

int target_params(const struct cli *cli, const struct cli_verb *verb,
                  struct tcpb_tcp_connect_params *ret_params)
{
    const char *server_name = cli_value(cli, verb, "server-name");
    const char *profile = cli_value(cli, verb, "profile");
    const char *identity = cli_value(cli, verb, "identity");
    struct tcpb_tcp_connect_params params = {
        .hostname = cli->words[0],
        .port = cli->words[1],
        .has_secure = true,
        .secure = cli_value(cli, verb, "tls") != NULL,
        .has_verify = true,
        .verify = cli_value(cli, verb, "no-verify") == NULL,
        .has_server_name = server_name != NULL,
        .server_name = server_name,
        .has_profile = profile != NULL,
        .profile = profile,
        .has_identity = identity != NULL,
        .identity = identity,
    };
    if (!params.secure && (!params.verify || server_name || profile || identity))
        return talk_usage(verb->name,
                          "--no-verify, --server-name, --profile and --identity need --tls");
    int r = read_timeout(cli_value(cli, verb, "timeout"), verb, &params);
    if (r == 0)
        r = read_family(cli_value(cli, verb, "family"), verb, &params);
    if (r == 0)
        *ret_params = params;
    return r;
}

static void tell_facts(const struct tcpb_tcp_connect_result *result)
{
    talk("connected to %s port %" PRId64 " from %s port %" PRId64 " (resolve %" PRId64
         " us, connect %" PRId64 " us, handshake %" PRId64 " us)",
         result->remote_address, result->remote_port, result->local_address, result->local_port,
         result->timing_us.resolve, result->timing_us.connect, result->timing_us.handshake);
    if (!result->has_tls)
        return;
    talk("%s, %s, %s%s", result->tls.version, result->tls.cipher,
         result->tls.verified ? "certificate verified" : "certificate NOT verified",
         result->tls.resumed ? ", session resumed" : "");
    if (result->tls.has_peer)
        talk("subject %s, issuer %s, valid until %s", result->tls.peer.subject,
             result->tls.peer.issuer, result->tls.peer.not_after);
}

void target_tell(const struct cli *cli, const struct cli_verb *verb,
                 const struct tcpb_tcp_connect_result *result, const char *json)
{
    if (cli->json)
        fprintf(stderr, "%s\n", json);
    else if (cli_value(cli, verb, "verbose"))
        tell_facts(result);
}
