#include "cli/talk.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "proto/writer.h"

void talk_clean(char *text)
{
    for (unsigned char *p = (unsigned char *)text; *p; p++)
        if (*p < 0x20 || *p == 0x7f || (*p == 0xc2 && p[1] >= 0x80 && p[1] < 0xa0 && (p[1] = '?')))
            *p = '?';
}

static void talk_list(const char *format, va_list list, const char *more)
{
    char text[2048];
    vsnprintf(text, sizeof(text), format, list);
    talk_clean(text);
    fprintf(stderr, "tcpbroker: %s%s\n", text, more);
}

void talk(const char *format, ...)
{
    va_list list;
    va_start(list, format);
    talk_list(format, list, "");
    va_end(list);
}

int talk_usage(const char *verb, const char *format, ...)
{
    char more[128];
    va_list list;
    snprintf(more, sizeof(more), "\nTry: tcpbroker %s%s--help", verb ? verb : "", verb ? " " : "");
    va_start(list, format);
    talk_list(format, list, more);
    va_end(list);
    return EXIT_USAGE;
}

int talk_exit(const struct tcpb_error *error)
{
    static const struct {
        const char *stage;
        int status;
    } stages[] = {{"policy", EXIT_POLICY},
                  {"resolve", EXIT_RESOLVE},
                  {"connect", EXIT_CONNECT},
                  {"tls", EXIT_TLS}};
    static const char *const usage[] = {"INVALID_PARAMS", "METHOD_NOT_FOUND", "INVALID_REQUEST",
                                        "PARSE_ERROR"};
    if (error->code == 0)
        return EXIT_OK;
    if (error->code == TCPB_LOCAL_NO_DAEMON || error->code == TCPB_LOCAL_NO_ACCESS)
        return EXIT_NO_DAEMON;
    if (strcmp(error->symbol, "ETIMEDOUT") == 0)
        return EXIT_TIMEOUT;
    /* what was typed was wrong, only the daemon noticed it first */
    for (size_t i = 0; i < sizeof(usage) / sizeof(usage[0]); i++)
        if (strcmp(error->symbol, usage[i]) == 0)
            return EXIT_USAGE;
    for (size_t i = 0; i < sizeof(stages) / sizeof(stages[0]); i++)
        if (strcmp(error->stage, stages[i].stage) == 0)
            return stages[i].status;
    return EXIT_ERROR;
}

static void talk_json(const struct tcpb_error *error)
{
    struct writer writer = WRITER_INIT;
    writer_object_begin(&writer);
    writer_key(&writer, "code");
    writer_int(&writer, error->code);
    writer_key(&writer, "message");
    writer_string(&writer, error->message);
    writer_key(&writer, "data");
    writer_object_begin(&writer);
    writer_key(&writer, "symbol");
    writer_string(&writer, error->symbol);
    writer_key(&writer, "stage");
    writer_string(&writer, error->stage);
    writer_key(&writer, "retryable");
    writer_bool(&writer, error->retryable);
    writer_object_end(&writer);
    writer_object_end(&writer);
    if (!writer_failed(&writer))
        fprintf(stderr, "{\"error\":%.*s}\n", (int)writer.n_data, writer.data);
    writer_deinit(&writer);
}

int talk_error(const struct cli *cli, const struct tcpb_error *error, const char *json)
{
    if (!cli->json)
        talk("%s [%s, %s]", error->message, error->symbol, error->stage);
    else if (json)
        fprintf(stderr, "{\"error\":%s}\n", json);
    else
        talk_json(error);
    return talk_exit(error);
}

int talk_finish(int status)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return status;
    if (errno != EPIPE)
        talk("cannot write to standard output: %s", strerrordesc_np(errno));
    return status ? status : EXIT_ERROR;
}
