#include "proto/message.h"
#include "support/test.h"

#define HEAD "\"jsonrpc\":\"2.0\","

static struct message *parse(const char *line)
{
    struct message *message;
    CHECK_INT(message_parse(&message, line, strlen(line), 32), 0);
    CHECK_INT(message_size(message), strlen(line));
    return message;
}

/* One call: its error, its kind of id, and the member it is about. */
static void check_call(const char *line, enum wire_error error, enum proto_id_kind id,
                       const char *param)
{
    struct message *message = parse(line);
    CHECK(message_wrong(message) == NULL);
    CHECK_INT(message_calls(message), 1);
    const struct call *call = message_call(message, 0);
    if (call->wrong.error != error || call->id.kind != id)
        fprintf(stderr, "%s: %s\n", line, call->wrong.text);
    CHECK_INT(call->wrong.error, error);
    CHECK_INT(call->id.kind, id);
    CHECK_STRING(call->wrong.param, param);
    CHECK_INT(call->wrong.text[0] != '\0', error != WIRE_NONE);
    message_unref(message);
}

static void check_line(const char *line, size_t n, enum wire_error error, int64_t position)
{
    struct message *message;
    CHECK_INT(message_parse(&message, line, n, 32), 0);
    const struct message_wrong *wrong = message_wrong(message);
    CHECK(wrong != NULL);
    CHECK_INT(wrong->error, error);
    CHECK_INT(wrong->position, position);
    CHECK_INT(message_calls(message), 0);
    CHECK(wrong->text[0] != '\0' && wrong->expected[0] != '\0');
    message_unref(message);
}

TEST(message, good_calls)
{
    check_call("{" HEAD "\"id\":1,\"method\":\"Broker.Stats\"}", WIRE_NONE, PROTO_ID_INTEGER, "");
    check_call("{" HEAD "\"id\":\"a\",\"method\":\"Broker.Stats\",\"params\":{}}", WIRE_NONE,
               PROTO_ID_STRING, "");
    check_call("{" HEAD "\"id\":null,\"method\":\"Broker.Stats\",\"params\":[]}", WIRE_NONE,
               PROTO_ID_NULL, "");
    check_call("{" HEAD "\"method\":\"Broker.Stats\"}", WIRE_NONE, PROTO_ID_ABSENT, "");
    check_call("{\"method\":\"Broker.Stats\",\"id\":-9007199254740992," HEAD "\"params\":[]}",
               WIRE_NONE, PROTO_ID_INTEGER, "");
}

TEST(message, bad_ids)
{
    static const char *const ids[] = {"1.5", "1.0", "true", "[1]", "{}", "9007199254740993",
                                      "1e99"};
    char line[800], name[300];
    for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
        sprintf(line, "{" HEAD "\"id\":%s,\"method\":\"Broker.Stats\"}", ids[i]);
        check_call(line, WIRE_INVALID_REQUEST, PROTO_ID_NULL, "id");
    }
    memset(name, 'i', 257);
    name[257] = '\0';
    sprintf(line, "{" HEAD "\"id\":\"%s\",\"method\":\"Broker.Stats\"}", name);
    check_call(line, WIRE_INVALID_REQUEST, PROTO_ID_NULL, "id");
    sprintf(line, "{" HEAD "\"id\":\"%s\",\"method\":\"Broker.Stats\"}", name + 1);
    check_call(line, WIRE_NONE, PROTO_ID_STRING, "");
}

