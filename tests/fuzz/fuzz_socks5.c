/* However the bytes are split, the same comes out, and nothing behind the request is wanted. The
 * first byte: the size of the pieces. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "net/socks5.h"

struct result {
    struct socks5 socks;
    size_t n_taken, n_answers;
    uint8_t answers[64];
};

static void run(const uint8_t *data, size_t n, size_t piece, struct result *result)
{
    size_t wants;

    memset(result, 0, sizeof(*result));
    result->socks = SOCKS5_INIT;
    while (result->n_taken < n && (wants = socks5_wants(&result->socks)) > 0) {
        uint8_t answer[SOCKS5_ANSWER_MAX];
        size_t n_answer, n_now = n - result->n_taken < piece ? n - result->n_taken : piece;
        n_now = n_now < wants ? n_now : wants;
        /* a copy of its own, so that reading beyond it is seen */
        uint8_t *copy = malloc(n_now);
        if (!copy)
            abort();
        memcpy(copy, data + result->n_taken, n_now);
        int r = socks5_take(&result->socks, copy, n_now, answer, &n_answer);
        free(copy);
        result->n_taken += n_now;
        if ((r != 0) != (result->socks.state == SOCKS5_OVER) ||
            result->n_answers + n_answer > sizeof(result->answers))
            abort();
        memcpy(result->answers + result->n_answers, answer, n_answer);
        result->n_answers += n_answer;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct result whole, pieces;

    if (n < 1)
        return 0;
    run(data + 1, n - 1, SIZE_MAX, &whole);
    run(data + 1, n - 1, 1 + (size_t)data[0] % 16, &pieces);
    if (whole.socks.state != pieces.socks.state || whole.socks.port != pieces.socks.port ||
        strcmp(whole.socks.host, pieces.socks.host) != 0)
        abort();
    if (whole.socks.state != SOCKS5_OVER &&
        (whole.n_taken != pieces.n_taken || whole.n_answers != pieces.n_answers ||
         memcmp(whole.answers, pieces.answers, whole.n_answers) != 0))
        abort();
    if (whole.socks.state == SOCKS5_ASKED) {
        size_t n_host = strlen(whole.socks.host);
        if (n_host == 0 || n_host > 253 || whole.socks.port == 0)
            abort();
        for (size_t i = 0; i < n_host; i++)
            if ((unsigned char)whole.socks.host[i] <= ' ' || whole.socks.host[i] == 0x7f)
                abort();
    }
    return 0;
}
