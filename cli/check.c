/*
 * check: one attempt to connect, told in full, with what is wrong and what would mend it. It is the
 * broker that connects, so what is seen is what its clients get: its resolver, its trust, its
 * policy.
 *
 * With TLS 1.3 a server may object to the client after the client's handshake is done: it is given
 * time to do so.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/check.h"
#include "cli/talk.h"
#include "cli/verbs.h"
#include "proto/json.h"
#include "proto/writer.h"

enum { DEPTH_MAX = 31, ALPN_MAX = 16, HEAR_MS = 300, END_MS = 1000 };

/* ---- asking ---- */

/* What one answer holds; the structs point into it. */
struct exchange {
    struct tcpb_reply *reply;
    struct json *tree;
    struct json_arena arena;
    bool failed;
    struct tcpb_error error;              /* when it failed */
    struct proto_error_object error_full; /* the same with all its data */
};

static void exchange_deinit(struct exchange *exchange)
{
    json_arena_deinit(&exchange->arena);
    json_free(exchange->tree);
    tcpb_reply_free(exchange->reply);
}

/* Ask; the result goes into *ret_result (NULL: not wanted). Returns 0, also when the answer is an
 * error, or a code with *error filled. */
static int exchange(struct tcpb *broker, enum method method, const void *params,
                    struct exchange *exchange, void *ret_result, struct tcpb_error *error)
{
    const struct method_info *info = &method_infos[method];
    struct writer writer = WRITER_INIT;
    struct json_fault json_fault;
    struct field_fault fault;

    *exchange = (struct exchange){.tree = NULL};
    fields_write(info->params, params, &writer);
    writer_raw(&writer, "", 1);
    int r = writer_failed(&writer)
                ? TCPB_LOCAL_MEMORY
                : tcpb_exchange(broker, info->name, writer.data, &exchange->reply, error);
    if (writer_failed(&writer))
        *error = (struct tcpb_error){.code = r, .symbol = "MEMORY", .message = "out of memory"};
    writer_deinit(&writer);
    if (r)
        return r;
    exchange->failed = tcpb_reply_failed(exchange->reply, &exchange->error);
    const char *text = tcpb_reply_json(exchange->reply);
    void *target = exchange->failed ? &exchange->error_full : ret_result;
    if (!target)
        return 0;
    if (json_parse(&exchange->tree, text, strlen(text), DEPTH_MAX, &json_fault) == 0 &&
        fields_read(exchange->failed ? &proto_error_object_table : info->result, exchange->tree,
                    &exchange->arena, FIELDS_LENIENT, target, &fault) == 0)
        return 0;
    *error =
        (struct tcpb_error){.code = TCPB_LOCAL_PROTOCOL, .symbol = "PROTOCOL", .stage = "client"};
    snprintf(error->message, sizeof(error->message),
             "the broker's answer is not of this version: %.200s", text);
    return error->code;
}

/* ---- options ---- */

static int read_word(const char *option, const char *value, const char *const *words, bool *ret_has,
                     int64_t *ret_index)
{
    *ret_has = value != NULL;
    for (*ret_index = 0; value && words[*ret_index]; ++*ret_index)
        if (strcmp(words[*ret_index], value) == 0)
            return 0;
    return value ? talk_usage("check", "--%s cannot be \"%s\"", option, value) : 0;
}

static int read_alpn(char *list, const char *items[ALPN_MAX], struct proto_strings *ret_alpn)
{
    char *rest = NULL;
    size_t n = 0;

    for (char *item = strtok_r(list, ",", &rest); item; item = strtok_r(NULL, ",", &rest)) {
        if (n == ALPN_MAX)
            return talk_usage("check", "--alpn takes %d protocols at most", ALPN_MAX);
        items[n++] = item;
    }
    if (n == 0)
        return talk_usage("check", "--alpn names no protocol");
    *ret_alpn = (struct proto_strings){.items = items, .n_items = n};
    return 0;
}

static int read_timeout(const char *text, struct proto_tcp_connect_params *params)
{
    char *end;
    if (!text)
        return 0;
    double seconds = strtod(text, &end);
    if (end == text || *end || !(seconds >= 0 && seconds <= 86400))
        return talk_usage("check", "--timeout must be 0 to 86400 seconds, not \"%s\"", text);
    params->has_timeout_ms = true;
    params->timeout_ms = (int64_t)(seconds * 1000 + 0.5);
    return 0;
}

/* Options that TCPConnect has as parameters: this is the place for more of them. alpn_items and
 * alpn_text hold what the parameters point to. */
