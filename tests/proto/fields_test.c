#include "proto/fields.h"
#include "proto/json.h"
#include "proto/methods.h"
#include "support/test.h"

static struct json_arena arena;
static struct field_fault fault;
static struct json *tree;

static void drop(void)
{
    tree = json_free(tree);
    json_arena_deinit(&arena);
}

/* Read text as the params of method; the tree lives until drop(). */
static int read_params(enum method method, const char *text, void *params)
{
    struct json_fault json_fault;
    drop();
    CHECK_INT(json_parse(&tree, text, strlen(text), 32, &json_fault), 0);
    return fields_read(method_infos[method].params, tree, &arena, FIELDS_STRICT, params, &fault);
}

static void refused(enum method method, const char *text, const char *param, const char *expected)
{
    union method_params params;
    int r = read_params(method, text, &params);
    if (r != FIELDS_E_INVALID)
        fprintf(stderr, "accepted: %s\n", text);
    CHECK_INT(r, FIELDS_E_INVALID);
    CHECK_STRING(fault.param, param);
    if (expected)
        CHECK_STRING(fault.expected, expected);
    drop();
}

static void accepted(enum method method, const char *text)
{
    union method_params params;
    int r = read_params(method, text, &params);
    if (r != 0)
        fprintf(stderr, "refused: %s: %s: %s\n", text, fault.param, fault.expected);
    CHECK_INT(r, 0);
    drop();
}

TEST(fields, connect_by_name)
{
    struct proto_tcp_connect_params params;
    CHECK_INT(read_params(METHOD_TCP_CONNECT,
                          "{\"thread\":7,\"hostname\":\"h\",\"port\":443,\"min_tls\":\"1.3\","
                          "\"alpn\":[\"h2\",\"http/1.1\"],\"family\":\"ipv6\",\"timeout_ms\":0}",
                          &params),
              0);
    CHECK_STRING(params.hostname, "h");
    CHECK_STRING(params.port, "443");
    CHECK(!params.has_secure && !params.secure && !params.has_verify && params.verify);
    CHECK(params.has_min_tls && params.min_tls == 1 && params.has_family && params.family == 2);
    CHECK(params.has_timeout_ms && params.timeout_ms == 0);
    CHECK(params.has_thread && !params.thread.text && params.thread.number == 7);
    CHECK_INT(params.alpn.n_items, 2);
    CHECK_STRING(params.alpn.items[1], "http/1.1");
    CHECK(!params.has_identity && !params.identity);
    drop();
}

TEST(fields, connect_by_position)
{
    struct proto_tcp_connect_params params;
    CHECK_INT(read_params(METHOD_TCP_CONNECT, "[\"example.com\",\"https\",true]", &params), 0);
    CHECK_STRING(params.port, "https");
    CHECK(params.has_secure && params.secure && params.verify && !params.has_verify);
    drop();
    refused(METHOD_TCP_CONNECT, "[\"h\",1,true,true,5]", "params",
            "at most 4 values by position, not 5");
    refused(METHOD_TCP_CONNECT, "[\"h\"]", "port",
            "integer 1..65535 or a service name; it is missing");
    refused(METHOD_TCP_CONNECT, "[]", "hostname", NULL);
    refused(METHOD_TCP_CONNECT, "[\"h\",80,null]", "secure", "true or false");
    refused(METHOD_BROKER_STATS, "[1]", "params", "no values by position, not 1");
    accepted(METHOD_BROKER_STATS, "[]");
}

TEST(fields, absent_params)
{
    union method_params params;
    CHECK_INT(fields_read(method_infos[METHOD_BROKER_HELLO].params, NULL, &arena, FIELDS_STRICT,
                          &params, &fault),
              0);
    CHECK(!params.broker_hello.has_client && params.broker_hello.protocol == 1);
    CHECK_INT(fields_read(method_infos[METHOD_TCP_SEND].params, NULL, &arena, FIELDS_STRICT,
                          &params, &fault),
              FIELDS_E_INVALID);
    CHECK_STRING(fault.param, "socket");
}

