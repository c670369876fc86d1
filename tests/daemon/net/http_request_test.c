#include "net/http_request.h"

#include "support/test.h"

static int parse(const char *text, struct http_request *ret_request)
{
    return http_request_parse(text, strlen(text), ret_request);
}

static void check_path(const struct http_request *request, const char *wanted)
{
    char path[256];
    snprintf(path, sizeof(path), "%.*s", (int)request->n_path, request->path);
    CHECK_STRING(path, wanted);
}

TEST(http_request, what_prometheus_sends)
{
    static const char text[] =
        "GET /metrics?a=b HTTP/1.1\r\nHost: 127.0.0.1:9464\r\nUser-Agent: Prometheus/2.42.0\r\n"
        "Accept: text/plain;version=0.0.4;q=0.5,*/*;q=0.1\r\nAccept-Encoding: gzip\r\n\r\nGET /";
    struct http_request request;

    CHECK_INT(parse(text, &request), 0);
    CHECK(request.method == HTTP_GET && request.keep_alive);
    CHECK_INT(request.n_bytes, sizeof(text) - 1 - 5);
    check_path(&request, "/metrics");
    for (size_t n = 0; n < request.n_bytes; n++)
        CHECK_INT(http_request_parse(text, n, &request), HTTP_E_MORE);
}

TEST(http_request, forms_of_the_target)
{
    static const struct {
        const char *line, *path;
    } cases[] = {
        {"GET / HTTP/1.1", "/"},           {"GET http://host:80/a/b?c HTTP/1.1", "/a/b"},
        {"GET HTTP://host HTTP/1.1", "/"}, {"GET http://host?c HTTP/1.1", "/"},
        {"OPTIONS * HTTP/1.1", "*"},       {"CONNECT a:1 HTTP/1.1", "a:1"},
    };
    struct http_request request;
    char text[200];

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        snprintf(text, sizeof(text), "%s\r\nHost: h\r\n\r\n", cases[i].line);
        CHECK_INT(parse(text, &request), 0);
        check_path(&request, cases[i].path);
    }
}

TEST(http_request, whether_the_connection_stays)
{
    static const struct {
        const char *version, *fields;
        bool stays;
    } cases[] = {
        {"1.1", "", true},
        {"1.1", "Connection: close\r\n", false},
        {"1.1", "connection: Keep-Alive, CLOSE\r\n", false},
        {"1.1", "Connection: closed\r\n", true},
        {"1.0", "", false},
        {"1.0", "Connection: x ,\tkeep-alive\r\n", true},
        {"1.0", "Connection: keep-alive\r\nConnection: close\r\n", false},
    };
    struct http_request request;
    char text[200];

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        snprintf(text, sizeof(text), "HEAD / HTTP/%s\r\nHost: h\r\n%s\r\n", cases[i].version,
                 cases[i].fields);
        CHECK_INT(parse(text, &request), 0);
        CHECK(request.method == HTTP_HEAD && request.keep_alive == cases[i].stays);
    }
}

TEST(http_request, refused)
{
    static const struct {
        const char *text;
        int status;
    } cases[] = {
        {"GET / HTTP/1.1\r\n\r\n", HTTP_E_BAD}, /* no Host */
        {"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", HTTP_E_BAD},
        {"GET / HTTP/1.0\r\nHost: a\r\nhost: a\r\n\r\n", HTTP_E_BAD},
        {"GET /\r\n\r\n", HTTP_E_BAD},
        {"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", HTTP_E_BAD},
        {"GET / HTTP/1.1 \r\nHost: a\r\n\r\n", HTTP_E_BAD},
        {" GET / HTTP/1.1\r\nHost: a\r\n\r\n", HTTP_E_BAD},
        {"G(T / HTTP/1.1\r\nHost: a\r\n\r\n", HTTP_E_BAD},
        {"GET /\t HTTP/1.1\r\nHost: a\r\n\r\n", HTTP_E_BAD},
        {"GET / http/1.1\r\nHost: a\r\n\r\n", HTTP_E_BAD},
        {"GET / HTTP/1.x\r\nHost: a\r\n\r\n", HTTP_E_BAD},
        {"GET / HTTP/2.0\r\nHost: a\r\n\r\n", HTTP_E_VERSION},
        {"GET / HTTP/1.1\r\nHost : a\r\n\r\n", HTTP_E_BAD},
        {"GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n", HTTP_E_BAD},
        {"GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", HTTP_E_BAD},
        {"GET / HTTP/1.1\nHost: a\r\n\r\n", HTTP_E_BAD},
        {"GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n", HTTP_E_BAD},
        {"GET / HTTP/1.1\r\nHost: a\r\nX: \x01\r\n\r\n", HTTP_E_BAD},
        {"GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n", HTTP_E_BAD},
        {"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", HTTP_E_BAD},
        {"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx", HTTP_E_BODY},
        {"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 5\r\n\r\n",
         HTTP_E_BODY},
        {"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", HTTP_E_BODY},
    };
    struct http_request request;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        CHECK_INT(parse(cases[i].text, &request), cases[i].status);
    CHECK_INT(parse("\r\nGET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", &request), 0);
    /* a NUL is no end of anything */
    static const char in_field[] = "GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n";
    static const char in_target[] = "GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n";
    CHECK_INT(http_request_parse(in_field, sizeof(in_field) - 1, &request), HTTP_E_BAD);
    CHECK_INT(http_request_parse(in_target, sizeof(in_target) - 1, &request), HTTP_E_BAD);
}

TEST(http_request, how_large)
{
    static char text[HTTP_HEAD_MAX + 64];
    struct http_request request;
    int n = snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: h\r\nX: ");

    memset(text + n, 'x', sizeof(text) - (size_t)n);
    CHECK_INT(http_request_parse(text, HTTP_HEAD_MAX - 1, &request), HTTP_E_MORE);
    CHECK_INT(http_request_parse(text, HTTP_HEAD_MAX, &request), HTTP_E_TOO_LARGE);
    CHECK_INT(http_request_parse(text, sizeof(text), &request), HTTP_E_TOO_LARGE);
    memcpy(text + HTTP_HEAD_MAX - 4, "\r\n\r\n", 4);
    CHECK_INT(http_request_parse(text, sizeof(text), &request), 0);
    CHECK_INT(request.n_bytes, HTTP_HEAD_MAX);
    memcpy(text + HTTP_HEAD_MAX - 4, "x\r\n\r\n", 5);
    CHECK_INT(http_request_parse(text, sizeof(text), &request), HTTP_E_TOO_LARGE);
}