static int read_params(const struct cli *cli, struct proto_tcp_connect_params *params,
                       const char *alpn_items[ALPN_MAX], char **alpn_text)
{
    static const char *const families[] = {"any", "ipv4", "ipv6", NULL};
    static const char *const versions[] = {"1.2", "1.3", NULL};
    static const char *const need_tls[] = {"no-verify", "server-name", "alpn", "min-tls",
                                           "profile",   "identity",    NULL};
    const char *alpn = cli_value(cli, &verb_check, "alpn");
    const char *server_name = cli_value(cli, &verb_check, "server-name");
    const char *profile = cli_value(cli, &verb_check, "profile");
    const char *identity = cli_value(cli, &verb_check, "identity");

    *params = (struct proto_tcp_connect_params){
        .hostname = cli->words[0],
        .port = cli->words[1],
        .has_secure = true,
        .secure = cli_value(cli, &verb_check, "tls") != NULL,
        .has_verify = true,
        .verify = cli_value(cli, &verb_check, "no-verify") == NULL,
        .has_server_name = server_name != NULL,
        .server_name = server_name,
        .has_profile = profile != NULL,
        .profile = profile,
        .has_identity = identity != NULL,
        .identity = identity,
        .has_explain = true,
        .explain = true,
    };
    for (size_t i = 0; need_tls[i] && !params->secure; i++)
        if (cli_value(cli, &verb_check, need_tls[i]))
            return talk_usage("check", "--%s needs --tls", need_tls[i]);
    int r = read_word("family", cli_value(cli, &verb_check, "family"), families,
                      &params->has_family, &params->family);
    if (r == 0)
        r = read_word("min-tls", cli_value(cli, &verb_check, "min-tls"), versions,
                      &params->has_min_tls, &params->min_tls);
    if (r == 0)
        r = read_timeout(cli_value(cli, &verb_check, "timeout"), params);
    if (r || !alpn)
        return r;
    *alpn_text = strdup(alpn);
    if (!*alpn_text) {
        talk("out of memory");
        return EXIT_ERROR;
    }
    params->has_alpn = true;
    return read_alpn(*alpn_text, alpn_items, &params->alpn);
}

/* ---- what came of it ---- */

static void look_at_result(struct check *check, const struct proto_tcp_connect_result *result)
{
    const struct proto_tls_facts *tls = &result->tls;

    check->result = result;
    if (result->has_addresses)
        check->addresses = result->addresses;
    if (result->has_attempts)
        check->attempts = result->attempts;
    if (!result->has_tls)
        return;
    check->version = tls->version;
    check->cipher = tls->cipher;
    check->alpn = tls->has_alpn ? tls->alpn : NULL;
    if (tls->has_chain)
        check->chain = tls->chain;
    check->chain_more = tls->has_chain_more ? tls->chain_more : 0;
    check->failure = tls->has_refusal ? &tls->refusal : NULL;
}

static void look_at_error(struct check *check, const struct proto_error_object *error)
{
    const struct proto_error_data *data = &error->data;

    check->error = error;
    if (!error->has_data)
        return;
    if (data->has_addresses)
        check->addresses = data->addresses;
    if (data->has_attempts)
        check->attempts = data->attempts;
    if (!data->has_tls)
        return;
    check->failure = &data->tls;
    if (data->tls.has_version)
        check->version = data->tls.version;
    if (data->tls.has_cipher)
        check->cipher = data->tls.cipher;
    if (data->tls.has_alpn)
        check->alpn = data->tls.alpn;
    if (data->tls.has_chain)
        check->chain = data->tls.chain;
    if (data->tls.has_chain_more)
        check->chain_more = data->tls.chain_more;
}

time_t check_time(const char *text)
{
    struct tm tm = {.tm_isdst = 0};
    const char *end = strptime(text, "%Y-%m-%dT%H:%M:%SZ", &tm);
    return end && *end == '\0' ? timegm(&tm) : -1;
}

void check_days(const struct check *check, time_t when, char *text, size_t n_text)
{
    long long days = (long long)(when - check->now) / 86400;
    unsigned long long n = days < 0 ? 0ULL - (unsigned long long)days : (unsigned long long)days;

    if (days == 0)
        snprintf(text, n_text, "%s", when >= check->now ? "within a day" : "less than a day ago");
    else
        snprintf(text, n_text, "%s%llu day%s%s", days > 0 ? "in " : "", n, n == 1 ? "" : "s",
                 days < 0 ? " ago" : "");
}

const struct proto_certificate *check_certificate(const struct check *check, int64_t depth)
{
    const struct proto_certificate *certificate = check->chain.items;
    for (size_t i = 0; i < check->chain.n_items; i++)
        if (certificate[i].has_depth && certificate[i].depth == depth)
            return &certificate[i];
    return NULL;
}