TEST(fields, unknown_and_twice)
{
    refused(METHOD_TCP_CONNECT, "{\"hostname\":\"h\",\"port\":1,\"timeout\":1}", "timeout",
            "no such member; did you mean timeout_ms?");
    refused(METHOD_TCP_CONNECT, "{\"hostname\":\"h\",\"port\":1,\"Secure\":true}", "Secure",
            "no such member; did you mean secure?");
    refused(METHOD_TCP_CONNECT, "{\"zzz\":1}", "zzz", "no such member");
    refused(METHOD_TCP_CONNECT, "{\"\":1}", "", "no such member");
    accepted(METHOD_TCP_CONNECT, "{\"hostname\":\"h\",\"service\":\"https\"}");
    refused(METHOD_TCP_CONNECT, "{\"hostname\":\"h\",\"port\":1,\"service\":1}", "service",
            "given twice; port and service are the same: give one of them");
    refused(METHOD_TCP_CONNECT, "{\"hostname\":\"h\",\"service\":0}", "service",
            "integer 1..65535 or a service name");
}

TEST(fields, long_names_are_cut_on_a_character)
{
    char text[1000] = "{\"";
    for (int i = 0; i < 200; i++)
        strcat(text, "\xC3\xA4");
    strcat(text, "\":1}");
    union method_params params;
    size_t valid;
    bool incomplete;
    CHECK_INT(read_params(METHOD_TCP_SEND, text, &params), FIELDS_E_INVALID);
    CHECK_INT(strlen(fault.param), 126);
    CHECK(json_utf8_valid(fault.param, 126, &valid, &incomplete));
    drop();
}

TEST(fields, hosts)
{
    static const char *const wrong[] = {"\"\"",         "\".\"",  "\".a\"", "\"a b\"", "\"a\\n\"",
                                        "\"a\\u007f\"", "\" a\"", "1",      "null",    "[\"a\"]"};
    char text[400], name[300];
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        sprintf(text, "[%s,1]", wrong[i]);
        refused(METHOD_TCP_CONNECT, text, "hostname",
                "host name or address of 1..253 bytes, without blanks");
    }
    memset(name, 'a', 254);
    name[254] = '\0';
    sprintf(text, "[\"%s\",1]", name);
    refused(METHOD_TCP_CONNECT, text, "hostname", NULL);
    sprintf(text, "[\"%s\",1]", name + 1);
    accepted(METHOD_TCP_CONNECT, text);
    accepted(METHOD_TCP_CONNECT, "[\"[fe80::1%eth0]\",1]");
    accepted(METHOD_TCP_CONNECT, "[\"::1\",1]");
    accepted(METHOD_TCP_CONNECT, "[\"example.com.\",1]");
}

TEST(fields, ports)
{
    static const char *const wrong[] = {"0",
                                        "65536",
                                        "-1",
                                        "1.5",
                                        "1.0",
                                        "\"\"",
                                        "\"0\"",
                                        "\"65536\"",
                                        "\"080\"",
                                        "\"+80x \"",
                                        "true",
                                        "\"a b\"",
                                        "\"-1 \"",
                                        "\"+80\"",
                                        "\"-80\"",
                                        "\"\xC3\xA4\"",
                                        "1e9",
                                        "\"123456\"",
                                        "\"99999999999999999999\"",
                                        "\"a/b\""};
    static const char *const right[] = {"1", "65535", "\"80\"", "\"https\"", "\"x-1_a.b+\"", "8e1"};
    char text[200];
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        sprintf(text, "[\"h\",%s]", wrong[i]);
        refused(METHOD_TCP_CONNECT, text, "port", "integer 1..65535 or a service name");
    }
    for (size_t i = 0; i < sizeof(right) / sizeof(right[0]); i++) {
        sprintf(text, "[\"h\",%s]", right[i]);
        accepted(METHOD_TCP_CONNECT, text);
    }
    accepted(METHOD_TCP_BIND, "[1,0]");
    accepted(METHOD_TCP_BIND, "[1,\"0\"]");
}

TEST(fields, integers)
{
    static const char *const wrong[] = {
        "0",    "2147483648",      "-1", "1.0", "1.5", "\"1\"", "true", "null", "[1]",
        "1e10", "9007199254740993"};
    char text[100];
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        sprintf(text, "{\"socket\":%s}", wrong[i]);
        refused(METHOD_TCP_SEND, text, "socket", "integer 1..2147483647");
    }
    accepted(METHOD_TCP_SEND, "{\"socket\":2147483647}");
    accepted(METHOD_TCP_SEND, "{\"socket\":1e3}");
    refused(METHOD_TCP_SEND, "{\"socket\":1,\"timeout_ms\":-1}", "timeout_ms",
            "milliseconds 0..86400000");
    refused(METHOD_TCP_RECEIVE, "[1,524289]", "max_bytes", "integer 1..524288");
}