TEST(message, bad_envelopes)
{
    check_call("{\"id\":1,\"method\":\"Broker.Stats\"}", WIRE_INVALID_REQUEST, PROTO_ID_INTEGER,
               "jsonrpc");
    check_call("{\"jsonrpc\":\"2.1\",\"id\":1,\"method\":\"Broker.Stats\"}", WIRE_INVALID_REQUEST,
               PROTO_ID_INTEGER, "jsonrpc");
    check_call("{\"jsonrpc\":2.0,\"id\":1,\"method\":\"Broker.Stats\"}", WIRE_INVALID_REQUEST,
               PROTO_ID_INTEGER, "jsonrpc");
    check_call("{" HEAD "\"id\":1}", WIRE_INVALID_REQUEST, PROTO_ID_INTEGER, "method");
    check_call("{" HEAD "\"id\":1,\"method\":1}", WIRE_INVALID_REQUEST, PROTO_ID_INTEGER, "method");
    check_call("{" HEAD "\"id\":1,\"method\":\"Broker.Stats\",\"params\":null}",
               WIRE_INVALID_REQUEST, PROTO_ID_INTEGER, "params");
    check_call("{" HEAD "\"id\":1,\"method\":\"Broker.Stats\",\"params\":\"x\"}",
               WIRE_INVALID_REQUEST, PROTO_ID_INTEGER, "params");
    check_call("{" HEAD "\"id\":1,\"method\":\"Broker.Stats\",\"x\":1}", WIRE_INVALID_REQUEST,
               PROTO_ID_INTEGER, "x");
    check_call("{" HEAD "\"id\":1,\"Method\":\"Broker.Stats\",\"method\":\"Broker.Stats\"}",
               WIRE_INVALID_REQUEST, PROTO_ID_INTEGER, "Method");
    check_call("{" HEAD "\"id\":1,\"id\":2,\"method\":\"Broker.Stats\"}", WIRE_INVALID_REQUEST,
               PROTO_ID_NULL, "id");
    check_call("{" HEAD "\"id\":1,\"method\":\"Broker.Stats\",\"method\":\"Broker.List\"}",
               WIRE_INVALID_REQUEST, PROTO_ID_INTEGER, "method");
    check_call("{}", WIRE_INVALID_REQUEST, PROTO_ID_NULL, "jsonrpc");
    check_call("{" HEAD "\"x\":1,\"method\":\"Broker.Stats\"}", WIRE_INVALID_REQUEST, PROTO_ID_NULL,
               "x");
}

TEST(message, methods)
{
    struct message *message = parse("{" HEAD "\"id\":1,\"method\":\"TCPConect\"}");
    const struct call *call = message_call(message, 0);
    CHECK_INT(call->wrong.error, WIRE_METHOD_NOT_FOUND);
    CHECK(strstr(call->wrong.text, "did you mean TCPConnect?"));
    CHECK_INT(call->method, METHOD_UNKNOWN);
    message_unref(message);

    check_call("{" HEAD "\"method\":\"nothing like it\"}", WIRE_METHOD_NOT_FOUND, PROTO_ID_ABSENT,
               "");
}

TEST(message, duplicate_params)
{
    check_call("{" HEAD "\"id\":5,\"method\":\"TCPSend\",\"params\":{\"socket\":1,\"socket\":2}}",
               WIRE_INVALID_PARAMS, PROTO_ID_INTEGER, "socket");
    check_call("{" HEAD
               "\"id\":5,\"method\":\"TCPSend\",\"params\":{\"socket\":1,\"\\u0073ocket\":2}}",
               WIRE_INVALID_PARAMS, PROTO_ID_INTEGER, "socket");
    check_call("{" HEAD "\"id\":5,\"method\":\"TCPSend\",\"params\":[1,{\"a\":1,\"a\":1}]}",
               WIRE_INVALID_PARAMS, PROTO_ID_INTEGER, "a");
}