void check_names(const struct proto_certificate *certificate, size_t n_most, char *text,
                 size_t n_text)
{
    const struct proto_strings *names = &certificate->names;
    size_t n = 0, at = 0, n_all = !certificate->has_names ? 0 : names->n_items;

    text[0] = '\0';
    for (; n < n_all && n < n_most && at + strlen(names->items[n]) + 40 < n_text; n++)
        at += (size_t)snprintf(text + at, n_text - at, "%s%s", n ? ", " : "", names->items[n]);
    uint64_t more = n_all - n;
    if (certificate->has_names_more && certificate->names_more > 0)
        more += (uint64_t)certificate->names_more;
    if (more)
        snprintf(text + at, n_text - at, "%s%llu more", n ? " and " : "", (unsigned long long)more);
}

/* ---- the end of the connection ---- */

/* Wait for what the server says. Returns true when it has objected, with *said filled; else
 * *ret_silent: it has said nothing at all. */
static bool hear(struct tcpb *broker, int64_t socket, int64_t timeout_ms, struct exchange *said,
                 bool *ret_silent)
{
    struct proto_tcp_receive_params receive = {.socket = socket,
                                               .has_timeout_ms = true,
                                               .timeout_ms = timeout_ms,
                                               .has_encoding = true,
                                               .encoding = 1 /* base64 */};
    struct proto_tcp_receive_result result;
    struct tcpb_error error;
    int r = exchange(broker, METHOD_TCP_RECEIVE, &receive, said, &result, &error);

    *ret_silent = r == 0 && said->failed && said->error.code == TCPB_E_ETIMEDOUT;
    if (r == 0 && said->failed && said->error_full.has_data && said->error_full.data.has_tls &&
        said->error_full.data.tls.has_alert)
        return true;
    exchange_deinit(said);
    *said = (struct exchange){.tree = NULL};
    return false;
}

/* The server's last word on TLS 1.3, after the handshake. What it sends of its own accord, or its
 * end, means that it is content; when it is silent it may be far away or busy, or wait for us: our
 * close_notify makes it speak. (Not at once: what it has closed already answers that with a reset,
 * and its alert may be lost.) */
static bool server_objects(struct tcpb *broker, const struct proto_tcp_connect_result *result,
                           struct exchange *said)
{
    struct proto_tcp_close_params close = {
        .socket = result->socket, .has_option = true, .option = 1};
    struct exchange answer;
    struct tcpb_error error;
    bool silent;
    int64_t wait_ms = HEAR_MS + 2 * (result->timing_us.handshake / 1000);

    if (hear(broker, result->socket, wait_ms < END_MS ? wait_ms : END_MS, said, &silent))
        return true;
    if (!silent)
        return false;
    int r = exchange(broker, METHOD_TCP_CLOSE, &close, &answer, NULL, &error);
    exchange_deinit(&answer);
    return r == 0 && hear(broker, result->socket, END_MS, said, &silent);
}

static void end_connection(struct tcpb *broker, int64_t socket)
{
    struct proto_tcp_close_params close = {
        .socket = socket, .has_timeout_ms = true, .timeout_ms = END_MS};
    struct exchange answer;
    struct tcpb_error error;

    /* a failure of it, or a server that does not end in time, has nothing to say any more */
    (void)exchange(broker, METHOD_TCP_CLOSE, &close, &answer, NULL, &error);
    exchange_deinit(&answer);
}

/* ---- the verb ---- */

static void print_json(const struct check *check, const struct exchange *connected,
                       const struct exchange *said)
{
    struct writer writer = WRITER_INIT;
    const struct exchange *failed = connected->failed ? connected : said;

    writer_object_begin(&writer);
    writer_key(&writer, "ok");
    writer_bool(&writer, check->status == EXIT_OK);
    writer_key(&writer, "exit");
    writer_int(&writer, check->status);
    writer_key(&writer, "hostname");
    writer_string(&writer, check->host);
    writer_key(&writer, "port");
    writer_string(&writer, check->port);
    writer_key(&writer, "secure");
    writer_bool(&writer, check->tls);
    writer_key(&writer, "findings");
    writer_array_begin(&writer);
    for (size_t i = 0; i < check->n_findings; i++) {
        writer_object_begin(&writer);
        writer_key(&writer, "severity");
        writer_string(&writer, check->findings[i].is_error ? "error" : "warning");
        writer_key(&writer, "what");
        writer_string(&writer, check->findings[i].what);
        writer_key(&writer, "remedy");
        writer_string(&writer, check->findings[i].remedy);
        writer_object_end(&writer);
    }
    writer_array_end(&writer);
    if (check->result) {
        writer_key(&writer, "result");
        writer_raw_value(&writer, tcpb_reply_json(connected->reply),
                         strlen(tcpb_reply_json(connected->reply)));
    }
    if (check->error) {
        writer_key(&writer, "error");
        writer_raw_value(&writer, tcpb_reply_json(failed->reply),
                         strlen(tcpb_reply_json(failed->reply)));
    }
    writer_object_end(&writer);
    if (writer_failed(&writer))
        talk("out of memory");
    else
        printf("%.*s\n", (int)writer.n_data, writer.data);
    writer_deinit(&writer);
}

