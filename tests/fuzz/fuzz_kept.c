/* Bytes from the store of an older or newer daemon: refused, or they come out again as they were.
 * The checksum is put right, as nobody would guess it. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "broker/kept.h"

enum { HEADER = 32 };

static void put_right(char *bytes, size_t n)
{
    uint64_t sum = 0xcbf29ce484222325, n_body = n - HEADER;

    for (size_t i = HEADER; i < n; i++)
        sum = (sum ^ (unsigned char)bytes[i]) * 0x100000001b3;
    memcpy(bytes + 16, &n_body, sizeof(n_body));
    memcpy(bytes + 24, &sum, sizeof(sum));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct writer again = WRITER_INIT;
    struct kept kept;
    char *bytes = malloc(n ? n : 1);

    if (!bytes)
        abort();
    memcpy(bytes, data, n);
    if (n >= HEADER)
        put_right(bytes, n);
    kept_init(&kept);
    if (kept_decode(&kept, bytes, n) == 0) {
        if (kept_group(&kept) < 0)
            abort();
        kept_encode(&kept, &again);
        if (writer_failed(&again) || again.n_data > n)
            abort();
    } else if (!list_empty(&kept.sessions) || !list_empty(&kept.sockets)) {
        abort();
    }
    writer_deinit(&again);
    kept_deinit(&kept);
    free(bytes);
    return 0;
}
