#pragma once
/*
 * ping: one ICMP echo (RFC 792, RFC 4443 section 4) by the kind of socket that needs no privilege:
 * icmp(7), for groups within net.ipv4.ping_group_range, which counts for IPv6, too.
 *
 * Threads:   the loop's (asserted). Never blocks.
 * Ownership: ping_new/ping_free.
 * Errors:    PING_E_NOT_PERMITTED; -errno.
 * Limits:    one descriptor each; no deadline: who waits no longer frees the ping. An IPv6 request
 * larger than a link on its way takes fails with EMSGSIZE the first time (routers do not fragment:
 * RFC 8200 section 5); the kernel then knows for the next one.
 */
#include <stddef.h>
#include <stdint.h>

#include "loop/loop.h"
#include "net/address.h"

enum { PING_E_NOT_PERMITTED = 1 };
enum { PING_SIZE_MAX = 16384 };

struct ping;

/* Send a request with size bytes of payload, 1..PING_SIZE_MAX, to address (the port is of no
 * account). Returns 0, PING_E_NOT_PERMITTED or what stood against sending.
 *
 * on_end: called once, later: the reply came (sys_errno 0) or the way to the address is reported to
 * be none (EHOSTUNREACH, ECONNREFUSED, ...), took_us microseconds after sending. What is no answer
 * to this very request (its sequence number and payload are not to be guessed) is ignored. */
NODISCARD int ping_new(struct ping **ret_ping, struct loop *loop, const struct address *address,
                       size_t size, void (*on_end)(void *context, int sys_errno, int64_t took_us),
                       void *context);
/* At any time, also inside on_end; no on_end after this. NULL is fine, returns NULL. */
struct ping *ping_free(struct ping *ping);