/* After the answer to TCPConnect: fill the check, and print it. */
static int conclude(const struct cli *cli, struct tcpb *broker, struct check *check,
                    const struct exchange *connected, const struct proto_tcp_connect_result *result)
{
    struct exchange said = {.tree = NULL};

    if (connected->failed) {
        look_at_error(check, &connected->error_full);
        check->status = talk_exit(&connected->error);
    } else {
        look_at_result(check, result);
        if (result->has_tls && strcmp(result->tls.version, "TLSv1.3") == 0 &&
            server_objects(broker, result, &said)) {
            look_at_error(check, &said.error_full);
            check->status = EXIT_TLS;
        }
        end_connection(broker, result->socket);
    }
    /* what was typed is wrong: no diagnosis of anything but that */
    if (check->status == EXIT_USAGE) {
        (void)talk_error(cli, &connected->error, tcpb_reply_json(connected->reply));
        return EXIT_USAGE;
    }
    check_advise(check);
    if (cli->json)
        print_json(check, connected, &said);
    else
        check_print(check);
    exchange_deinit(&said);
    return check->status;
}

static int run(struct cli *cli)
{
    struct proto_tcp_connect_params params;
    struct proto_tcp_connect_result result = {.socket = 0};
    const char *alpn_items[ALPN_MAX];
    char *alpn_text = NULL;
    struct exchange connected = {.tree = NULL};
    struct tcpb *broker = NULL;
    struct tcpb_error error;

    int status = read_params(cli, &params, alpn_items, &alpn_text);
    if (status == EXIT_OK && tcpb_open(&broker, cli->socket, &error))
        status = talk_error(cli, &error, NULL);
    if (status == EXIT_OK) {
        struct check check = {
            .host = params.hostname,
            .port = params.port,
            .name = params.has_server_name ? params.server_name : params.hostname,
            .tls = params.secure,
            .verify = params.verify,
            .profile = params.profile,
            .family = params.has_family && params.family != 0,
            .offers_alpn = params.has_alpn,
            .min_tls13 = params.has_min_tls && params.min_tls == 1,
            .now = time(NULL),
        };
        if (exchange(broker, METHOD_TCP_CONNECT, &params, &connected, &result, &error))
            status = talk_error(cli, &error, NULL);
        else
            status = conclude(cli, broker, &check, &connected, &result);
        exchange_deinit(&connected);
    }
    tcpb_close(broker);
    free(alpn_text);
    return status;
}

static const struct cli_option options[] = {
    {"tls", NULL, "TLS, certificate and name verified", 0},
    {"no-verify", NULL, "go on when the certificate is not accepted, and tell why it is not", 0},
    {"server-name", "NAME", "name for SNI and verification instead of HOST", 0},
    {"alpn", "LIST", "protocols to offer by ALPN, with commas between, the best first", 0},
    {"min-tls", "VERSION", "oldest version of TLS to accept: 1.2 or 1.3", 0},
    {"profile", "NAME", "trust profile: a section [tls \"NAME\"] of the broker", 0},
    {"identity", "NAME", "client certificate: a section [identity \"NAME\"] of the broker", 0},
    {"family", "FAMILY", "which addresses to use: any, ipv4 or ipv6", 0},
    {"timeout", "SECONDS", "deadline for look-up, connect and handshake together", 0},
    {0},
};

const struct cli_verb verb_check = {
    .name = "check",
    .arguments = "HOST PORT",
    .summary = "connect once and tell what is wrong, and what would mend it",
    .details = "The broker connects, so this is what its clients get. Told are the addresses and "
               "what came of each, the times,\n"
               "version and cipher of TLS, the certificates with their expiry, what is wrong, and "
               "what would mend it.\n"
               "The exit status tells the stage that failed. With --json: {ok, exit, hostname, "
               "port, secure, findings, result,\n"
               "error}; result and error are those of TCPConnect with explain.",
    .options = options,
    .min_words = 2,
    .max_words = 2,
    .run = run,
};
