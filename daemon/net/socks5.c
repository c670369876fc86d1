#include "net/socks5.h"

#include <arpa/inet.h>
#include <string.h>

enum {
    VERSION = 5,
    NO_AUTHENTICATION = 0,
    NO_METHOD = 0xff,
    COMMAND_CONNECT = 1,
    TYPE_IPV4 = 1,
    TYPE_NAME = 3,
    TYPE_IPV6 = 4,
    HEAD = 4, /* of a request: version, command, 0, type */
    HOST_MAX = 253,
};

/* The size of the present message, as far as what is there of it tells; never too much. */
static size_t message_size(const struct socks5 *socks)
{
    const uint8_t *message = socks->message;

    if (socks->state == SOCKS5_GREETING)
        return socks->n_message < 2 ? 2 : (size_t)2 + message[1];
    if (socks->n_message < HEAD)
        return HEAD;
    switch (message[3]) {
    case TYPE_IPV4:
        return HEAD + 4 + 2;
    case TYPE_IPV6:
        return HEAD + 16 + 2;
    case TYPE_NAME:
        return socks->n_message == HEAD ? HEAD + 1 : (size_t)HEAD + 1 + message[4] + 2;
    default:
        return HEAD;
    }
}

size_t socks5_wants(const struct socks5 *socks)
{
    return socks->state <= SOCKS5_REQUEST ? message_size(socks) - socks->n_message : 0;
}

static int go_wrong(struct socks5 *socks, const char *wrong)
{
    socks->state = SOCKS5_OVER;
    socks->wrong = wrong;
    return SOCKS5_E_WRONG;
}

static int refuse(struct socks5 *socks, enum socks5_reply reply, const char *wrong, uint8_t *answer,
                  size_t *ret_n)
{
    *ret_n = socks5_answer(reply, NULL, answer);
    return go_wrong(socks, wrong);
}

/* Section 3 */
static int take_greeting(struct socks5 *socks, uint8_t *answer, size_t *ret_n)
{
    const uint8_t *methods = socks->message + 2;
    bool offered = memchr(methods, NO_AUTHENTICATION, socks->message[1]) != NULL;

    answer[0] = VERSION;
    answer[1] = offered ? NO_AUTHENTICATION : NO_METHOD;
    *ret_n = 2;
    if (!offered)
        return go_wrong(socks, "it offers no way without authentication");
    socks->state = SOCKS5_REQUEST;
    socks->n_message = 0;
    return 0;
}

/* A name is asked for, written to the log, shown: nothing in it may cut it short or look like
 * something else. */
static bool is_name(const uint8_t *name, size_t n)
{
    if (n == 0 || n > HOST_MAX)
        return false;
    for (size_t i = 0; i < n; i++)
        if (name[i] <= ' ' || name[i] == 0x7f)
            return false;
    return true;
}

/* Sections 4 and 5. The message is complete. */
static int take_request(struct socks5 *socks, uint8_t *answer, size_t *ret_n)
{
    const uint8_t *message = socks->message, *end = message + socks->n_message;

    if (message[1] != COMMAND_CONNECT)
        return refuse(socks, SOCKS5_NO_COMMAND, "its command is not CONNECT", answer, ret_n);
    if (message[3] == TYPE_NAME) {
        if (!is_name(message + 5, message[4]))
            return refuse(socks, SOCKS5_FAILURE, "the name it asks for is none", answer, ret_n);
        memcpy(socks->host, message + 5, message[4]);
        socks->host[message[4]] = '\0';
    } else {
        (void)inet_ntop(message[3] == TYPE_IPV4 ? AF_INET : AF_INET6, message + HEAD, socks->host,
                        sizeof(socks->host));
    }
    socks->port = (uint16_t)(end[-2] << 8 | end[-1]);
    if (socks->port == 0)
        return refuse(socks, SOCKS5_FAILURE, "it asks for port 0", answer, ret_n);
    socks->state = SOCKS5_ASKED;
    return 0;
}

int socks5_take(struct socks5 *socks, const void *data, size_t n, uint8_t *answer, size_t *ret_n)
{
    ASSERT(n > 0 && n <= socks5_wants(socks));
    *ret_n = 0;
    memcpy(socks->message + socks->n_message, data, n);
    socks->n_message += n;
    if (socks->message[0] != VERSION)
        return go_wrong(socks, "it does not speak SOCKS version 5");
    if (socks->state == SOCKS5_REQUEST && socks->n_message >= HEAD) {
        uint8_t type = socks->message[3];
        if (type != TYPE_IPV4 && type != TYPE_NAME && type != TYPE_IPV6)
            return refuse(socks, SOCKS5_NO_ADDRESS_TYPE, "it asks for an unknown type of address",
                          answer, ret_n);
    }
    if (socks5_wants(socks) > 0)
        return 0;
    return socks->state == SOCKS5_GREETING ? take_greeting(socks, answer, ret_n)
                                           : take_request(socks, answer, ret_n);
}

/* Section 6 */
size_t socks5_answer(enum socks5_reply reply, const struct address *local, uint8_t *answer)
{
    bool is_v6 = local && address_family(local) == AF_INET6;
    size_t n_address = is_v6 ? 16 : 4;
    uint16_t port = local ? address_port(local) : 0;

    memset(answer, 0, SOCKS5_ANSWER_MAX);
    answer[0] = VERSION;
    answer[1] = (uint8_t)reply;
    answer[3] = is_v6 ? TYPE_IPV6 : TYPE_IPV4;
    if (is_v6)
        memcpy(answer + HEAD, &local->v6.sin6_addr, n_address);
    else if (local)
        memcpy(answer + HEAD, &local->v4.sin_addr, n_address);
    answer[HEAD + n_address] = (uint8_t)(port >> 8);
    answer[HEAD + n_address + 1] = (uint8_t)port;
    return HEAD + n_address + 2;
}
