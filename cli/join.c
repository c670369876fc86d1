#include "cli/join.h"

#include <stdlib.h>
#include <string.h>

#include "cli/talk.h"
#include "lib/error.h"
#include "proto/json.h"
#include "proto/methods.h"
#include "proto/writer.h"

#define REMEDY                                                                                     \
    "open a new one (export TCPBROKER_SESSION=$(tcpbroker session open)), or unset "               \
    "TCPBROKER_SESSION"

const char *join_token(void)
{
    const char *token = getenv("TCPBROKER_SESSION");
    return token && *token ? token : NULL;
}

/* What could be a token at all. Anything else is not sent: an error about it might quote it. */
static bool plausible(const char *token)
{
    const struct field *field = &method_infos[METHOD_SESSION_JOIN].params->fields[0];
    size_t valid, n = strlen(token);
    bool incomplete;
    return (int64_t)n >= field->min && (int64_t)n <= field->max &&
           json_utf8_valid(token, n, &valid, &incomplete);
}

static int tell_refused(struct cli *cli, const struct tcpb_error *refusal)
{
    struct tcpb_error error = *refusal;
    snprintf(error.message, sizeof(error.message),
             "the session of $TCPBROKER_SESSION cannot be joined: %.700s; " REMEDY,
             refusal->message);
    return talk_error(cli, &error, NULL);
}

int join_session(struct cli *cli, struct tcpb *broker)
{
    struct writer params = WRITER_INIT;
    struct tcpb_reply *reply = NULL;
    struct tcpb_error error;
    const char *token = join_token();
    int status = EXIT_OK;
    if (!token)
        return EXIT_OK;
    if (!plausible(token)) {
        error_local(&error, TCPB_LOCAL_ARGUMENT, 0,
                    "what $TCPBROKER_SESSION holds is no session's token; " REMEDY);
        return talk_error(cli, &error, NULL);
    }
    writer_object_begin(&params);
    writer_key(&params, "token");
    writer_string(&params, token);
    writer_object_end(&params);
    writer_raw(&params, "", 1);
    if (writer_failed(&params)) {
        error_memory(&error);
        status = talk_error(cli, &error, NULL);
    } else if (tcpb_exchange(broker, "Session.Join", params.data, &reply, &error)) {
        status = talk_error(cli, &error, NULL);
    } else if (tcpb_reply_failed(reply, &error)) {
        status = tell_refused(cli, &error);
    }
    tcpb_reply_free(reply);
    writer_deinit(&params);
    return status;
}

int join_open(struct cli *cli, bool joined, struct tcpb **ret_broker)
{
    struct tcpb_error error;
    if (tcpb_open(ret_broker, cli->socket, &error))
        return talk_error(cli, &error, NULL);
    return joined ? join_session(cli, *ret_broker) : EXIT_OK;
}