TEST(fields, threads_and_ids)
{
    char text[400], name[300];
    memset(name, 't', 65);
    name[65] = '\0';
    sprintf(text, "{\"socket\":1,\"thread\":\"%s\"}", name);
    refused(METHOD_TCP_SEND, text, "thread", "string of 1..64 bytes or an integer");
    sprintf(text, "{\"socket\":1,\"thread\":\"%s\"}", name + 1);
    accepted(METHOD_TCP_SEND, text);
    refused(METHOD_TCP_SEND, "{\"socket\":1,\"thread\":\"\"}", "thread", NULL);
    refused(METHOD_TCP_SEND, "{\"socket\":1,\"thread\":1.5}", "thread", NULL);
    refused(METHOD_TCP_SEND, "{\"socket\":1,\"thread\":9007199254740993}", "thread", NULL);
    refused(METHOD_TCP_SEND, "{\"socket\":1,\"thread\":null}", "thread", NULL);
    accepted(METHOD_TCP_SEND, "{\"socket\":1,\"thread\":-9007199254740992}");
    accepted(METHOD_BROKER_CANCEL, "[null]");
    accepted(METHOD_BROKER_CANCEL, "[\"x\"]");
    refused(METHOD_BROKER_CANCEL, "[true]", "id", "string of at most 256 bytes, integer or null");
}

TEST(fields, texts_and_bytes)
{
    struct proto_tcp_send_params params;
    CHECK_INT(read_params(METHOD_TCP_SEND, "{\"socket\":1,\"data\":\"h\\u00e4\\n\"}", &params), 0);
    CHECK(params.has_data && params.data.n_bytes == 4 &&
          !memcmp(params.data.data, "h\xC3\xA4\n", 4));
    CHECK_INT(read_params(METHOD_TCP_SEND, "{\"socket\":1,\"data_base64\":\"AP8A\"}", &params), 0);
    CHECK(!params.has_data && params.has_data_base64 && params.data_base64.n_bytes == 3);
    CHECK(memcmp(params.data_base64.data, "\0\xFF\0", 3) == 0);
    CHECK_INT(read_params(METHOD_TCP_SEND, "{\"socket\":1,\"data_base64\":\"\"}", &params), 0);
    CHECK(params.has_data_base64 && params.data_base64.n_bytes == 0);
    drop();
    refused(METHOD_TCP_SEND, "{\"socket\":1,\"data_base64\":\"AA=A\"}", "data_base64",
            "base64 (RFC 4648, padded)");
    refused(METHOD_TCP_RECEIVE, "{\"socket\":1,\"until\":\"\"}", "until", "text of 1..256 bytes");
    refused(METHOD_TCP_RECEIVE, "{\"socket\":1,\"encoding\":\"utf\"}", "encoding",
            "\"utf8\" or \"base64\"");
    refused(METHOD_TCP_RECEIVE, "{\"socket\":1,\"encoding\":\"utf8|base64\"}", "encoding", NULL);
    refused(METHOD_TCP_RECEIVE, "{\"socket\":1,\"encoding\":0}", "encoding", NULL);
}

TEST(fields, lists)
{
    refused(METHOD_TCP_CONNECT, "{\"hostname\":\"h\",\"port\":1,\"alpn\":[]}", "alpn",
            "list of 1..16 strings of 1..255 bytes");
    refused(METHOD_TCP_CONNECT, "{\"hostname\":\"h\",\"port\":1,\"alpn\":[1]}", "alpn", NULL);
    refused(METHOD_TCP_CONNECT, "{\"hostname\":\"h\",\"port\":1,\"alpn\":[\"\"]}", "alpn", NULL);
    refused(METHOD_TCP_CONNECT, "{\"hostname\":\"h\",\"port\":1,\"alpn\":\"h2\"}", "alpn", NULL);
    refused(METHOD_TCP_CONNECT,
            "{\"hostname\":\"h\",\"port\":1,\"alpn\":[\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\","
            "\"8\",\"9\",\"a\",\"b\",\"c\",\"d\",\"e\",\"f\",\"g\",\"h\"]}",
            "alpn", NULL);
}

static int read_result(enum method method, const char *text, void *result)
{
    struct json_fault json_fault;
    drop();
    CHECK_INT(json_parse(&tree, text, strlen(text), 32, &json_fault), 0);
    return fields_read(method_infos[method].result, tree, &arena, FIELDS_LENIENT, result, &fault);
}

