#pragma once
/*
 * client_held: what a client holds in memory: bytes in its buffers and of its batches' answers,
 * counted for its user, and what follows when that is too much: it is not read from any more, or
 * ended. (client_collect() and what stands with it are in client.h.)
 *
 * Threads:   the client's io thread only (asserted).
 * Ownership: nothing of its own.
 * Errors:    none.
 */
#include "rpc/client.h"

/* Bytes that a client may have in its buffers whatever its user has. */
enum { CLIENT_BUFFERS_FREE = 65536 };

/* So many bytes in its buffers are its user's. */
void client_count_bytes(struct client *client, size_t n);
/* Are so many bytes of it, while its user has all that he may, and so many quarters of it more, too
 * many? */
bool client_is_hoarding(const struct client *client, size_t n, int64_t quarters);
/* Does what lies unread stop the client from being read? Its receives wait as well then. */
void client_update_paused(struct client *client);