TEST(message, bad_lines)
{
    static char deep[200];
    check_line("x", 1, WIRE_PARSE_ERROR, 0);
    check_line("", 0, WIRE_PARSE_ERROR, 0);
    check_line("{\"id\":1", 7, WIRE_PARSE_ERROR, 7);
    check_line("{\"id\":01}", 9, WIRE_PARSE_ERROR, 6);
    check_line("{} x", 4, WIRE_PARSE_ERROR, 3);
    check_line("{\"a\":\"\xFF\"}", 8, WIRE_PARSE_ERROR, 6);
    check_line("{\"a\":\"\\u0000\"}", 13, WIRE_PARSE_ERROR, 6);
    memset(deep, '[', sizeof(deep));
    check_line(deep, sizeof(deep), WIRE_PARSE_ERROR, 32);
    check_line("1", 1, WIRE_INVALID_REQUEST, -1);
    check_line("\"x\"", 3, WIRE_INVALID_REQUEST, -1);
    check_line("null", 4, WIRE_INVALID_REQUEST, -1);
    check_line("[]", 2, WIRE_INVALID_REQUEST, -1);
}

TEST(message, batches)
{
    struct message *message = parse(
        "[1,[],{" HEAD "\"method\":\"Broker.Stats\"},{" HEAD "\"id\":7,\"method\":\"TCPSend\","
        "\"params\":{\"socket\":1,\"socket\":1}},{" HEAD "\"id\":8,\"method\":\"Broker.List\"}]");
    CHECK(message_is_batch(message));
    CHECK_INT(message_calls(message), 5);
    CHECK_INT(message_call(message, 0)->wrong.error, WIRE_INVALID_REQUEST);
    CHECK_INT(message_call(message, 0)->id.kind, PROTO_ID_NULL);
    CHECK_INT(message_call(message, 1)->wrong.error, WIRE_INVALID_REQUEST);
    CHECK_INT(message_call(message, 2)->id.kind, PROTO_ID_ABSENT);
    CHECK_INT(message_call(message, 2)->wrong.error, WIRE_NONE);
    CHECK_INT(message_call(message, 3)->wrong.error, WIRE_INVALID_PARAMS);
    CHECK_INT(message_call(message, 3)->id.number, 7);
    CHECK_INT(message_call(message, 4)->method, METHOD_BROKER_LIST);
    message_unref(message);
}

TEST(message, batch_limit)
{
    static char line[4096];
    line[0] = '[';
    for (size_t i = 0; i < MESSAGE_CALLS_MAX + 1; i++)
        memcpy(line + 1 + 2 * i, "1,", 2);
    line[2 * MESSAGE_CALLS_MAX] = ']';
    struct message *message;
    CHECK_INT(message_parse(&message, line, 2 * MESSAGE_CALLS_MAX + 1, 32), 0);
    CHECK_INT(message_calls(message), MESSAGE_CALLS_MAX);
    message_unref(message);
    line[2 * MESSAGE_CALLS_MAX] = ',';
    line[2 * MESSAGE_CALLS_MAX + 2] = ']';
    check_line(line, 2 * MESSAGE_CALLS_MAX + 3, WIRE_INVALID_REQUEST, -1);
}

TEST(message, params_and_references)
{
    struct message *message =
        parse("{" HEAD "\"id\":1,\"method\":\"TCPConnect\",\"params\":[\"h\",443,true]}");
    union method_params params;
    struct field_fault fault;
    CHECK(message_ref(message) == message);
    CHECK(message_unref(message) == NULL);
    CHECK_INT(message_params(message, message_call(message, 0), &params, &fault), 0);
    CHECK_STRING(params.tcp_connect.hostname, "h");
    CHECK_STRING(params.tcp_connect.port, "443");
    message_unref(message);
    CHECK(message_unref(NULL) == NULL);
}

