#include "cli/listing.h"

#include "cli/join.h"
#include "cli/talk.h"

static int show(const struct cli *cli, struct tcpb_reply *reply,
                void (*print)(const struct cli *cli, const void *result))
{
    if (cli->json) {
        puts(tcpb_reply_json(reply));
        return EXIT_OK;
    }
    const void *result = tcpb_reply_result(reply);
    if (!result) {
        talk("the broker's answer is not of this version: %.200s", tcpb_reply_json(reply));
        return EXIT_ERROR;
    }
    print(cli, result);
    return EXIT_OK;
}

int listing_ask(struct cli *cli, struct tcpb *broker, const char *method, const char *params,
                void (*print)(const struct cli *cli, const void *result))
{
    struct tcpb_reply *reply = NULL;
    struct tcpb_error error;
    int status = EXIT_OK;
    if (tcpb_exchange(broker, method, params, &reply, &error))
        status = talk_error(cli, &error, NULL);
    else if (tcpb_reply_failed(reply, &error))
        status = talk_error(cli, &error, tcpb_reply_json(reply));
    else
        status = show(cli, reply, print);
    tcpb_reply_free(reply);
    return status;
}

int listing(struct cli *cli, const char *method, enum listing_session session,
            void (*print)(const struct cli *cli, const void *result))
{
    struct tcpb *broker = NULL;
    int status = join_open(cli, session == LISTING_JOINED, &broker);
    if (status == EXIT_OK)
        status = listing_ask(cli, broker, method, NULL, print);
    tcpb_close(broker);
    return status;
}
