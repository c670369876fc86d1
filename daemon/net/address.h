#pragma once
/*
 * address: socket addresses as values: parsing of literals, printing, comparing.
 *
 * Threads: any; pure.
 * Errors:  ADDRESS_E_NOT_LITERAL.
 */
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "util/assert.h"

enum { ADDRESS_E_NOT_LITERAL = 1 };

struct address {
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    };
    socklen_t n_bytes; /* 0: none */
};

enum { ADDRESS_TEXT_MAX = INET6_ADDRSTRLEN + 1 + 16 }; /* with a zone */

/* "192.0.2.1", "2001:db8::1", "[2001:db8::1]", "fe80::1%eth0" (RFC 4291 section 2.2, RFC 4007
 * section 11) */
NODISCARD int address_parse(struct address *ret_address, const char *text, uint16_t port);
/* The numeric form without port and brackets; v4-mapped addresses as they are. */
const char *address_text(const struct address *address, char *text, size_t n_text);
uint16_t address_port(const struct address *address);
void address_set_port(struct address *address, uint16_t port);
int address_family(const struct address *address); /* AF_INET, AF_INET6 or AF_UNSPEC */
bool address_equal(const struct address *a, const struct address *b);
/* An IPv4-mapped IPv6 address (RFC 4291 section 2.5.5.2) becomes the IPv4 one with the same port;
 * others stay as they are. */
void address_unmap(struct address *address);
/* Of this host: 127.0.0.0/8 or ::1. */
bool address_is_loopback(const struct address *address);
/* The two ends of a connected socket. Returns 0 or -errno. */
NODISCARD int address_of_socket(int fd, struct address *ret_local, struct address *ret_remote);
