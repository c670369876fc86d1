#include "net/http_request.h"

#include <string.h>
#include <strings.h>

struct text {
    const char *at;
    size_t n;
};

/* RFC 9110 section 5.6.2 */
static bool is_token(struct text text)
{
    static const char others[] = "!#$%&'*+-.^_`|~";

    for (size_t i = 0; i < text.n; i++) {
        char c = text.at[i];
        bool alphanumeric =
            (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!alphanumeric && (c == '\0' || !strchr(others, c)))
            return false;
    }
    return text.n > 0;
}

static bool is(struct text text, const char *word)
{
    return text.n == strlen(word) && memcmp(text.at, word, text.n) == 0;
}

/* Names of fields and tokens in them have no case. */
static bool means(struct text text, const char *word)
{
    return text.n == strlen(word) && strncasecmp(text.at, word, text.n) == 0;
}

/* The text up to that byte, which is taken off with it; all of it when there is none. */
static struct text cut(struct text *rest, char end)
{
    const char *found = memchr(rest->at, end, rest->n);
    size_t n = found ? (size_t)(found - rest->at) : rest->n;
    struct text part = {rest->at, n};

    rest->at += found ? n + 1 : n;
    rest->n -= found ? n + 1 : n;
    return part;
}

static struct text trim(struct text text)
{
    while (text.n > 0 && (*text.at == ' ' || *text.at == '\t')) {
        text.at++;
        text.n--;
    }
    while (text.n > 0 && (text.at[text.n - 1] == ' ' || text.at[text.n - 1] == '\t'))
        text.n--;
    return text;
}

/* ---- the request line (RFC 9112 section 3) ---- */

/* http://host/path?query is what a proxy is asked, but a server must understand it (3.2.2). */
static void read_target(struct text target, struct http_request *request)
{
    static const char scheme[] = "http://";
    const size_t n_scheme = sizeof(scheme) - 1;

    if (target.n >= n_scheme && strncasecmp(target.at, scheme, n_scheme) == 0) {
        const char *path = memchr(target.at + n_scheme, '/', target.n - n_scheme);
        target = path ? (struct text){path, target.n - (size_t)(path - target.at)}
                      : (struct text){"/", 1};
    }
    target = cut(&target, '?');
    request->path = target.at;
    request->n_path = target.n;
}

static int read_line(struct text line, struct http_request *request, unsigned *ret_minor)
{
    struct text method = cut(&line, ' '), target = cut(&line, ' ');

    if (!is_token(method) || target.n == 0)
        return HTTP_E_BAD;
    for (size_t i = 0; i < target.n; i++)
        if ((unsigned char)target.at[i] <= ' ' || target.at[i] == 0x7f)
            return HTTP_E_BAD;
    /* HTTP/1.1 */
    if (line.n != 8 || memcmp(line.at, "HTTP/", 5) != 0 || line.at[6] != '.')
        return HTTP_E_BAD;
    if (line.at[5] < '0' || line.at[5] > '9' || line.at[7] < '0' || line.at[7] > '9')
        return HTTP_E_BAD;
    if (line.at[5] != '1')
        return HTTP_E_VERSION;
    *ret_minor = (unsigned)(line.at[7] - '0');
    request->method = is(method, "GET") ? HTTP_GET : is(method, "HEAD") ? HTTP_HEAD : HTTP_OTHER;
    read_target(target, request);
    return 0;
}

/* ---- fields (section 5) ---- */

struct fields {
    unsigned n_hosts;
    bool close, keep_alive, body;
};

static void read_connection(struct text value, struct fields *fields)
{
    while (value.n > 0) {
        struct text option = trim(cut(&value, ','));
        fields->close |= means(option, "close");
        fields->keep_alive |= means(option, "keep-alive");
    }
}

static int read_field(struct text line, struct fields *fields)
{
    const char *colon = memchr(line.at, ':', line.n);
    struct text name = cut(&line, ':'), value = trim(line);

    /* no blank before the colon, no line that goes on with the one before */
    if (!colon || !is_token(name))
        return HTTP_E_BAD;
    for (size_t i = 0; i < value.n; i++)
        if (((unsigned char)value.at[i] < ' ' && value.at[i] != '\t') || value.at[i] == 0x7f)
            return HTTP_E_BAD;
    if (means(name, "host"))
        fields->n_hosts++;
    else if (means(name, "connection"))
        read_connection(value, fields);
    else if (means(name, "transfer-encoding") || (means(name, "content-length") && !is(value, "0")))
        fields->body = true;
    return 0;
}

/* The line at *data, without its end, which must be CR LF; NULL: there is no other. */
static bool next_line(struct text *data, struct text *ret_line)
{
    const char *end = data->n > 0 ? memchr(data->at, '\r', data->n) : NULL;
    size_t n = end ? (size_t)(end - data->at) : 0;

    if (!end || n + 1 >= data->n || end[1] != '\n' || memchr(data->at, '\n', n))
        return false;
    *ret_line = (struct text){data->at, n};
    data->at += n + 2;
    data->n -= n + 2;
    return true;
}

int http_request_parse(const char *data, size_t n, struct http_request *ret_request)
{
    struct http_request request = {.method = HTTP_OTHER};
    struct fields fields = {.n_hosts = 0};
    size_t n_before = 0;
    struct text line;
    unsigned minor;

    /* section 2.2: a client may have sent an end of line too many; one */
    if (n >= 2 && data[0] == '\r' && data[1] == '\n')
        n_before = 2;
    const char *end = n > n_before ? memmem(data + n_before, n - n_before, "\r\n\r\n", 4) : NULL;
    size_t n_head = end ? (size_t)(end - data) + 4 : n;
    if (n_head > HTTP_HEAD_MAX || (!end && n_head == HTTP_HEAD_MAX))
        return HTTP_E_TOO_LARGE;
    if (!end)
        return HTTP_E_MORE;
    /* with the end of its last line, without the empty one */
    struct text head = {data + n_before, n_head - n_before - 2};
    if (!next_line(&head, &line))
        return HTTP_E_BAD;
    int r = read_line(line, &request, &minor);
    while (r == 0 && head.n > 0)
        r = next_line(&head, &line) ? read_field(line, &fields) : HTTP_E_BAD;
    /* section 3.2: exactly one, but HTTP/1.0 had none */
    if (r == 0 && (fields.n_hosts > 1 || (minor > 0 && fields.n_hosts == 0)))
        r = HTTP_E_BAD;
    if (r == 0 && fields.body)
        r = HTTP_E_BODY;
    if (r)
        return r;
    request.keep_alive = !fields.close && (minor > 0 || fields.keep_alive);
    request.n_bytes = n_head;
    *ret_request = request;
    return 0;
}