TEST(message, answers)
{
    struct writer writer = WRITER_INIT;
    struct proto_id id = {.kind = PROTO_ID_STRING, .text = "a\"b"};
    struct proto_error_object error = {.code = -32600, .message = "m"};
    writer_array_begin(&writer);
    message_result_begin(&writer, &id);
    writer_object_begin(&writer);
    writer_object_end(&writer);
    message_result_end(&writer);
    message_error(&writer, &(struct proto_id){0}, &error);
    writer_array_end(&writer);
    writer_raw(&writer, "\n", 1);
    message_request(&writer, 3, "TCPClose", NULL, NULL, "[1]");
    message_request(&writer, 4, "X", NULL, NULL, NULL);
    writer_raw(&writer, "", 1);
    CHECK_STRING(writer.data, "[{" HEAD "\"id\":\"a\\\"b\",\"result\":{}},{" HEAD
                              "\"id\":null,\"error\":{\"code\":"
                              "-32600,\"message\":\"m\"}}]\n{" HEAD
                              "\"id\":3,\"method\":\"TCPClose\",\"params\":[1]}"
                              ",{" HEAD "\"id\":4,\"method\":\"X\"}");
    writer_deinit(&writer);
}

TEST(message, ids_are_equal)
{
    struct proto_id one = {.kind = PROTO_ID_INTEGER, .number = 1};
    struct proto_id two = {.kind = PROTO_ID_INTEGER, .number = 2};
    struct proto_id text = {.kind = PROTO_ID_STRING, .text = "1"};
    struct proto_id none = {.kind = PROTO_ID_NULL};
    CHECK(proto_id_equal(&one, &one) && !proto_id_equal(&one, &two));
    CHECK(!proto_id_equal(&one, &text) && proto_id_equal(&text, &text));
    CHECK(proto_id_equal(&none, &none) && !proto_id_equal(&none, &one));
}

static void check_result(const char *line, const char *wanted)
{
    struct answer answer;
    CHECK_INT(answer_parse(&answer, line, strlen(line)), 0);
    CHECK(answer.result != NULL);
    CHECK_INT(answer.n_result_text, strlen(wanted));
    CHECK(answer.result_text >= line && answer.result_text < line + strlen(line));
    CHECK(memcmp(answer.result_text, wanted, strlen(wanted)) == 0);
    answer_deinit(&answer);
}

TEST(message, answer_results)
{
    check_result("{" HEAD "\"id\":1,\"result\":{\"sent\":6}}", "{\"sent\":6}");
    check_result(" { \"result\" : [ 1 , \"]},\\\"\" ] , \"id\" : 1 } ", "[ 1 , \"]},\\\"\" ]");
    check_result("{\"x\":\",\",\"\\u0072esult\":null,\"id\":\"a\"}", "null");
    check_result(
        "{\"a\":{\"result\":1},\"b\":[1,2],\"result\":\"12345678901234567890\\\\\",\"id\":1}",
        "\"12345678901234567890\\\\\"");
}

TEST(message, answer_errors)
{
    struct answer answer;
    const char *line =
        "{\"id\":null,\"error\":{\"code\":-10061,\"message\":\"m\",\"new\":1,\"data\":{"
        "\"symbol\":\"ECONNREFUSED\",\"stage\":\"connect\",\"retryable\":true}}}";
    CHECK_INT(answer_parse(&answer, line, strlen(line)), 0);
    CHECK(answer.result == NULL && answer.id.kind == PROTO_ID_NULL);
    CHECK_INT(answer.error.code, -10061);
    CHECK(answer.error.has_data && answer.error.data.retryable);
    answer_deinit(&answer);
    line = "{\"id\":1,\"error\":{\"code\":-1,\"message\":\"m\",\"data\":\"text\"}}";
    CHECK_INT(answer_parse(&answer, line, strlen(line)), 0);
    CHECK(answer.error.code == -1 && !answer.error.has_data);
    answer_deinit(&answer);
    static const char *const wrong[] = {"",
                                        "1",
                                        "{}",
                                        "[]",
                                        "{\"id\":1}",
                                        "{\"result\":1}",
                                        "{\"id\":1,\"result\":1,\"error\":{}}",
                                        "{\"id\":1,\"error\":{}}",
                                        "{\"id\":1.5,\"result\":1}",
                                        "{\"id\":1,\"result\":1,\"id\":1}"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        CHECK_INT(answer_parse(&answer, wrong[i], strlen(wrong[i])), ANSWER_E_INVALID);
}
