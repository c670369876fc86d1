#include "net/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A zone is the name of an interface or a number (RFC 4007 section 11.2). */
static int parse_zone(uint32_t *ret_zone, const char *text)
{
    unsigned index = if_nametoindex(text);
    if (index) {
        *ret_zone = index;
        return 0;
    }
    if (!*text || strspn(text, "0123456789") != strlen(text))
        return ADDRESS_E_NOT_LITERAL;
    errno = 0;
    unsigned long number = strtoul(text, NULL, 10);
    if (errno || number > UINT32_MAX)
        return ADDRESS_E_NOT_LITERAL;
    *ret_zone = (uint32_t)number;
    return 0;
}

int address_parse(struct address *ret_address, const char *text, uint16_t port)
{
    struct address address = {0};
    char host[INET6_ADDRSTRLEN + IF_NAMESIZE + 4];
    size_t n = strlen(text);

    if (inet_pton(AF_INET, text, &address.v4.sin_addr) == 1) {
        address.v4.sin_family = AF_INET;
        address.v4.sin_port = htons(port);
        address.n_bytes = sizeof(address.v4);
        *ret_address = address;
        return 0;
    }
    if (n >= sizeof(host))
        return ADDRESS_E_NOT_LITERAL;
    if (text[0] == '[') {
        if (n < 2 || text[n - 1] != ']')
            return ADDRESS_E_NOT_LITERAL;
        text++;
        n -= 2;
    }
    memcpy(host, text, n);
    host[n] = '\0';
    char *percent = strchr(host, '%');
    if (percent) {
        *percent = '\0';
        if (parse_zone(&address.v6.sin6_scope_id, percent + 1))
            return ADDRESS_E_NOT_LITERAL;
    }
    if (inet_pton(AF_INET6, host, &address.v6.sin6_addr) != 1)
        return ADDRESS_E_NOT_LITERAL;
    address.v6.sin6_family = AF_INET6;
    address.v6.sin6_port = htons(port);
    address.n_bytes = sizeof(address.v6);
    *ret_address = address;
    return 0;
}

const char *address_text(const struct address *address, char *text, size_t n_text)
{
    char number[INET6_ADDRSTRLEN] = "", zone[IF_NAMESIZE] = "";

    if (n_text == 0)
        return "";
    text[0] = '\0';
    switch (address_family(address)) {
    case AF_INET:
        inet_ntop(AF_INET, &address->v4.sin_addr, number, sizeof(number));
        snprintf(text, n_text, "%s", number);
        break;
    case AF_INET6:
        inet_ntop(AF_INET6, &address->v6.sin6_addr, number, sizeof(number));
        if (!address->v6.sin6_scope_id)
            snprintf(text, n_text, "%s", number);
        else if (if_indextoname(address->v6.sin6_scope_id, zone))
            snprintf(text, n_text, "%s%%%s", number, zone);
        else
            snprintf(text, n_text, "%s%%%u", number, (unsigned)address->v6.sin6_scope_id);
        break;
    default:
        break;
    }
    return text;
}

uint16_t address_port(const struct address *address)
{
    switch (address_family(address)) {
    case AF_INET:
        return ntohs(address->v4.sin_port);
    case AF_INET6:
        return ntohs(address->v6.sin6_port);
    default:
        return 0;
    }
}

void address_set_port(struct address *address, uint16_t port)
{
    if (address_family(address) == AF_INET)
        address->v4.sin_port = htons(port);
    else if (address_family(address) == AF_INET6)
        address->v6.sin6_port = htons(port);
}

int address_family(const struct address *address)
{
    return address->n_bytes ? address->any.sa_family : AF_UNSPEC;
}

bool address_equal(const struct address *a, const struct address *b)
{
    if (address_family(a) != address_family(b))
        return false;
    switch (address_family(a)) {
    case AF_INET:
        return a->v4.sin_addr.s_addr == b->v4.sin_addr.s_addr && a->v4.sin_port == b->v4.sin_port;
    case AF_INET6:
        return memcmp(&a->v6.sin6_addr, &b->v6.sin6_addr, sizeof(a->v6.sin6_addr)) == 0 &&
               a->v6.sin6_port == b->v6.sin6_port && a->v6.sin6_scope_id == b->v6.sin6_scope_id;
    default:
        return true;
    }
}

void address_unmap(struct address *address)
{
    if (address_family(address) != AF_INET6 || !IN6_IS_ADDR_V4MAPPED(&address->v6.sin6_addr))
        return;
    struct address v4 = {.n_bytes = sizeof(v4.v4)};
    v4.v4.sin_family = AF_INET;
    v4.v4.sin_port = address->v6.sin6_port;
    memcpy(&v4.v4.sin_addr, &address->v6.sin6_addr.s6_addr[12], sizeof(v4.v4.sin_addr));
    *address = v4;
}

bool address_is_loopback(const struct address *address)
{
    struct address plain = *address;

    address_unmap(&plain);
    if (address_family(&plain) == AF_INET)
        return ntohl(plain.v4.sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
    return address_family(&plain) == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&plain.v6.sin6_addr);
}

int address_of_socket(int fd, struct address *ret_local, struct address *ret_remote)
{
    struct address local = {.n_bytes = sizeof(local.v6)}, remote = {.n_bytes = sizeof(remote.v6)};

    if (getsockname(fd, &local.any, &local.n_bytes) < 0 ||
        getpeername(fd, &remote.any, &remote.n_bytes) < 0)
        return -errno;
    *ret_local = local;
    *ret_remote = remote;
    return 0;
}
