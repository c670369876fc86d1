/* fresh_direct ADDRESS PORT CA_FILE: what a program without a broker does for one TLS exchange. */
#include "bench/common.h"
#include "bench/peer.h"

#include <string.h>

int main(int argc, char **argv)
{
    if (argc != 4)
        bench_die("usage: bench_fresh_direct ADDRESS PORT CA_FILE");
    SSL_CTX *context = peer_context(argv[3], 1);
    struct peer peer;
    peer_open(&peer, context, argv[1], (uint16_t)bench_number(argv[2], 1, 65535));
    char answer[4];
    peer_write(&peer, "ping", 4);
    peer_read(&peer, answer, 4);
    peer_close(&peer);
    SSL_CTX_free(context);
    return memcmp(answer, "ping", 4) == 0 ? 0 : 1;
}
