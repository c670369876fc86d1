#include "cli/listing.h"

#include "cli/join.h"
#include "cli/talk.h"

int listing(struct cli *cli, const char *method, enum listing_session session,
            void (*print)(const struct cli *cli, const void *result))
{
    struct tcpb *broker = NULL;
    struct tcpb_reply *reply = NULL;
    struct tcpb_error error;
    int status = EXIT_OK;
    if (tcpb_open(&broker, cli->socket, &error)) {
        status = talk_error(cli, &error, NULL);
    } else if (session == LISTING_JOINED && (status = join_session(cli, broker)) != EXIT_OK) {
        ; /* told */
    } else if (tcpb_exchange(broker, method, NULL, &reply, &error)) {
        status = talk_error(cli, &error, NULL);
    } else if (tcpb_reply_failed(reply, &error)) {
        status = talk_error(cli, &error, tcpb_reply_json(reply));
    } else if (cli->json) {
        puts(tcpb_reply_json(reply));
    } else {
        const void *result = tcpb_reply_result(reply);
        if (result) {
            print(cli, result);
        } else {
            talk("the broker's answer is not of this version: %.200s", tcpb_reply_json(reply));
            status = EXIT_ERROR;
        }
    }
    tcpb_reply_free(reply);
    tcpb_close(broker);
    return status;
}
