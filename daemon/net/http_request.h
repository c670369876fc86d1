#pragma once
/*
 * http_request: the head of an HTTP/1 request, from its bytes (RFC 9112), as much of it as a server
 * needs that only gives things out: GET and HEAD, no body. Strict: what two readers could read
 * differently is refused.
 *
 * Threads:   any; a function of its arguments.
 * Ownership: the result points into the caller's bytes.
 * Errors:    HTTP_E_MORE, or the status that the answer should have; after that the connection
 * cannot be used any more, as nobody knows where the next request would begin.
 * Limits:    HTTP_HEAD_MAX bytes, the empty line at its end included.
 */
#include <stdbool.h>
#include <stddef.h>

#include "util/assert.h"

enum { HTTP_HEAD_MAX = 8192 };

enum {
    HTTP_E_MORE = 1,        /* it is not complete yet */
    HTTP_E_BAD = 400,       /* that is no request */
    HTTP_E_BODY = 413,      /* it has a body, which nothing here wants */
    HTTP_E_TOO_LARGE = 431, /* more than HTTP_HEAD_MAX bytes and no end */
    HTTP_E_VERSION = 505,   /* not HTTP/1.x */
};

enum http_method { HTTP_GET, HTTP_HEAD, HTTP_OTHER };

struct http_request {
    enum http_method method;
    const char *path; /* without scheme, host and query; not decoded; "*" or "host:port" as given */
    size_t n_path;
    bool keep_alive; /* the client can use the connection for another one */
    size_t n_bytes;  /* of the request; what follows belongs to the next */
};

NODISCARD int http_request_parse(const char *data, size_t n, struct http_request *ret_request);