TEST(fields, results_may_grow)
{
    struct proto_tcp_send_result result;
    CHECK_INT(read_result(METHOD_TCP_SEND, "{\"sent\":3,\"new\":{\"a\":[1]}}", &result), 0);
    CHECK_INT(result.sent, 3);
    CHECK_INT(read_result(METHOD_TCP_SEND, "{}", &result), FIELDS_E_INVALID);
    CHECK_INT(read_result(METHOD_TCP_SEND, "[3]", &result), FIELDS_E_INVALID);
    CHECK_INT(read_result(METHOD_TCP_SEND, "{\"sent\":\"3\"}", &result), FIELDS_E_INVALID);
    drop();
}

TEST(fields, faults_inside_objects_have_a_path)
{
    struct proto_tcp_connect_result connect;
    struct proto_broker_list_result list;
    CHECK_INT(read_result(METHOD_TCP_CONNECT, "{\"socket\":1,\"timing_us\":{\"resolve\":true}}",
                          &connect),
              FIELDS_E_INVALID);
    CHECK_STRING(fault.param, "timing_us.resolve");
    CHECK_INT(read_result(METHOD_BROKER_LIST, "{\"sockets\":[{\"socket\":1.5}]}", &list),
              FIELDS_E_INVALID);
    CHECK_STRING(fault.param, "sockets[0].socket");
    CHECK_INT(read_result(METHOD_BROKER_LIST, "{\"sockets\":[1]}", &list), FIELDS_E_INVALID);
    CHECK_STRING(fault.param, "sockets");
    drop();
}

TEST(fields, write_and_read_back)
{
    struct proto_attempt attempts[2] = {{.address = "::1", .error = "ECONNREFUSED", .ms = 1},
                                        {.address = "127.0.0.1", .error = "pending", .ms = 20}};
    struct proto_error_object error = {.code = -10061, .message = "no \"luck\"", .has_data = true};
    struct writer writer = WRITER_INIT;
    error.data = (struct proto_error_data){.symbol = "ECONNREFUSED",
                                           .stage = "connect",
                                           .retryable = true,
                                           .has_sys_errno = true,
                                           .sys_errno = "ECONNREFUSED",
                                           .has_attempts = true,
                                           .attempts = {.items = attempts, .n_items = 2},
                                           .has_owner = true,
                                           .owner = {.text = "t"}};
    fields_write(&proto_error_object_table, &error, &writer);
    writer_raw(&writer, "", 1);
    CHECK_STRING(writer.data,
                 "{\"code\":-10061,\"message\":\"no \\\"luck\\\"\",\"data\":{\"symbol\":"
                 "\"ECONNREFUSED\",\"stage\":\"connect\",\"retryable\":true,\"errno\":"
                 "\"ECONNREFUSED\",\"attempts\":[{\"address\":\"::1\",\"error\":\"ECONNREFUSED\","
                 "\"ms\":1},{\"address\":\"127.0.0.1\",\"error\":\"pending\",\"ms\":20}],"
                 "\"owner\":\"t\"}}");
    struct proto_error_object back;
    struct json_fault json_fault;
    CHECK_INT(json_parse(&tree, writer.data, writer.n_data - 1, 8, &json_fault), 0);
    CHECK_INT(fields_read(&proto_error_object_table, tree, &arena, FIELDS_STRICT, &back, &fault),
              0);
    CHECK_INT(back.data.attempts.n_items, 2);
    CHECK_STRING(((const struct proto_attempt *)back.data.attempts.items)[1].error, "pending");
    drop();
    writer_deinit(&writer);
}

/* What a careless caller of the library may give is written so that the daemon refuses it. */
TEST(fields, impossible_values_are_not_made_plausible)
{
    struct proto_tcp_connect_params params = {.hostname = NULL, .port = "80", .has_family = true};
    struct writer writer = WRITER_INIT;
    params.family = 3;
    fields_write(method_infos[METHOD_TCP_CONNECT].params, &params, &writer);
    writer_raw(&writer, "", 1);
    CHECK_STRING(writer.data, "{\"hostname\":null,\"port\":80,\"family\":3}");
    writer_deinit(&writer);
}

TEST(fields, nearest_name)
{
    const struct field_table *table = method_infos[METHOD_TCP_CONNECT].params;

    CHECK_STRING(fields_nearest(table, "hostnme"), "hostname");
    CHECK_STRING(fields_nearest(table, "Servce"), "service"); /* the port's other name */
    CHECK(fields_nearest(table, "ipv4") == NULL);             /* a word of family is no member */
    CHECK(fields_nearest(table, "") == NULL);
}
