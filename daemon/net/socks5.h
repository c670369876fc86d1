#pragma once
/*
 * socks5: the server's side of SOCKS version 5 (RFC 1928) before the relaying begins: bytes in,
 * answers and a destination out. Without authentication, CONNECT only.
 *
 * Whoever reads must not read beyond the request, since what stands behind it is the stream's:
 * socks5_wants() tells how much is safe.
 *
 * Threads:   any, one at a time; pure.
 * Ownership: plain data.
 * Errors:    SOCKS5_E_WRONG.
 * Limits:    a message has SOCKS5_MESSAGE_MAX bytes at most; a host 253.
 */
#include <stddef.h>
#include <stdint.h>

#include "net/address.h"

enum {
    SOCKS5_MESSAGE_MAX = 262, /* version, command, 0, type, length, 255 bytes, port */
    SOCKS5_ANSWER_MAX = 22,
};

/* RFC 1928 section 6 */
enum socks5_reply {
    SOCKS5_SUCCEEDED,
    SOCKS5_FAILURE,
    SOCKS5_NOT_ALLOWED,
    SOCKS5_NETWORK_UNREACHABLE,
    SOCKS5_HOST_UNREACHABLE,
    SOCKS5_REFUSED,
    SOCKS5_TTL_EXPIRED,
    SOCKS5_NO_COMMAND,
    SOCKS5_NO_ADDRESS_TYPE,
};

enum socks5_state {
    SOCKS5_GREETING,
    SOCKS5_REQUEST,
    SOCKS5_ASKED, /* host and port are there; socks5_answer() is to follow */
    SOCKS5_OVER,  /* wrong */
};

struct socks5 {
    enum socks5_state state;
    uint8_t message[SOCKS5_MESSAGE_MAX]; /* what is there of it */
    size_t n_message;
    /* ASKED: a name, or an address as text */
    char host[256];
    uint16_t port;
    const char *wrong; /* OVER: what, in words */
};

#define SOCKS5_INIT ((struct socks5){.state = SOCKS5_GREETING})

enum { SOCKS5_E_WRONG = 1 };

/* How many bytes may be read now: what the present message has at least. 0: ASKED or OVER. */
size_t socks5_wants(const struct socks5 *socks);
/* Take n bytes, 1 to socks5_wants(). What is to be sent stands in answer (SOCKS5_ANSWER_MAX bytes),
 * *ret_n may be 0. Returns 0, or SOCKS5_E_WRONG: after the answer the connection is to be closed.
 */
NODISCARD int socks5_take(struct socks5 *socks, const void *data, size_t n, uint8_t *answer,
                          size_t *ret_n);
/* The answer to a request: local is our address of the connection made, or NULL. Returns its size.
 */
size_t socks5_answer(enum socks5_reply reply, const struct address *local, uint8_t *answer);
