/* However many bytes have come, the same request comes out, and none before it is complete; what is
 * behind it changes nothing. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "net/http_request.h"

/* On a copy of its own, so that reading beyond it is seen. The path as an offset. */
static int parse(const uint8_t *data, size_t n, struct http_request *request, size_t *path)
{
    char *copy = malloc(n ? n : 1);

    if (!copy)
        abort();
    memcpy(copy, data, n);
    memset(request, 0, sizeof(*request));
    int r = http_request_parse(copy, n, request);
    *path = 0;
    if (r == 0) {
        bool inside = request->path >= copy && request->path + request->n_path <= copy + n;
        if (!inside && (request->n_path != 1 || *request->path != '/'))
            abort();
        if (memchr(request->path, '\n', request->n_path) ||
            memchr(request->path, ' ', request->n_path) || request->n_bytes > n ||
            request->n_bytes > HTTP_HEAD_MAX)
            abort();
        *path = inside ? (size_t)(request->path - copy) : SIZE_MAX;
    }
    free(copy);
    return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct http_request whole, part;
    size_t path, other;
    int r = parse(data, n, &whole, &path);

    if (r != 0 && r != HTTP_E_MORE && r != HTTP_E_BAD && r != HTTP_E_BODY &&
        r != HTTP_E_TOO_LARGE && r != HTTP_E_VERSION)
        abort();
    size_t step = 1 + n / 64;
    for (size_t i = 0; i < n; i += step) {
        int early = parse(data, i, &part, &other);
        if (r == 0 && i >= whole.n_bytes &&
            (early != 0 || part.n_bytes != whole.n_bytes || other != path ||
             part.n_path != whole.n_path || part.method != whole.method ||
             part.keep_alive != whole.keep_alive))
            abort();
        if (r == 0 && i < whole.n_bytes && early != HTTP_E_MORE)
            abort();
        if (r == HTTP_E_MORE && early != HTTP_E_MORE)
            abort();
    }
    return 0;
}
